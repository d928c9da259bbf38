/** One set-up at a time: a lock file that names its holder, and falls with it. */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { say, UserError } from './say.mjs';

/** Longer than any set-up on a slow line takes; after that the holder is stuck, and a person should look. */
const LONGEST_WAIT_MS = 60 * 60_000;
const LOOK_EVERY_MS = 250;

/** @typedef {{ pid: number, startTime: string }} Holder */

/**
 * Runs `work` while no other process holds the lock; waits, aloud, while one does.
 * @template T
 * @param {string} path
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(path, work) {
  await acquire(path);
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

/** @param {string} path */
async function acquire(path) {
  mkdirSync(dirname(path), { recursive: true });
  const mine = JSON.stringify({ pid: process.pid, startTime: startTimeOf(process.pid) });
  const deadline = performance.now() + LONGEST_WAIT_MS;
  let told = false;
  while (!create(path, mine)) {
    const seen = readHolder(path);
    if (seen.text !== undefined && !isAlive(seen.holder)) {
      removeStale(path, seen.text);
      continue;
    }
    if (!told) say(`  ${'waiting'.padEnd(13)} another set-up (process ${seen.holder?.pid ?? 'unknown'}) is at work`);
    told = true;
    if (performance.now() > deadline) {
      throw new UserError(
        `Set-up waited an hour for process ${seen.holder?.pid ?? 'unknown'}, which holds ${path}. End that process, then start again.`,
      );
    }
    await wait(LOOK_EVERY_MS);
  }
}

/**
 * The file appears with its content or not at all: a reader never sees an empty lock.
 * @param {string} path
 * @param {string} text
 */
function create(path, text) {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, text);
  try {
    linkSync(draft, path);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * @param {string} path
 * @returns {{ text?: string, holder?: Holder }}
 */
function readHolder(path) {
  try {
    const text = readFileSync(path, 'utf8');
    return { text, holder: JSON.parse(text) };
  } catch {
    return {}; // released between our two looks
  }
}

/**
 * A PID alone is not enough: after a restart of a container the same number is somebody else.
 * @param {Holder | undefined} holder
 * @returns {boolean}
 */
function isAlive(holder) {
  if (!holder) return false;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ESRCH') return false;
  }
  return startTimeOf(holder.pid) === holder.startTime;
}

/**
 * Two waiters may find the same stale lock: each takes the file aside and looks again at what it took.
 * @param {string} path
 * @param {string} staleText
 */
function removeStale(path, staleText) {
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
    // The other waiter was faster, and this is its living lock: put it back.
    if (readFileSync(aside, 'utf8') !== staleText) linkSync(aside, path);
  } catch {
    // Gone or already put back: the next look decides.
  } finally {
    rmSync(aside, { force: true });
  }
}

/**
 * The kernel's start time of a process, or '' where there is no /proc.
 * @param {number} pid
 * @returns {string}
 */
function startTimeOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
