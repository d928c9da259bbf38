/** The kill routine: it ends all that belongs to a marker, and nobody else. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomInt, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { killLeftovers, markedProcesses, stopEverything } from '../../../src/process/kill.js';
import { markerEnvironment } from '../../../src/process/marker.js';
import type { CommandMarker } from '../../../src/process/marker.js';
import { commandOf, isAlive, ownIdentity, processTable, readProcess } from '../../../src/process/proc.js';
import { monotonicSeconds } from '../../../src/process/wait.js';
import { compileFolder, environment, eventually, living } from './support.js';

const marker: CommandMarker = { workRoot: '/h0', runId: `test-${randomUUID()}`, stage: 'convert' };
const children: ChildProcess[] = [];

afterEach(async () => {
  await killLeftovers(marker);
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

function run(script: string, extra: Readonly<Record<string, string>> = markerEnvironment(marker)): number {
  const child = spawn('bash', ['-c', script], { env: { ...environment, ...extra }, stdio: 'ignore', detached: true });
  children.push(child);
  if (child.pid === undefined) throw new Error('bash could not be started.');
  return child.pid;
}

test('all processes of a marker are ended, in whatever session; those of another host, or of another cluster with such a run, are not', async () => {
  const stranger = run('exec sleep 600', markerEnvironment({ ...marker, workRoot: '/h1' }));
  run('setsid sleep 601 & sleep 602 & (setsid bash -c "sleep 603 & sleep 604" &) ; wait');
  const sleeps = await eventually('four sleeps', () => {
    const found = markedProcesses(marker).filter(({ command }) => /^sleep 60[1-4]$/.test(command));
    return found.length === 4 && found.map(({ pid }) => pid);
  });
  const report = await stopEverything({ marker, graceMs: 0 });
  expect(report).toMatchObject({ left: [], gone: true, lock: 'not-asked' });
  expect(report.killed.map(({ pid }) => pid)).toEqual(expect.arrayContaining(sleeps));
  expect(living(sleeps)).toEqual([]);
  expect(markedProcesses(marker)).toEqual([]);
  expect(living([stranger])).toEqual([stranger]);
  expect(report.message).toContain('Nothing of run');
});

test('descendants that lost their environment and their session are ended with those that have it', async () => {
  const sleep = `sleep 605.${randomInt(1_000_000)}`;
  run(`env -i setsid bash -c "${sleep}; true" & wait`);
  const orphan = await eventually('the child without environment', () => pidOf(sleep));
  expect(markedProcesses(marker).map(({ pid }) => pid)).not.toContain(orphan);
  const report = await killLeftovers(marker);
  expect(report.killed.map(({ command }) => command)).toContain(sleep);
  expect(living([orphan])).toEqual([]);
});

test('SIGTERM comes first and is enough for who obeys; who ignores it is killed after the grace', async () => {
  const root = await mkdtemp(join(tmpdir(), 'anneal-kill-'));
  run(`trap 'echo > ${root}/asked; exit 0' TERM; echo > ${root}/obeys; while :; do sleep 0.05; done`);
  const deaf = run(`trap '' TERM; echo > ${root}/ignores; while :; do sleep 0.05; done`);
  // A shell that has not come to its trap yet dies of the first signal.
  await eventually('both traps', () => ['obeys', 'ignores'].every((name) => existsSync(join(root, name))));
  const startedAt = monotonicSeconds();
  const report = await stopEverything({ marker, graceMs: 600 });
  expect(monotonicSeconds() - startedAt).toBeGreaterThan(0.5);
  expect(report.gone).toBe(true);
  expect(living([deaf])).toEqual([]);
  expect(existsSync(join(root, 'asked'))).toBe(true);
  await rm(root, { recursive: true });
});

test('a process that carries the marker itself, and its ancestors, are spared by their own call', async () => {
  const root = await mkdtemp(join(tmpdir(), 'anneal-kill-'));
  const compiled = await compileFolder('process', root);
  await writeFile(
    join(root, 'self.mjs'),
    `import { stopEverything } from ${JSON.stringify(join(compiled, 'kill.js'))};
     const report = await stopEverything({ marker: ${JSON.stringify(marker)}, graceMs: 0 });
     console.log(JSON.stringify(report));`,
  );
  const env = { ...environment, ...markerEnvironment(marker) };
  const parent = spawn('bash', ['-c', `${process.execPath} ${root}/self.mjs; echo alive`], { env });
  children.push(parent);
  let output = '';
  parent.stdout.on('data', (data: Buffer) => (output += data.toString()));
  await once(parent, 'close');
  const [report = '', alive] = output.trim().split('\n');
  expect(JSON.parse(report)).toMatchObject({ killed: [], left: [], gone: true });
  expect(alive).toBe('alive');
  await rm(root, { recursive: true });
});

test('a marker with an empty part is refused, because it would match strangers', async () => {
  await expect(killLeftovers({ ...marker, runId: '' })).rejects.toThrow('ANNEAL_RUN_ID');
});

test('an identity names one process: not a later one with its pid, not one of another boot, not a zombie', async () => {
  const me = ownIdentity();
  expect(isAlive(me)).toBe(true);
  expect(isAlive({ ...me, start: me.start + 1 })).toBe(false);
  expect(isAlive({ ...me, boot: 'another' })).toBe(false);
  // Python does not reap its child until it is told to: a zombie stays.
  const keeper = spawn('python3', [
    '-c',
    'import os,time\np=os.fork()\nif p==0: os._exit(0)\nprint(p,flush=True)\ntime.sleep(60)',
  ]);
  children.push(keeper);
  const [data] = (await once(keeper.stdout, 'data')) as [Buffer];
  const zombie = Number(data.toString());
  await eventually('a zombie', () => readProcess(zombie) === undefined);
  expect(() => process.kill(zombie, 0)).not.toThrow();
});

function pidOf(command: string): number | undefined {
  return [...processTable().keys()].find((pid) => commandOf(pid) === command);
}
