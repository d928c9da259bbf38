/** The probe of an Ascend host against executables that answer as the tools do, and as tools of a sick driver do. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { OF_RELEASE, PROBE_LIMITS, probeAscend } from '../../../src/preflight/ascend-probe.js';
import { judge, verdictOf } from '../../../src/preflight/judge.js';
import { CHECK } from '../../../src/workflows/options.js';
import { ascendHost, TABLE_OF_SIXTEEN, TABLE_OF_TWO } from '../../fixtures/ascend/tools.js';
import * as sample from '../../fixtures/ascend/samples.js';
import { scratchFolder, writeTree } from '../../support/scratch.js';
import { host, npus } from './planted-faults.js';

/** A busy machine may take seconds for what takes milliseconds. */
const limits = { limitMs: 10_000, waitMs: 10_000, totalMs: 300_000 };
const impatient = { ...limits, limitMs: 3_000 };

test('a host that is well: every reading has its value, and no two calls overlapped', async () => {
  const folder = await scratchFolder();
  const found = await probeAscend(await ascendHost(folder), limits);
  expect(found.chips.map(({ chip }) => [chip.physicalId, chip.hbmUsedMb])).toEqual([
    [0, 3318],
    [1, 3402],
  ]);
  const { chip: _, ...ports } = found.chips[1] ?? { chip: undefined };
  expect(ports).toEqual({
    errors: { value: { doubleBit: 0, isolatedPages: 0 } },
    link: { value: 'UP' },
    netHealth: { value: 'Success' },
    address: { value: '10.86.1.80' },
    tls: { value: false },
    fec: { value: 'rs FEC mode' },
    lossesOfDay: { value: 0 },
  });
  expect(found.processes).toEqual({ value: [] });
  expect(found.versions).toEqual({
    ...{ driver: { value: '25.3.rc1' }, firmware: { value: '7.1.0.11.220' }, cann: { value: '8.3.RC1' } },
  });
  const calls = (await readFile(join(folder, 'calls'), 'utf8')).trim().split('\n');
  expect(calls.length).toBe(2 * (2 + 2 * 7));
  // A begin is followed by its own end.
  for (let at = 0; at < calls.length; at += 2) expect(calls[at + 1]).toBe(calls[at]?.replace('begin', 'end'));
});

test('two probes of one host at once never call a tool beside each other', async () => {
  const folder = await scratchFolder();
  const places = await ascendHost(folder);
  const patient = { ...limits, waitMs: 60_000 };
  const found = await Promise.all([probeAscend(places, patient), probeAscend(places, patient)]);
  for (const { chips } of found) expect(chips.every(({ link }) => 'value' in link)).toBe(true);
  const calls = (await readFile(join(folder, 'calls'), 'utf8')).trim().split('\n');
  for (let at = 0; at < calls.length; at += 2) expect(calls[at + 1]).toBe(calls[at]?.replace('begin', 'end'));
});

test('an npu-smi that hangs is killed, asked nothing more, and nothing is known of the chips', async () => {
  const folder = await scratchFolder();
  const found = await probeAscend(await ascendHost(folder, { 'npu-smi info': '$ trap "" TERM; sleep 600' }), impatient);
  const why = 'npu-smi info: it had not answered after 3 s and was killed';
  expect(found).toMatchObject({
    table: { unread: why },
    known: { unread: why },
    processes: { unread: why },
    chips: [],
  });
  expect(await readFile(join(folder, 'calls'), 'utf8')).toBe('begin npu-smi info\n');
});

test('an hccn_tool that hangs is not asked for anything else, nor npu-smi, and what they have said stays', async () => {
  const folder = await scratchFolder();
  const answers = { 'hccn_tool -i 0 -net_health -g': '$ sleep 600' };
  const found = await probeAscend(await ascendHost(folder, answers), impatient);
  expect(found.chips.map(({ link }) => link)).toEqual([{ value: 'UP' }, { value: 'UP' }]);
  const why = { unread: 'hccn_tool -i 0 -net_health -g: it had not answered after 3 s and was killed' };
  for (const { netHealth, tls, errors } of found.chips) expect([netHealth, tls, errors]).toEqual([why, why, why]);
  expect('value' in found.table).toBe(true);
  expect((await readFile(join(folder, 'calls'), 'utf8')).trim().split('\n').at(-1)).toBe(
    'begin hccn_tool -i 0 -net_health -g',
  );
});

test('sixteen chips are 114 calls, which take no two at once', async () => {
  const folder = await scratchFolder();
  const found = await probeAscend(await ascendHost(folder, { 'npu-smi info': TABLE_OF_SIXTEEN }), limits);
  expect(found.chips).toHaveLength(16);
  for (const { netHealth, fec, errors } of found.chips)
    for (const read of [netHealth, fec, errors]) expect(read).toHaveProperty('value');
  const calls = (await readFile(join(folder, 'calls'), 'utf8')).trim().split('\n');
  expect(calls.filter((call) => call.startsWith('begin'))).toHaveLength(114);
  for (let at = 0; at < calls.length; at += 2) expect(calls[at + 1]).toBe(calls[at]?.replace('begin', 'end'));
});

test('tools that answer, but slowly, are asked the first things first; what is left speaks against nobody', async () => {
  const slow = { 'hccn_tool -i * -link -g': `$ sleep 0.2; echo "${sample.LINK_UP.trim()}"` };
  const answers = { 'npu-smi info': TABLE_OF_SIXTEEN, ...slow };
  const places = await ascendHost(await scratchFolder(), answers);
  const found = await probeAscend(places, { ...limits, totalMs: 2_000 });
  expect(found.chips[0]?.link).toEqual({ value: 'UP' });
  expect(found.chips.at(-1)?.link).toEqual({
    unread: 'hccn_tool -i 15 -link -g: it was not asked, since the look had taken 2 s',
    isLate: true,
  });
  const readings = { ...host(), npus: 16, ascend: { ...npus(), ...found } };
  const { checks } = judge(readings);
  expect(checks.find(({ check }) => check === 'link')?.findings[0]).toMatchObject({ severity: 'warn' });
  expect(checks.filter((one) => verdictOf(one) === 'refuse')).toEqual([]);
});

test('a look ends before the gang gives it up, also if a tool hangs in its last call and Python too', () => {
  const { limitMs, waitMs, totalMs } = PROBE_LIMITS;
  const killed = 2_000;
  // What passes by itself is looked at again in the first twenty seconds; Python is asked twice at most.
  const longest = 22_000 + totalMs + waitMs + limitMs + killed + 30_000;
  expect(CHECK.startToCloseTimeout).toBe('3 minutes');
  expect(longest).toBeLessThan(180_000);
});

test('an npu-smi that prints a table and ends with an error is not believed', async () => {
  const answers = { 'npu-smi info': `$ echo "${TABLE_OF_TWO.split('\n')[1] ?? ''}"; exit 255` };
  const { table } = await probeAscend(await ascendHost(await scratchFolder(), answers), limits);
  expect(table).toEqual({ unread: expect.stringMatching(/^npu-smi info: it ended with code 255 and said /) as string });
});

test('no npu-smi', async () => {
  const places = await ascendHost(await scratchFolder());
  await rm(places.npuSmi);
  const { table } = await probeAscend(places, limits);
  expect(table).toEqual({ unread: `npu-smi info: ${places.npuSmi} cannot be used (ENOENT)` });
});

test('of an NPU of which the table says nothing, -t proc-mem is asked', async () => {
  const answers = {
    'npu-smi info': TABLE_OF_TWO.replace(/\| No running processes found in NPU 1.*\n/, ''),
    'npu-smi info -t proc-mem -i 1': 'Process id:77 Process name:python   Process memory(MB):177\nChip ID : 0\n',
  };
  const { processes } = await probeAscend(await ascendHost(await scratchFolder(), answers), limits);
  expect(processes).toEqual({ value: [{ npu: 1, chip: 0, pid: 77, name: 'python', memoryMb: 177 }] });
});

test('a chip that is not OK is asked for its error codes, a link that is down for its light', async () => {
  const answers = {
    'npu-smi info': TABLE_OF_TWO.replace('OK', 'Critical'),
    'npu-smi info -t health -i 0 -c 0': sample.HEALTH_OF_CHIP.replace(': OK', ': Critical').replace(
      ': NA',
      ': 80E01801',
    ),
    'hccn_tool -i 1 -link -g': sample.LINK_DOWN,
  };
  const { chips } = await probeAscend(await ascendHost(await scratchFolder(), answers), limits);
  expect(chips[0]?.detail).toEqual({ value: { health: 'Critical', errorCodes: ['80E01801'] } });
  expect(chips[1]).toMatchObject({ link: { value: 'DOWN' }, light: { value: false } });
});

test('versions: an older folder of CANN, files that are not there or say something else, what the trainer lacks', async () => {
  const folder = await scratchFolder();
  const places = await ascendHost(folder);
  await rm(join(places.ascendHome, 'cann'), { recursive: true });
  await rm(join(places.ascendHome, 'firmware'), { recursive: true });
  await writeTree(folder, {
    'Ascend/ascend-toolkit/latest/x86_64-linux/ascend_toolkit_install.info': 'version=8.1.RC1\n',
    'Ascend/driver/version.info': 'no version here\n',
    'mm/pretrain_vlm.py': '',
    'mm/pretrain_internvl.py': '',
    'mm/mindspeed_mm/tools/tools.json': '{}',
    'mm/examples/internvl3/finetune_internvl3_8B.sh': '',
  });
  const { versions } = await probeAscend({ ...places, trainerHome: join(folder, 'mm') }, limits);
  expect(versions).toEqual({
    cann: { value: '8.1.RC1' },
    driver: { unread: expect.stringContaining('no line "version=…"') as string },
    firmware: { unread: expect.stringContaining('there is no ') as string },
    trainer: {
      missing: ['megatron'],
      missingOfRelease: ['docs/features/dist-train.md'],
      megatron: { unread: expect.stringContaining('there is no ') as string },
    },
  });
});

test('of all releases only 2.2.0 has both files by which it is told', () => {
  // As "git ls-tree RELEASE" of Ascend/MindSpeed-MM lists them, November 2026.
  const [internvl3, tuned, distTrain] = ['examples/internvl3/view.jpg', ...OF_RELEASE] as const;
  const releases: Readonly<Record<string, readonly (string | undefined)[]>> = {
    '2.0.0': [distTrain],
    '2.1.0': [internvl3, distTrain],
    '2.2.0': [internvl3, tuned, distTrain],
    '2.3.0': [internvl3, tuned],
    '26.0.0': [internvl3, tuned],
    '26.1.0': [],
  };
  const taken = Object.keys(releases).filter((name) => OF_RELEASE.every((file) => releases[name]?.includes(file)));
  expect(taken).toEqual(['2.2.0']);
});

test.each([
  ['0.12.1', "MAJOR = 0\nMINOR = 12\nPATCH = 1\nPRE_RELEASE = ''\n", { value: '0.12.1' }],
  ['another form', "__version__ = '0.12.1'\n", { unread: expect.stringContaining('no lines "MAJOR') as string }],
])('the version of the Megatron that was copied in: %s', async (_, text, expected) => {
  const folder = await scratchFolder();
  await writeTree(folder, { 'mm/megatron/core/package_info.py': text });
  const { versions } = await probeAscend({ ...(await ascendHost(folder)), trainerHome: join(folder, 'mm') }, limits);
  expect(versions.trainer?.megatron).toEqual(expected);
});
