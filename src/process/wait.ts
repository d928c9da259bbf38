/** Waiting: by polling, with a deadline, and ended by a signal with the signal's own reason. */
import { setTimeout as delay } from 'node:timers/promises';

/** Resolves after `ms`; rejects with `signal.reason` when aborted. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  try {
    await delay(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

export interface PollOptions {
  /** After this the answer is `undefined`; default: never. */
  readonly timeoutMs?: number | undefined;
  readonly pollMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Asks until `check` gives something, and returns it; `undefined` when the time is over. Rejects with `signal.reason`. */
export async function poll<T>(
  check: () => T | undefined | Promise<T | undefined>,
  { timeoutMs = Number.POSITIVE_INFINITY, pollMs = 50, signal }: PollOptions,
): Promise<T | undefined> {
  const deadline = monotonicSeconds() + timeoutMs / 1000;
  for (;;) {
    signal?.throwIfAborted();
    const value = await check();
    if (value !== undefined) return value;
    if (monotonicSeconds() >= deadline) return undefined;
    await pause(pollMs, signal);
  }
}

/** Seconds of the host's monotonic clock: the same number as Python's `time.monotonic()` on Linux. Stops while suspended. */
export function monotonicSeconds(): number {
  return Number(process.hrtime.bigint()) / 1e9;
}
