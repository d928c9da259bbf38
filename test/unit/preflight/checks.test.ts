/** Each check: a host that is well passes all of them, and one planted fault is found by its own check and no other. */
import { describe, expect, test } from 'vitest';
import { baselineOf } from '../../../src/preflight/baseline.js';
import type { AscendReadings, ChipReadings, HostReadings } from '../../../src/preflight/host-readings.js';
import { judge, verdictOf } from '../../../src/preflight/judge.js';

const unread = { unread: 'npu-smi: it said "?"' };

const wellInstalled = { missing: [], missingOfRelease: [], megatron: { value: '0.12.1' } };

const chip = (
  id: number,
  change: Partial<ChipReadings> = {},
  of: Partial<ChipReadings['chip']> = {},
): ChipReadings => ({
  chip: {
    ...{ npu: id, chip: 0, physicalId: id, name: '910B3', health: 'OK', busId: `0000:C${String(id)}:00.0` },
    ...{ hbmUsedMb: 3300 + id, hbmTotalMb: 65_536 },
    ...of,
  },
  doubleBitErrors: { value: 0 },
  link: { value: 'UP' },
  netHealth: { value: 'Success' },
  address: { value: `10.86.1.8${String(id)}` },
  tls: { value: false },
  fec: { value: 'rs FEC mode' },
  lossesOfDay: { value: 0 },
  ...change,
});

/** Eight chips, of which some are others. */
function npus(others: readonly ChipReadings[] = [], change: Partial<AscendReadings> = {}): AscendReadings {
  const chips = Array.from({ length: 8 }, (_, id) => others.find((one) => one.chip.physicalId === id) ?? chip(id));
  return {
    table: { value: { version: '25.3.rc1', chips: chips.map((one) => one.chip), processes: unread } },
    known: { value: chips.map(({ chip: { npu } }) => ({ npu, chip: 0, name: '910B3' })) },
    processes: { value: [] },
    chips,
    versions: {
      driver: { value: '25.3.rc1' },
      firmware: { value: '7.8.0.1' },
      cann: { value: '8.3.RC1' },
      trainer: wellInstalled,
    },
    baseline: {
      value: {
        ...{ driver: '25.3.rc1', at: '2026-11-25T00:00:00Z' },
        usedMb: Object.fromEntries(chips.map(({ chip: { busId, npu } }) => [busId, 3300 + npu])),
      },
    },
    ...change,
  };
}

const packages = { torch: '2.7.1', numpy: '1.26.4', pillow: '11.0.0', tokenizers: '0.21.0', safetensors: '0.5.0' };
const GB = 1e9;

function host(change: Partial<HostReadings> = {}): HostReadings {
  return {
    ...{ runtime: 'ascend', npus: 8, ascend: npus(), missingPrograms: [] },
    python: { value: { version: '3.10.16', packages: { ...packages, 'torch-npu': '2.7.1' } } },
    disk: { value: { path: '/var/lib/anneal', freeBytes: 900 * GB, totalBytes: 1000 * GB } },
    shm: { value: { path: '/dev/shm', freeBytes: 500 * GB, totalBytes: 500 * GB } },
    ports: {
      ephemeral: { from: 32_768, to: 60_999 },
      reserved: [{ from: 60_000, to: 60_031 }],
      listening: { value: [22, 7233] },
      rendezvous: { value: 20_001 },
    },
    clock: { value: { isSynchronised: true, maxErrorMs: 12.5 } },
    store: { value: '/mnt/anneal' },
    ...change,
  };
}

const with_ = (others: readonly ChipReadings[], change: Partial<AscendReadings> = {}): HostReadings =>
  host({ ascend: npus(others, change) });
const versions = (change: Partial<AscendReadings['versions']>): HostReadings =>
  host({ ascend: npus([], { versions: { ...npus().versions, ...change } }) });
const ports = (change: Partial<HostReadings['ports']>): HostReadings => host({ ports: { ...host().ports, ...change } });
const free = (freeBytes: number) => ({ value: { path: '/x', freeBytes, totalBytes: 1000 * GB } });

test('a host that is well has no finding, and each check says what it saw', () => {
  const { checks, isFit } = judge(host());
  expect(isFit).toBe(true);
  expect(checks.flatMap(({ findings }) => findings)).toEqual([]);
  expect(Object.fromEntries(checks.map(({ check, state }) => [check, state]))).toEqual({
    driver: 'npu-smi 25.3.rc1',
    chips: '8 x 910B3',
    health: 'OK',
    ecc: '0 double bit errors',
    processes: 'none',
    hbm: '3300-3307 of 65536 MB used',
    link: 'UP',
    net_health: 'Success',
    address: '8 of 8 have one',
    tls: 'off',
    fec: 'rs FEC mode',
    'link losses': '0 within a day',
    'driver version': '25.3.rc1',
    firmware: '7.8.0.1',
    cann: '8.3.RC1',
    trainer: 'MindSpeed MM 2.2.0',
    python: '3.10.16, torch 2.7.1',
    disk: '900 GB of 1000 GB free (/var/lib/anneal)',
    '/dev/shm': '500 GB of 500 GB free (/dev/shm)',
    ports: "20001 is free; the kernel's own 32768-60999",
    clock: 'synchronised, at most 13 ms off',
    store: '/mnt/anneal',
  });
});

type Fault = readonly [check: string, severity: 'refuse' | 'warn', host: HostReadings, sentence: string];

const process = { npu: 2, chip: 0, pid: 4711, name: 'python', memoryMb: 30_780 };

const FAULTS: readonly Fault[] = [
  ['chips', 'refuse', host({ npus: 16 }), 'Chips are missing: npu-smi shows 8 of 16.'],
  [
    ...(['chips', 'refuse'] as const),
    with_([], { known: { value: Array.from({ length: 9 }, (_, npu) => ({ npu, chip: 0, name: '910B3' })) } }),
    'Chips are missing: npu-smi shows 8 of 9.',
  ],
  [
    ...(['chips', 'refuse'] as const),
    with_([], { known: { value: [{ npu: -1, chip: 0, name: '910B3' }] } }),
    'The driver lists 1 NPU as unusable.',
  ],
  ['chips', 'warn', host({ npus: 4 }), 'The host has 8 chips, of which the agent offers 4.'],
  ['driver', 'warn', with_([], { known: unread }), 'The list of chips could not be read (npu-smi: it said "?").'],
  ['health', 'warn', with_([chip(3, {}, { health: 'Warning' })]), 'The health of chip 3 is Warning (a minor alarm).'],
  ['health', 'refuse', with_([chip(3, {}, { health: 'Alarm' })]), 'The health of chip 3 is Alarm (a major alarm).'],
  [
    ...(['health', 'refuse'] as const),
    with_([chip(3, { detail: { value: { health: 'Critical', errorCodes: ['80E01801'] } } }, { health: 'Critical' })]),
    'The health of chip 3 is Critical (an emergency, error code 80E01801).',
  ],
  [
    ...(['health', 'refuse'] as const),
    with_([chip(3, { detail: unread }, { health: 'UNKNOWN' })]),
    'The health of chip 3 is UNKNOWN (absent, or not started).',
  ],
  [
    'ecc',
    'warn',
    with_([chip(5, { doubleBitErrors: { value: 2 } })]),
    'The HBM of chip 5 had 2 errors that could not be corrected.',
  ],
  [
    'ecc',
    'warn',
    with_([chip(5, { doubleBitErrors: unread })]),
    'The errors of HBM of chip 5 could not be read (npu-smi: it said "?").',
  ],
  [
    'processes',
    'refuse',
    with_([], { processes: { value: [process] } }),
    'Process 4711 (python) is on chip 2 with 30780 MB.',
  ],
  [
    'processes',
    'refuse',
    with_([], { processes: unread }),
    'Who is on the chips could not be read (npu-smi: it said "?").',
  ],
  [
    ...(['hbm', 'refuse'] as const),
    // One MB above what this very chip held while it was idle, and one GB.
    with_([chip(1, {}, { hbmUsedMb: 3301 + 1025 })]),
    'HBM is held though no process is on it: chip 1, 4326 MB.',
  ],
  [
    ...(['hbm', 'warn'] as const),
    with_([], { baseline: { value: { driver: '24.1.rc1', at: '', usedMb: {} } } }),
    'No idle baseline is recorded for these chips and this driver (the one that is there was made with 24.1.rc1), so memory that is held is only seen by a rule of thumb.',
  ],
  ['hbm', 'warn', with_([], { baseline: unread }), 'The idle baseline could not be read (npu-smi: it said "?").'],
  ['link', 'refuse', with_([chip(6, { link: { value: 'DOWN' } })]), 'The link of chip 6 is DOWN.'],
  [
    ...(['link', 'refuse'] as const),
    with_([chip(6, { link: { value: 'DOWN' }, light: { value: false } })]),
    'The link of chip 6 is DOWN, and no light comes in.',
  ],
  [
    'link',
    'refuse',
    with_([chip(6, { link: unread })]),
    'The link of chip 6 could not be read (npu-smi: it said "?").',
  ],
  ...(['Fault', 'Socket failed', 'Receive timeout'] as const).map((state): Fault => [
    ...(['net_health', 'refuse'] as const),
    with_([chip(0, { netHealth: { value: state } })]),
    `The network of chip 0 is not healthy: ${state}.`,
  ]),
  [
    'net_health',
    'refuse',
    with_([chip(0, { netHealth: unread })]),
    'The health of the network of chip 0 could not be read (npu-smi: it said "?").',
  ],
  [
    'address',
    'warn',
    with_([chip(7, { address: { value: null } })]),
    'The network port of chip 7 has no address, so a gang of several hosts cannot use it.',
  ],
  [
    'address',
    'warn',
    with_([chip(7, { address: unread })]),
    'The address of chip 7 could not be read (npu-smi: it said "?").',
  ],
  [
    'tls',
    'refuse',
    with_([chip(4, { tls: { value: true } })]),
    'The TLS switch is not the same on all chips: off (7), on (1).',
  ],
  [
    'tls',
    'warn',
    with_([chip(4, { tls: unread })]),
    'The TLS switch of chip 4 could not be read (npu-smi: it said "?").',
  ],
  [
    'fec',
    'warn',
    with_([chip(4, { fec: { value: 'no FEC mode' } })]),
    'The error correction of the ports is not the same on all chips: rs FEC mode (7), no FEC mode (1).',
  ],
  [
    'fec',
    'warn',
    with_([chip(4, { fec: unread })]),
    'The error correction of chip 4 could not be read (npu-smi: it said "?").',
  ],
  [
    'link losses',
    'warn',
    with_([chip(2, { lossesOfDay: { value: 4 } })]),
    'The link of chip 2 was lost 4 times within the last day.',
  ],
  [
    'link losses',
    'refuse',
    with_([chip(2, { lossesOfDay: { value: 5 } })]),
    'The link of chip 2 was lost 5 times within the last day.',
  ],
  [
    'link losses',
    'warn',
    with_([chip(2, { lossesOfDay: unread })]),
    'The history of the link of chip 2 could not be read (npu-smi: it said "?").',
  ],
  [
    'firmware',
    'refuse',
    versions({ firmware: unread }),
    'The version of the firmware could not be read (npu-smi: it said "?").',
  ],
  [
    'cann',
    'warn',
    versions({ cann: { value: '8.5.0' } }),
    'CANN is 8.5.0, and MindSpeed MM 2.2.0 was released for 8.3.RC1.',
  ],
  ['cann', 'refuse', versions({ cann: unread }), 'The version of CANN could not be read (npu-smi: it said "?").'],
  [
    'trainer',
    'refuse',
    versions({ trainer: { ...wellInstalled, missing: ['megatron'], megatron: unread } }),
    "The trainer's folder has no megatron.",
  ],
  [
    ...(['trainer', 'warn'] as const),
    versions({ trainer: { ...wellInstalled, missingOfRelease: ['examples/internvl3/finetune_internvl3_8B.sh'] } }),
    'The trainer does not look like MindSpeed MM 2.2.0: it has no examples/internvl3/finetune_internvl3_8B.sh.',
  ],
  [
    'trainer',
    'refuse',
    versions({ trainer: { ...wellInstalled, megatron: { value: '0.8.0' } } }),
    'Megatron is 0.8.0.',
  ],
  [
    'trainer',
    'warn',
    versions({ trainer: { ...wellInstalled, megatron: unread } }),
    'The version of Megatron could not be read (npu-smi: it said "?").',
  ],
  ['python', 'refuse', host({ python: unread }), 'The runtime\'s Python could not be read (npu-smi: it said "?").'],
  ['python', 'refuse', host({ missingPrograms: ['mm-convert'] }), 'The runtime has no mm-convert.'],
  [
    ...(['python', 'refuse'] as const),
    host({ python: { value: { version: '3.10.16', packages: { ...packages, 'torch-npu': null } } } }),
    "The runtime's Python 3.10.16 has no torch-npu.",
  ],
  [
    ...(['python', 'warn'] as const),
    host({ python: { value: { version: '3.10.16', packages: { ...packages, torch: '2.1.0+cpu' } } } }),
    'torch is 2.1.0, and MindSpeed MM 2.2.0 was released for 2.6.0 and 2.7.1.',
  ],
  ['disk', 'refuse', host({ disk: free(110 * GB) }), 'The disk of the work root has 110 GB free.'],
  ['disk', 'warn', host({ disk: free(332 * GB) }), 'The disk of the work root has 332 GB free.'],
  ['disk', 'refuse', host({ disk: unread }), 'The disk of the work root could not be read (npu-smi: it said "?").'],
  // 64 MB is what a container gets that nobody gave more.
  ['/dev/shm', 'refuse', host({ shm: free(67_108_864) }), '/dev/shm has 67 MB free.'],
  ['/dev/shm', 'refuse', host({ shm: unread }), '/dev/shm could not be read (npu-smi: it said "?").'],
  [
    'ports',
    'warn',
    ports({ reserved: [{ from: 60_000, to: 60_030 }] }),
    "The kernel may give HCCL's ports 60000-60031 to other connections.",
  ],
  ['ports', 'refuse', ports({ listening: { value: [22, 60_031] } }), "Somebody listens on HCCL's port 60031."],
  ['ports', 'warn', ports({ listening: unread }), 'Who listens could not be read (npu-smi: it said "?").'],
  ['ports', 'refuse', ports({ rendezvous: unread }), 'No port is free for a rendezvous (npu-smi: it said "?").'],
  [
    'clock',
    'warn',
    host({ clock: { value: { isSynchronised: true, maxErrorMs: 1_001 } } }),
    'The clock may be 1001 ms off.',
  ],
  [
    ...(['clock', 'warn'] as const),
    host({ clock: { value: { isSynchronised: false, maxErrorMs: 1 } } }),
    'Nobody keeps the clock right: the kernel says that it is not synchronised.',
  ],
  ['clock', 'warn', host({ clock: unread }), 'The clock could not be read (npu-smi: it said "?").'],
  ['store', 'refuse', host({ store: unread }), 'The store is not reached (npu-smi: it said "?").'],
];

test.each(FAULTS.map(([check, severity, readings, sentence]) => [check, severity, sentence, readings] as const))(
  '%s, %s: %s',
  (check, severity, sentence, readings) => {
    const { checks, isFit } = judge(readings);
    const found = checks.flatMap((one) => one.findings.map((finding) => ({ check: one.check, finding })));
    expect(found.map((one) => [one.check, one.finding.severity, one.finding.sentence])).toEqual([
      [check, severity, sentence],
    ]);
    const [{ finding } = { finding: undefined }] = found;
    // A host is cordoned for what refuses it, with this very sentence, and for nothing else.
    expect(finding?.cordon).toBe(severity === 'refuse' ? sentence : null);
    expect(isFit).toBe(severity === 'warn');
    expect(finding?.value).not.toBe('');
    expect(finding?.rule).toMatch(/^(must|should) /);
    expect(finding?.remedy.length).toBeGreaterThan(20);
  },
);

test('every check has a fault in the table, but the one of the driver version, which also outdates the baseline', () => {
  const planted = new Set(FAULTS.map(([check]) => check));
  expect(
    judge(host())
      .checks.map(({ check }) => check)
      .filter((check) => !planted.has(check)),
  ).toEqual(['driver version']);
  const { checks } = judge(versions({ driver: { value: '24.1.rc1' } }));
  expect(checks.filter((one) => verdictOf(one) !== 'ok').map(({ check }) => check)).toEqual(['hbm', 'driver version']);
});

describe('a driver that does not answer', () => {
  const { checks, isFit } = judge(
    host({ ascend: npus([], { table: unread, known: unread, processes: unread, chips: [] }) }),
  );

  test('refuses the host, once', () => {
    expect(isFit).toBe(false);
    expect(checks.flatMap(({ findings }) => findings.map(({ sentence }) => sentence))).toEqual([
      'The driver does not tell of its chips (npu-smi: it said "?").',
    ]);
  });

  test('says nothing of chips, not even that they are well', () => {
    expect(checks.map(({ check }) => check)).not.toContain('health');
    expect(checks.map(({ check }) => check)).not.toContain('link');
  });
});

test('chips with the same trouble are told of together', () => {
  const down = [5, 6, 7, 1].map((id) => chip(id, { link: { value: 'DOWN' } }));
  const sentences = (others: readonly ChipReadings[]): unknown =>
    judge(with_(others)).checks.flatMap(({ findings }) => findings.map(({ sentence }) => sentence));
  expect(sentences(down)).toEqual(['The link of chips 1, 5, 6 and 7 is DOWN.']);
  expect(sentences(down.slice(0, 3))).toEqual(['The link of chips 5-7 is DOWN.']);
});

describe('memory of idle chips', () => {
  const hbm = (readings: HostReadings) => judge(readings).checks.find(({ check }) => check === 'hbm')?.findings ?? [];

  test('within 1 GB of the baseline is idle, whatever other boards keep', () => {
    expect(hbm(with_([chip(1, {}, { hbmUsedMb: 3301 + 1024 })]))).toEqual([]);
  });

  test('without a baseline a board of 64 GB may keep 4 GB and one more; of other boards nothing is known', () => {
    const { baseline: _, ...unrecorded } = npus([chip(1, {}, { hbmUsedMb: 5121 }), chip(2, {}, { hbmUsedMb: 5120 })]);
    expect(hbm(host({ ascend: unrecorded })).map(({ sentence }) => sentence)).toEqual([
      'HBM is held though no process is on it: chip 1, 5121 MB.',
      'No idle baseline is recorded, so memory that is held is only seen by a rule of thumb.',
    ]);
    const { baseline: __, ...small } = npus([chip(1, {}, { hbmUsedMb: 30_000, hbmTotalMb: 32_768 })]);
    expect(hbm(host({ ascend: small })).map(({ severity }) => severity)).toEqual(['warn']);
  });

  test('what a process holds is told of as the process, on its own die alone', () => {
    const dies = [
      chip(0, {}, { npu: 0, chip: 0, hbmUsedMb: 50_000 }),
      chip(1, {}, { npu: 0, chip: 1, hbmUsedMb: 50_000 }),
    ];
    const on = (who: object) => hbm(with_(dies, { processes: { value: [{ ...process, npu: 0, ...who }] } }));
    expect(on({ chip: 1 }).map(({ sentence }) => sentence)).toEqual([
      'HBM is held though no process is on it: chip 0, 50000 MB.',
    ]);
    const { chip: _, ...unknownDie } = process;
    expect(hbm(with_(dies, { processes: { value: [{ ...unknownDie, npu: 0 }] } }))).toEqual([]);
  });
});

describe('the baseline', () => {
  test('is what idle chips hold, by their address on the bus', () => {
    const recorded = baselineOf(npus(), '2026-11-25T00:00:00Z');
    expect(recorded).toEqual(npus().baseline);
  });

  test.each<readonly [string, AscendReadings, string]>([
    ['a process', npus([], { processes: { value: [process] } }), 'process 4711 is on NPU 2'],
    ['processes that are not known', npus([], { processes: unread }), unread.unread],
    ['chips that are not known', npus([], { table: unread }), unread.unread],
    ['a sick chip', npus([chip(3, {}, { health: 'Alarm' })]), 'the health of chip 3 is Alarm'],
    [
      'memory that somebody has left',
      npus([chip(3, {}, { hbmUsedMb: 57_784 })]),
      'chip 3 holds 57784 MB, more than any idle board is known to keep for itself',
    ],
  ])('is not taken with %s', (_, readings, why) => {
    expect(baselineOf(readings, 'now')).toEqual({ unread: why });
  });
});

test('on the CPU runtime there is nothing of NPUs, and less space will do', () => {
  const { ascend: _, ...cpu } = host({ runtime: 'cpu', npus: 1, disk: free(GB), shm: free(67_108_864) });
  const readings = {
    ...cpu,
    python: { value: { version: '3.11.7', packages } },
    ports: { ...cpu.ports, reserved: [] },
  };
  const { checks, isFit } = judge(readings);
  expect(isFit).toBe(true);
  expect(checks.map((one) => [one.check, verdictOf(one)])).toEqual(
    ['python', 'disk', '/dev/shm', 'ports', 'clock', 'store'].map((check) => [check, 'ok']),
  );
  expect(judge({ ...readings, disk: free(GB - 1) }).isFit).toBe(false);
  expect(judge({ ...readings, shm: free(0) }).isFit).toBe(false);
});

test('the rule of a disk names the bound that it misses', () => {
  const rule = (freeBytes: number) =>
    judge(host({ disk: free(freeBytes) })).checks.find(({ check }) => check === 'disk')?.findings[0]?.rule;
  expect(rule(110 * GB)).toBe('must have 111 GB free for one save of InternVL3 8B');
  expect(rule(111 * GB)).toBe('should have 333 GB free for 3 saves of InternVL3 8B');
  expect(rule(333 * GB)).toBeUndefined();
});
