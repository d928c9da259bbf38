/** `anneal doctor`: what a person reads, what a script reads, and the exit code. */
import { readdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { doctor, showJudgement } from '../../../src/cli/commands/doctor.js';
import { finding } from '../../../src/preflight/finding.js';
import type { judge } from '../../../src/preflight/judge.js';
import { ascendHost } from '../../fixtures/ascend/tools.js';
import { scratchFolder } from '../../support/scratch.js';

const trouble = { value: 'DOWN', rule: 'must be UP', remedy: 'Look at the cable.' };

test('each check is a line, each finding says what must hold and what to do, and a reason is quoted for a shell', () => {
  const sentence = "Process 7 (it's $(reboot)) is on chip 2.";
  const checks = [
    { check: 'link', state: 'UP', findings: [] },
    { check: 'processes', state: '1', findings: [finding('refuse', { ...trouble, sentence })] },
    { check: 'fec', state: 'rs', findings: [finding('warn', { ...trouble, sentence: 'It differs.' })] },
  ];
  expect(showJudgement('node-01', 'ascend', { isFit: false, checks }).split('\n')).toEqual([
    'node-01 (ascend)',
    'ok      link       UP',
    'REFUSE  processes  1',
    `        ${sentence} It must be UP.`,
    '        -> Look at the cable.',
    'warn    fec        rs',
    '        It differs. It must be UP.',
    '        -> Look at the cable.',
    `Not fit to train: 1 finding against it, 1 warning. To grant it to nobody: anneal hosts cordon node-01 --reason 'Process 7 (it'\\''s $(reboot)) is on chip 2.'`,
  ]);
});

test('without settings nobody knows the name of the host, and it has none to be cordoned by', () => {
  const checks = [
    { check: 'link', state: 'DOWN', findings: [finding('refuse', { ...trouble, sentence: 'It is DOWN.' })] },
  ];
  const lines = showJudgement(undefined, 'ascend', { isFit: false, checks }).split('\n');
  expect(lines[0]).toBe('this machine (ascend)');
  expect(lines.at(-1)).toContain("anneal hosts cordon HOST --reason 'It is DOWN.'");
});

async function settings(change: object): Promise<string> {
  const folder = await scratchFolder();
  const runtimeBin = join(folder, 'bin');
  await mkdir(runtimeBin);
  await mkdir(join(folder, 'store'));
  for (const name of ['torchrun', 'mm-convert']) await writeFile(join(runtimeBin, name), '');
  const packages = '{"torch":"2.7.1","numpy":"1","pillow":"1","tokenizers":"1","safetensors":"1","torch-npu":"2.7.1"}';
  const look = `{"version":"3.10.1","packages":${packages},"clock":{"maxError":100,"status":0}}`;
  await writeFile(join(runtimeBin, 'python'), `#!/bin/sh\necho '${look}'\n`, { mode: 0o755 });
  const file = join(folder, 'agent.yaml');
  const agent = {
    ...{
      cluster: 'lab',
      name: 'node-01',
      address: '127.0.0.1',
      npus: 1,
      runtime: 'cpu',
      workRoot: join(folder, 'work'),
    },
    ...{
      runtimeBin: 'bin',
      trainerHome: '.',
      temporal: { address: '127.0.0.1:9' },
      store: { folder: 'store' },
      ...change,
    },
  };
  await writeFile(file, stringify(agent));
  return file;
}

async function run(
  flags: Parameters<typeof doctor>[0],
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const written = { out: '', err: '' };
  const catching = (to: 'out' | 'err') => (text: unknown) => {
    written[to] += String(text);
    return true;
  };
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation(catching('out')),
    vi.spyOn(process.stderr, 'write').mockImplementation(catching('err')),
  ];
  try {
    return { code: await doctor(flags), ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

test('with the settings of a CPU agent: what makes sense there, code 0, and nothing is made in the store or the work root', async () => {
  const config = await settings({});
  const { code, out } = await run({ config, json: true });
  const told = JSON.parse(out) as ReturnType<typeof judge> & { readonly host: string };
  expect([code, told.host, told.isFit]).toEqual([0, 'node-01', true]);
  expect(told.checks.map(({ check }) => check)).toEqual(['python', 'disk', '/dev/shm', 'ports', 'clock', 'store']);
  expect(readdirSync(join(config, '..')).sort()).toEqual(['agent.yaml', 'bin', 'store']);
  expect(readdirSync(join(config, '../store'))).toEqual([]);
});

test('a store that is not mounted refuses the host: code 1, and the sentence for people', async () => {
  const { code, out } = await run({ config: await settings({ store: { folder: 'not-mounted' } }) });
  expect(code).toBe(1);
  expect(out).toMatch(
    /^REFUSE {2}store +away\n {8}The store is not reached \(ENOENT.* It must be reachable from every host\.$/m,
  );
  expect(out).toMatch(/^Not fit to train: 1 finding against it/m);
});

test('on an Ascend host the tools in PATH are asked', async () => {
  const folder = await scratchFolder();
  await ascendHost(folder);
  vi.stubEnv('PATH', `${folder}:${process.env['PATH'] ?? ''}`);
  onTestFinished(() => void vi.unstubAllEnvs());
  const { code, out } = await run({
    config: await settings({ runtime: 'ascend', npus: 8, ascend: { setEnv: ['set_env.sh'] } }),
  });
  expect(out).toContain('Chips are missing: npu-smi shows 2 of 8.');
  expect(out).toMatch(/^ok +link +UP$/m);
  expect(code).toBe(1);
});

test('a baseline is recorded of an Ascend agent alone, and of a host that is known to be idle', async () => {
  await expect(doctor({ recordIdle: true })).rejects.toMatchObject({ exit: 'refused' });
  await expect(doctor({ recordIdle: true, config: await settings({}) })).rejects.toMatchObject({ exit: 'refused' });
  const { code, err } = await run({
    recordIdle: true,
    config: await settings({ runtime: 'ascend', npus: 8, ascend: { setEnv: ['set_env.sh'] } }),
  });
  expect(code).toBe(1);
  expect(err).toMatch(
    /^Nothing is recorded, since this host is not known to be idle: npu-smi info: .*npu-smi cannot be used \(ENOENT\)\.$/m,
  );
});
