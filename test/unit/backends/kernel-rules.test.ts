/** Each row of the kernel's signatures by a line that it prints, and when a line of it decides over what the trainer says. */
import { describe, expect, test } from 'vitest';
import { classifyExit } from '../../../src/backends/mindspeed/failure.js';
import { KERNEL_CAUSES, KERNEL_HINTS, OOM_KILL } from '../../../src/backends/mindspeed/kernel-rules.js';

type Evidence = Parameters<typeof classifyExit>[0];

/** From the kernel's sources and from reports that quote it; the first captured here, the one of a hard LOCKUP as Huawei's own diagnosis has it. */
const SAMPLES: Readonly<Record<string, readonly string[]>> = {
  [OOM_KILL.sentence]: [
    'Memory cgroup out of memory: Killed process 4242 (python3) total-vm:993144kB, anon-rss:58240kB, file-rss:6644kB, shmem-rss:0kB, UID:0 pgtables:180kB oom_score_adj:0',
    'Out of memory: Kill process 4242 (python) score 903 or sacrifice child',
    'Out of memory: Killed process 4242 (pt_data_worker) total-vm:9kB, anon-rss:8kB',
    'Memory cgroup out of memory: Kill process 4242 (python) score 1974 or sacrifice child',
  ],
  'The memory of the host has an error that could not be corrected': [
    'Memory failure: 0x1840200: Killing python:33395 due to hardware memory corruption',
    'Memory failure: 0x1840200: Sending SIGBUS to python:33395 due to hardware memory corruption',
  ],
  'A device of the host has failed on its bus': [
    'pcieport 0000:00:01.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, id=0008(Requester ID)',
    'devdrv 0000:c1:00.0: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Data Link Layer, (Receiver ID)',
  ],
  'The kernel of the host has failed': [
    'Kernel panic - not syncing: Fatal exception',
    'NMI watchdog: Watchdog detected hard LOCKUP on cpu 34',
  ],
  'A device of the host had an error on its bus': [
    'pcieport 0000:00:1b.0: PCIe Bus Error: severity=Uncorrected (Non-Fatal), type=Transaction Layer, (Receiver ID)',
    'pcieport 0000:00:07.1: PCIe Bus Error: severity=Uncorrectable (Non-Fatal), type=Transaction Layer, (Receiver ID)',
  ],
  'A network port of the host lost its link': [
    'ixgbe 0000:03:00.0 eth0: NIC Link is Down',
    'hns3 0000:7d:00.0 enp125s0f0: link down',
    'mlx5_core 0000:17:00.0 ens1np0: Link down',
  ],
  'A disk of the host has failed': [
    'EXT4-fs error (device nvme0n1p1): ext4_find_entry:1455: inode #2: comm python: reading directory lblock 0',
    'XFS (nvme1n1): metadata I/O error in "xfs_trans_read_buf_map" at daddr 0x2 len 1 error 5',
    'blk_update_request: I/O error, dev sda, sector 41943040',
  ],
  'A process of the host hung in the kernel': ['INFO: task dev_sq_task:9012 blocked for more than 120 seconds.'],
};

const stamp = (line: string): string => `2026-11-26T06:35:43,210605+00:00 ${line}`;
const RESET = 'RuntimeError: [gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:43920';
/** torchrun's summary. */
const summary = (code: number, pid = 4242): readonly string[] => [
  'Root Cause (first observed failure):',
  '[0]:',
  '  rank      : 3 (local_rank: 3)',
  `  exitcode  : ${String(code)} (pid: ${String(pid)})`,
];
function ended(kernel: readonly string[], change: Partial<Evidence> & { readonly oomKills?: number } = {}) {
  const { oomKills = 0, ...rest } = change;
  return classifyExit({
    ...{ exit: { reason: 'exited', rc: 1 }, lines: [RESET], nodeRank: 0, iterations: 300 },
    ...rest,
    kernel: { lines: kernel.map(stamp), oomKills, pids: [900, 901] },
  });
}

describe('every row', () => {
  const rows = [OOM_KILL, ...KERNEL_CAUSES, ...KERNEL_HINTS];

  test('has samples, and no sample is without its row', () => {
    expect(new Set(rows.map(({ sentence }) => sentence))).toEqual(new Set(Object.keys(SAMPLES)));
  });

  test.each(rows.flatMap(({ sentence, signs }) => signs.map((sign) => [sentence, sign] as const)))(
    '%s, by %s: is in a sample of its row',
    (sentence, sign) => {
      expect(SAMPLES[sentence]?.filter((line) => sign.test(line))).not.toEqual([]);
    },
  );

  test.each(
    rows.flatMap(({ sentence, kind }) => (SAMPLES[sentence] ?? []).map((line) => [kind, sentence, line] as const)),
  )('%s: %s by "%s"', (kind, sentence, line) => {
    const verdict = ended(['a line before it', line, 'a line after it'], {
      lines: [RESET, ...summary(kind === 'out-of-host-memory' ? -9 : 1)],
    });
    expect(verdict.kind).toBe(kind);
    expect(verdict.message.startsWith(`${sentence}: ${stamp(line).slice(0, 90)}`)).toBe(true);
  });
});

describe('what decides', () => {
  const [kill = ''] = SAMPLES[OOM_KILL.sentence] ?? [];
  const killing = (pid: number): string => kill.replace('4242', String(pid));

  test.each<[what: string, kernel: readonly string[], change: Parameters<typeof ended>[1], kind: string]>([
    ['a rank of which the kernel says so', [kill], { lines: summary(-9) }, 'out-of-host-memory'],
    ['a rank of somebody else is no sign', [killing(77)], { lines: summary(-9) }, 'killed'],
    ['nor is a longer pid that begins alike', [killing(42_421)], { lines: summary(-9) }, 'killed'],
    [
      'where pids are others, the count of the group',
      [killing(77)],
      { lines: summary(-9), oomKills: 1 },
      'out-of-host-memory',
    ],
    ['and where the log is closed too', [], { lines: summary(-9), oomKills: 2 }, 'out-of-host-memory'],
    ['a count without a SIGKILL is somebody else', [kill], { lines: summary(1), oomKills: 1 }, 'trainer-error'],
    ['the launcher', [killing(901)], { exit: { reason: 'exited', rc: -9 } }, 'out-of-host-memory'],
    ['the supervisor', [killing(900)], { exit: { reason: 'supervisor-lost', rc: null } }, 'out-of-host-memory'],
    ['a launcher that somebody killed by hand', [], { exit: { reason: 'exited', rc: -9 }, lines: [] }, 'killed'],
    [
      'a worker of the data',
      [killing(500)],
      { lines: ['RuntimeError: DataLoader worker (pid(s) 499, 500) exited unexpectedly', ...summary(1)] },
      'out-of-host-memory',
    ],
    [
      'a worker of the data, as its own rank hears it',
      [killing(500)],
      { lines: ['RuntimeError: DataLoader worker (pid 500) is killed by signal: Killed. ', ...summary(1)] },
      'out-of-host-memory',
    ],
    [
      'whom we have killed ourselves',
      [kill],
      { exit: { reason: 'stopped', rc: -9 }, lines: summary(-9), oomKills: 1 },
      'stopped',
    ],
    [
      'a bus that failed, whoever stopped the trainer',
      [SAMPLES['A device of the host has failed on its bus']?.[0] ?? ''],
      { exit: { reason: 'stopped', rc: -9 } },
      'host-broken',
    ],
    [
      'what the trainer says of itself, over a process that hung',
      SAMPLES['A process of the host hung in the kernel'] ?? [],
      { lines: ["KeyError: 'optimizer'", ...summary(1)] },
      'trainer-error',
    ],
    [
      'a rank that was killed by hand, over a link that was down',
      SAMPLES['A network port of the host lost its link'] ?? [],
      { lines: summary(-9) },
      'killed',
    ],
    ['a kernel that has nothing to say', ['usb 1-1: new device'], {}, 'peer-lost'],
  ])('%s', (_, kernel, change, kind) => {
    expect(ended(kernel, { ...change, ...(change?.lines === undefined ? {} : { lines: change.lines }) }).kind).toBe(
      kind,
    );
  });

  test('a sentence says what the count was, where no line can be read', () => {
    expect(ended([], { lines: summary(-9), oomKills: 2 }).message).toBe(
      'The kernel killed a process of the trainer for want of memory: its control group counts 2 since the launch. Look at data workers, ACLNN_CACHE_LIMIT and pinned memory, and at what else runs on that host.',
    );
  });
});
