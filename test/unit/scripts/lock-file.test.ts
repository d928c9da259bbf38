/** The lock of set-up, held by real processes. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { root } from '../../../scripts/lib/files.mjs';
import { withLock } from '../../../scripts/lib/lock-file.mjs';

let folder = '';
let lock = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'anneal-lock-'));
  lock = join(folder, 'set-up.lock');
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Takes the lock `times` times in a process of its own; each time adds one to a counter, slowly enough to be disturbed. */
function count(times: number): Promise<number | null> {
  const script = `
    import { readFileSync, writeFileSync } from 'node:fs';
    import { setTimeout } from 'node:timers/promises';
    import { withLock } from ${JSON.stringify(join(root, 'scripts/lib/lock-file.mjs'))};
    const counter = ${JSON.stringify(join(folder, 'counter'))};
    for (let i = 0; i < ${times}; i += 1) {
      await withLock(${JSON.stringify(lock)}, async () => {
        const value = Number(readFileSync(counter, 'utf8'));
        await setTimeout(2);
        writeFileSync(counter, String(value + 1));
      });
    }`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return new Promise((resolve) => child.on('exit', resolve));
}

// Goal: no update is lost. Method: three processes add to one file, reading and writing apart.
test('processes that race for the lock work one after another', async () => {
  writeFileSync(join(folder, 'counter'), '0');
  expect(await Promise.all([count(4), count(4), count(4)])).toEqual([0, 0, 0]);
  expect(readFileSync(join(folder, 'counter'), 'utf8')).toBe('12');
  expect(existsSync(lock)).toBe(false);
});

test('the lock of a killed process is taken over', async () => {
  const holder = spawn('sleep', ['60']);
  const died = new Promise((resolve) => holder.on('exit', resolve));
  writeFileSync(lock, JSON.stringify({ pid: holder.pid, startTime: 'before' }));
  holder.kill('SIGKILL');
  await died;
  expect(await withLock(lock, () => Promise.resolve('worked'))).toBe('worked');
});

test('the lock of a number that another process got since is taken over', async () => {
  writeFileSync(lock, JSON.stringify({ pid: process.pid, startTime: 'of an earlier process' }));
  expect(await withLock(lock, () => Promise.resolve('worked'))).toBe('worked');
});

test('the lock is free after work that failed', async () => {
  await expect(withLock(lock, () => Promise.reject(new Error('disk full')))).rejects.toThrow('disk full');
  expect(existsSync(lock)).toBe(false);
});
