/** An agent's look at its host: what a gang hears of it, shared by who asks at once, and taken again where things pass by themselves. */
import { appendFile, chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { HostDoctor } from '../../../src/activities/host/host-doctor.js';
import { PACKAGES } from '../../../src/preflight/host-checks.js';
import * as sample from '../../fixtures/ascend/samples.js';
import { ascendHost } from '../../fixtures/ascend/tools.js';
import { scratchFolder } from '../../support/scratch.js';
import { until } from '../../support/until.js';

/** What a Python with all packages answers, after a moment. */
const ANSWER = JSON.stringify({
  version: '3.11.2',
  packages: Object.fromEntries(PACKAGES.map((name) => [name, '1.0'])),
  clock: { maxError: 1_000, status: 0 },
});

/** A host without NPUs whose programs are in its own folder; each look at it is a line of `looks`. */
async function host(programs: readonly string[] = ['python', 'torchrun', 'mm-convert']) {
  const root = await scratchFolder();
  const [runtimeBin, store, looks] = [join(root, 'bin'), join(root, 'store'), join(root, 'looks')];
  await mkdir(runtimeBin);
  for (const name of programs) {
    await writeFile(join(runtimeBin, name), `#!/bin/sh\necho look >> ${looks}\nsleep 0.2\necho '${ANSWER}'\n`);
    await chmod(join(runtimeBin, name), 0o755);
  }
  const doctor = new HostDoctor({ runtime: 'cpu', npus: 1, workRoot: root, runtimeBin, store: { folder: store } });
  const looked = async (): Promise<number> => (await readFile(looks, 'utf8').catch(() => '')).split('look').length - 1;
  return { doctor, store, looked, runtimeBin };
}

test('who asks at once shares one look, and the next one looks again', async () => {
  const { doctor, store, looked } = await host();
  await mkdir(store);
  const [first, second] = await Promise.all([doctor.look(), doctor.look()]);
  expect(first).toEqual({ findings: [], versions: { torch: '1.0' } });
  expect(second).toBe(first);
  expect(await looked()).toBe(1);
  await doctor.look();
  expect(await looked()).toBe(2);
});

test('a program that is missing refuses the host, with rule and remedy; the pool hears of it since when', async () => {
  const { doctor, store, runtimeBin } = await host(['python', 'torchrun']);
  await mkdir(store);
  const { findings } = await doctor.look();
  expect(findings).toEqual([
    {
      check: 'python',
      severity: 'refuse',
      sentence: 'The runtime has no mm-convert. It must have python, torchrun, mm-convert.',
      remedy: expect.stringMatching(/^Install the runtime/) as string,
    },
  ]);
  const { health } = doctor;
  expect(health).toMatchObject({ isFit: false, findings: [findings[0]?.sentence] });
  await doctor.look();
  expect(doctor.health).toBe(health);
  await appendFile(join(runtimeBin, 'mm-convert'), '');
  await doctor.look();
  expect(doctor.health).toMatchObject({ isFit: true, findings: [] });
});

test('a store that is back in a moment refuses nobody', async () => {
  const { doctor, store, looked } = await host();
  const looking = doctor.look();
  await until('it has looked once', 10_000, async () => (await looked()) > 0 || undefined);
  await mkdir(store);
  expect(await looking).toMatchObject({ findings: [] });
  expect(await looked()).toBe(2);
});

test('one look at what a host is like now waits for nothing that passes, and shares the tools with a look under way', async () => {
  const { doctor, store, looked } = await host();
  const looking = doctor.look();
  const { isFit, checks } = await doctor.lookOnce();
  expect(isFit).toBe(false);
  expect(checks.find(({ check }) => check === 'store')?.findings).toHaveLength(1);
  expect(await looked()).toBe(1);
  await mkdir(store);
  expect(await looking).toMatchObject({ findings: [] });
});

test('of an Ascend host the gang hears what must be alike: versions, the kind of chip and the TLS switch', async () => {
  const versions = async (answers: Record<string, string>) => {
    const root = await scratchFolder();
    const doctor = new HostDoctor({
      runtime: 'ascend',
      npus: 2,
      workRoot: root,
      ascend: await ascendHost(root, answers),
    });
    return (await doctor.look()).versions;
  };
  expect(await versions({})).toEqual({
    driver: '25.3.rc1',
    firmware: '7.1.0.11.220',
    CANN: '8.3.RC1',
    'The kind of chip': '910B3',
    'The error correction of the ports': 'rs FEC mode',
    'The TLS switch': 'off',
  });
  const on = sample.TLS_OFF.replace('[0]', '[1]');
  expect(await versions({ 'hccn_tool -i * -tls -g': on })).toMatchObject({ 'The TLS switch': 'on' });
  // Chips that differ are a finding of their host.
  expect(await versions({ 'hccn_tool -i 1 -tls -g': on })).not.toHaveProperty('The TLS switch');
});

test('a clock that nobody keeps right is held against the clock of the server that asks, with what a task may have waited', async () => {
  const { doctor, store, runtimeBin } = await host();
  await mkdir(store);
  const clockOf = async (minutes: number) => {
    const { findings } = await doctor.look(Date.now() - minutes * 60_000);
    return findings.filter(({ check }) => check === 'clock').map(({ severity, sentence }) => [severity, sentence]);
  };
  // STA_UNSYNC
  await writeFile(join(runtimeBin, 'python'), `#!/bin/sh\necho '${ANSWER.replace('"status":0', '"status":64')}'\n`);
  expect(await clockOf(7.5)).toEqual([['refuse', expect.stringMatching(/^The clock is at least 7 minutes ahead of/)]]);
  // Nobody asks from there: the clock has not been set since.
  expect((await doctor.look()).findings).toMatchObject([{ check: 'clock', severity: 'refuse' }]);
  expect(doctor.health?.isFit).toBe(false);
  expect(await clockOf(-7.5)).toEqual([['refuse', expect.stringMatching(/^The clock is at least 7 minutes behind/)]]);
  // Five minutes and a quarter of one, in which a task may wait.
  expect(await clockOf(5.2)).toEqual([['warn', expect.stringMatching(/^Nobody keeps the clock right/)]]);
  expect(await clockOf(0)).toEqual([['warn', expect.stringMatching(/^Nobody keeps the clock right/)]]);
});

test('errors of HBM are counted from look to look: two more within a day refuse the host', async () => {
  const root = await scratchFolder();
  const doctorWith = async (errors: number): Promise<HostDoctor> => {
    const text = sample.ECC.replace(/(Double Bit Error Count +:) 0/, `$1 ${String(errors)}`);
    const ascend = await ascendHost(root, { 'npu-smi info -t ecc -i 1 *': text });
    return new HostDoctor({ runtime: 'ascend', npus: 2, workRoot: root, ascend });
  };
  const ecc = async (errors: number) =>
    (await (await doctorWith(errors)).look()).findings
      .filter(({ check }) => check === 'ecc')
      .map(({ severity, sentence }) => [severity, sentence.replace(/ It must.*/, '')]);
  expect(await ecc(0)).toEqual([]);
  expect(await ecc(1)).toEqual([['warn', 'The HBM of chip 1 had 1 errors that could not be corrected.']]);
  expect(await ecc(2)).toEqual([
    ['refuse', 'The HBM of chip 1 had 2 errors that could not be corrected, 2 of them within the last day.'],
  ]);
});
