/** A host that is well, as the probe would read it, and one planted fault after the other, each with the check that must find it. */
import type { AscendReadings, ChipReadings, HostReadings } from '../../../src/preflight/host-readings.js';

export const unread = { unread: 'npu-smi: it said "?"' };

export const wellInstalled = { missing: [], missingOfRelease: [], megatron: { value: '0.12.1' } };

export const chip = (
  id: number,
  change: Partial<ChipReadings> = {},
  of: Partial<ChipReadings['chip']> = {},
): ChipReadings => ({
  chip: {
    ...{ npu: id, chip: 0, physicalId: id, name: '910B3', health: 'OK', busId: `0000:C${String(id)}:00.0` },
    ...{ hbmUsedMb: 3300 + id, hbmTotalMb: 65_536 },
    ...of,
  },
  errors: { value: { doubleBit: 0, isolatedPages: 0 } },
  link: { value: 'UP' },
  netHealth: { value: 'Success' },
  address: { value: `10.86.1.8${String(id)}` },
  tls: { value: false },
  fec: { value: 'rs FEC mode' },
  lossesOfDay: { value: 0 },
  ...change,
});

/** Eight chips, of which some are others. */
export function npus(others: readonly ChipReadings[] = [], change: Partial<AscendReadings> = {}): AscendReadings {
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

export const packages = {
  torch: '2.7.1',
  numpy: '1.26.4',
  pillow: '11.0.0',
  tokenizers: '0.21.0',
  safetensors: '0.5.0',
};
export const GB = 1e9;

export function host(change: Partial<HostReadings> = {}): HostReadings {
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

export const with_ = (others: readonly ChipReadings[], change: Partial<AscendReadings> = {}): HostReadings =>
  host({ ascend: npus(others, change) });
export const versions = (change: Partial<AscendReadings['versions']>): HostReadings =>
  host({ ascend: npus([], { versions: { ...npus().versions, ...change } }) });
const ports = (change: Partial<HostReadings['ports']>): HostReadings => host({ ports: { ...host().ports, ...change } });
export const space = (freeBytes: number) => ({ value: { path: '/x', freeBytes, totalBytes: 1000 * GB } });

export type Fault = readonly [check: string, severity: 'refuse' | 'warn', host: HostReadings, sentence: string];

export const process = { npu: 2, chip: 0, pid: 4711, name: 'python', memoryMb: 30_780 };

export const FAULTS: readonly Fault[] = [
  [
    ...(['driver', 'refuse'] as const),
    host({ ascend: npus([], { table: unread, known: unread, processes: unread, chips: [] }) }),
    'The driver does not tell of its chips (npu-smi: it said "?").',
  ],
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
    with_([chip(5, { errors: { value: { doubleBit: 2, isolatedPages: null } }, errorsOfDay: 1 })]),
    'The HBM of chip 5 had 2 errors that could not be corrected.',
  ],
  [
    'ecc',
    'refuse',
    with_([chip(5, { errors: { value: { doubleBit: 3, isolatedPages: 63 } }, errorsOfDay: 2 })]),
    'The HBM of chip 5 had 3 errors that could not be corrected, 2 of them within the last day.',
  ],
  [
    'ecc',
    'refuse',
    with_([chip(5, { errors: { value: { doubleBit: 0, isolatedPages: 64 } } })]),
    'The HBM of chip 5 has 64 pages that are out of use for errors.',
  ],
  [
    'ecc',
    'warn',
    with_([chip(5, { errors: unread })]),
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
  ['disk', 'refuse', host({ disk: space(110 * GB) }), 'The disk of the work root has 110 GB free.'],
  ['disk', 'warn', host({ disk: space(332 * GB) }), 'The disk of the work root has 332 GB free.'],
  ['disk', 'refuse', host({ disk: unread }), 'The disk of the work root could not be read (npu-smi: it said "?").'],
  // 64 MB is what a container gets that nobody gave more.
  ['/dev/shm', 'refuse', host({ shm: space(67_108_864) }), '/dev/shm has 67 MB free.'],
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
  [
    ...(['clock', 'refuse'] as const),
    host({ clock: { value: { isSynchronised: false, maxErrorMs: 1 } }, clockAheadMs: 7 * 60_000 }),
    "The clock is at least 7 minutes ahead of that of Temporal's server, and nobody is known to keep it right.",
  ],
  [
    ...(['clock', 'refuse'] as const),
    host({ clock: unread, clockAheadMs: -7 * 60_000 }),
    "The clock is at least 7 minutes behind that of Temporal's server, and nobody is known to keep it right.",
  ],
  [
    // Of a clock that is kept and one of which nothing is known, nothing says that it is the first.
    ...(['clock', 'warn'] as const),
    host({ clockAheadMs: 7 * 60_000 }),
    "The clock is at least 7 minutes ahead of that of Temporal's server.",
  ],
  ['clock', 'warn', host({ clock: unread }), 'The clock could not be read (npu-smi: it said "?").'],
  ['store', 'refuse', host({ store: unread }), 'The store is not reached (npu-smi: it said "?").'],
];
