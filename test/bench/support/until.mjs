/** Waits for what a bench has caused, with a limit that means that something is wrong. */
import { setTimeout as wait } from 'node:timers/promises';
import { UserError } from '../../../scripts/lib/say.mjs';

const LIMIT_MS = 180_000;
const POLL_MS = 50;

/** @template T @param {string} what @param {() => T | undefined | Promise<T | undefined>} look @returns {Promise<T>} */
export async function until(what, look) {
  const deadline = performance.now() + LIMIT_MS;
  while (performance.now() < deadline) {
    const found = await look();
    if (found !== undefined) return found;
    await wait(POLL_MS);
  }
  throw new UserError(`Not within ${String(LIMIT_MS / 1000)} s: ${what}.`);
}
