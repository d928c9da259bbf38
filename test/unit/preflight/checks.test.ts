/** Each check: a host that is well passes all of them, and one planted fault is found by its own check and no other. */
import { describe, expect, test } from 'vitest';
import { baselineOf } from '../../../src/preflight/baseline.js';
import type { AscendReadings, ChipReadings, HostReadings } from '../../../src/preflight/host-readings.js';
import { judge, verdictOf } from '../../../src/preflight/judge.js';
import { FAULTS, GB, chip, host, npus, packages, process, space, unread, versions, with_ } from './planted-faults.js';

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
  const { ascend: _, ...cpu } = host({ runtime: 'cpu', npus: 1, disk: space(GB), shm: space(67_108_864) });
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
  expect(judge({ ...readings, disk: space(GB - 1) }).isFit).toBe(false);
  expect(judge({ ...readings, shm: space(0) }).isFit).toBe(false);
});

test('the rule of a disk names the bound that it misses', () => {
  const rule = (freeBytes: number) =>
    judge(host({ disk: space(freeBytes) })).checks.find(({ check }) => check === 'disk')?.findings[0]?.rule;
  expect(rule(110 * GB)).toBe('must have 111 GB free for one save of InternVL3 8B');
  expect(rule(111 * GB)).toBe('should have 333 GB free for 3 saves of InternVL3 8B');
  expect(rule(333 * GB)).toBeUndefined();
});
