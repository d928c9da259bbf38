/** Waiting for a fact, with a deadline: the only way by which tests here wait. */
import { poll } from '../../src/process/wait.js';

/** Asks until `check` gives something; throws, naming what was waited for, when the time is over. */
export async function until<T>(
  what: string,
  limitMs: number,
  check: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const value = await poll(check, { timeoutMs: limitMs, pollMs: 50 });
  if (value === undefined) throw new Error(`Within ${limitMs / 1000} s it did not come to pass: ${what}.`);
  return value;
}

/** Waits for a promise; throws, naming what was waited for, when the time is over. */
export async function within<T>(what: string, limitMs: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`Within ${limitMs / 1000} s it did not come to pass: ${what}.`));
    }, limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
