/** The agent lock: one live agent of a name, freed by any death, and a refusal that names who holds it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isLockFree, takeAgentLock } from '../../../src/process/host-lock.js';
import { commandOf, processTable } from '../../../src/process/proc.js';
import { poll } from '../../../src/process/wait.js';
import { compileFolder, eventually } from './support.js';

let root: string;
let lockFile: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'anneal-lock-'));
  lockFile = join(root, 'state', 'agent.lock');
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

test('a second agent of a name is refused with a sentence that names the first, until the first lets go', async () => {
  const first = await takeAgentLock(lockFile, 'h0');
  if (first.kind !== 'taken') throw new Error(first.message);
  const second = await takeAgentLock(lockFile, 'h0');
  expect(second).toMatchObject({ kind: 'busy', holder: { pid: process.pid, name: 'h0' } });
  expect(second).toHaveProperty('message', expect.stringContaining(`process ${process.pid} (agent h0`));
  await first.lock.release();
  expect(first.lock.lost.aborted).toBe(false);
  const third = await takeAgentLock(lockFile, 'h0');
  if (third.kind !== 'taken') throw new Error(third.message);
  await third.lock.release();
});

test('SIGKILL to an agent frees its lock, and an agent that only ends is not kept alive by it', async () => {
  const compiled = await compileFolder('process', root);
  const script = `
    import { takeAgentLock } from ${JSON.stringify(join(compiled, 'host-lock.js'))};
    console.log((await takeAgentLock(process.argv[1], 'h0')).kind);
    if (process.argv[2] === 'stay') setInterval(() => {}, 1000);`;
  for (const how of ['stay', 'end']) {
    const agent = spawn(process.execPath, ['--input-type=module', '-e', script, lockFile, how]);
    const [data] = (await once(agent.stdout, 'data')) as [Buffer];
    expect(data.toString().trim()).toBe('taken');
    if (how === 'stay') {
      expect(await isLockFree(lockFile)).toBe(false);
      agent.kill('SIGKILL');
    }
    await once(agent, 'exit');
    expect(await poll(async () => (await isLockFree(lockFile)) || undefined, { timeoutMs: 5_000 })).toBe(true);
  }
});

test('an agent whose lock is taken away hears of it', async () => {
  const result = await takeAgentLock(lockFile, 'h0');
  if (result.kind !== 'taken') throw new Error(result.message);
  const holders = [...processTable().keys()].filter((pid) => commandOf(pid).includes(lockFile));
  expect(holders.length).toBeGreaterThan(0);
  for (const pid of holders) process.kill(pid, 'SIGKILL');
  await eventually('the loss', () => result.lock.lost.aborted);
  expect(String(result.lock.lost.reason)).toContain(lockFile);
});

test('a lock file that cannot be made is an error with its path, not a busy lock', async () => {
  await expect(takeAgentLock(root, 'h0')).rejects.toThrow(root);
});
