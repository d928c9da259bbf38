/**
 * Outlives a test file, however that dies, and cleans up behind it: when its standard input closes, it kills every process that
 * works on the folder and removes the folder. `node folder-guard.mjs FOLDER [keep]`
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { processesOf } from './folder-processes.mjs';

/** A killed `anneal dev` cannot start a child anew, but a child may be starting one of its own: so a few rounds, not one. */
const ROUNDS = 200;

const [folder = '', keep] = process.argv.slice(2);
if (folder.length < 6) throw new Error(`"${folder}" is too short a folder: what mentions it is killed.`);
// A Ctrl-C reaches the whole group; the guard is what must be left.
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => undefined);

process.stdin.resume();
await new Promise((resolve) => process.stdin.once('close', resolve));
for (let round = 0; round < ROUNDS; round += 1) {
  const living = processesOf(folder);
  if (living.length === 0) break;
  for (const { pid } of living) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Gone in between.
    }
  }
  await pause(50);
}
// File systems of our own mount namespace that lie below it: a folder on which one lies cannot be removed.
for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
  const at = line.split(' ')[1] ?? '';
  if (at.startsWith(`${folder}/`)) spawnSync('umount', ['--lazy', at]);
}
if (keep === undefined && !existsSync(join(folder, 'KEEP'))) rmSync(folder, { recursive: true, force: true });
