/** Where a rank stands, of real processes: by py-spy, by faulthandler, or the reason why by neither; nobody is killed by the question. */
import { spawn } from 'node:child_process';
import { openSync, closeSync, readFileSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { killLeftovers } from '../../../src/process/kill.js';
import { markerEnvironment } from '../../../src/process/marker.js';
import { readProcess } from '../../../src/process/proc.js';
import { dumpStacks, rankProcesses, type DumpStacks, type RankProcess } from '../../../src/process/stacks.js';
import { scratchFolder } from '../../support/scratch.js';
import { until } from '../../support/until.js';
import { environment, eventually } from './support.js';

const WAITS = 'import time; print("ready", flush=True); time.sleep(600)';
const ANSWERS = `import faulthandler, signal; faulthandler.register(signal.SIGUSR1, all_threads=True); ${WAITS}`;

const MARKER = { workRoot: '/h0', runId: `stacks-${String(process.pid)}`, generation: 1, nodeRank: 0 };

let root: string;
let logFile: string;
let how: DumpStacks;
beforeEach(async () => {
  root = await scratchFolder();
  logFile = join(root, 'trainer.log');
  how = { logFile, pySpy: [join(root, 'py-spy')], env: environment };
});

/** A rank as torchrun starts it: with its rank, in a session of its own, with the trainer's log as its output. */
async function rankOf(script: string): Promise<RankProcess> {
  onTestFinished(async () => {
    await killLeftovers(MARKER);
  });
  const log = openSync(logFile, 'a');
  const env = { ...environment, ...markerEnvironment(MARKER), RANK: '3' };
  const { pid } = spawn('python3', ['-c', script], { env, stdio: ['ignore', log, log], detached: true });
  closeSync(log);
  await eventually('it is ready', () => readFileSync(logFile, 'utf8').includes('ready'));
  const [found, ...others] = await rankProcesses(MARKER);
  expect(found).toMatchObject({ rank: 3, pid, state: 'sleeping' });
  expect(others).toEqual([]);
  return found!;
}

test('a rank that has registered faulthandler writes its stacks itself', async () => {
  expect(await dumpStacks(await rankOf(ANSWERS), how)).toBe('faulthandler');
  const log = readFileSync(logFile, 'utf8');
  expect(log).toMatch(
    /\[anneal\] stacks of rank 3 \(pid \d+, sleeping\), by faulthandler, since py-spy is not installed:/,
  );
  expect(log).toMatch(/Current thread .*\n {2}File "<string>", line 1 in <module>/);
});

test('py-spy comes first where it is there', async () => {
  await writeFile(join(root, 'py-spy'), '#!/bin/sh\necho "asked: $@"\n');
  await chmod(join(root, 'py-spy'), 0o755);
  const rank = await rankOf(WAITS);
  expect(await dumpStacks(rank, how)).toBe('py-spy');
  expect(readFileSync(logFile, 'utf8')).toContain(`by py-spy:\nasked: dump --nonblocking --pid ${String(rank.pid)}\n`);
});

test('py-spy that may not read it says so, and faulthandler is asked', async () => {
  await writeFile(
    join(root, 'py-spy'),
    '#!/bin/sh\necho "Permission Denied: Try running again with elevated permissions" >&2\nexit 1\n',
  );
  await chmod(join(root, 'py-spy'), 0o755);
  expect(await dumpStacks(await rankOf(ANSWERS), how)).toBe('faulthandler');
  expect(readFileSync(logFile, 'utf8')).toContain('since py-spy could not read it (Permission Denied');
});

test('a rank without a handler is not signalled, which would end it', async () => {
  const rank = await rankOf(WAITS);
  expect(await dumpStacks(rank, how)).toBe(
    'none: py-spy is not installed; it has registered no faulthandler for SIGUSR1',
  );
  expect(readProcess(rank.pid)).toBeDefined();
});

test('a rank that is stopped cannot answer', async () => {
  const rank = await rankOf(ANSWERS);
  process.kill(rank.pid, 'SIGSTOP');
  const stopped = await until('it is stopped', 5_000, async () =>
    (await rankProcesses(MARKER)).find(({ state }) => state === 'stopped'),
  );
  expect(await dumpStacks(stopped, how)).toBe(
    'none: py-spy is not installed; it is stopped, so it cannot answer SIGUSR1',
  );
  expect(readFileSync(logFile, 'utf8')).toContain('it is stopped, so it cannot answer SIGUSR1');
});
