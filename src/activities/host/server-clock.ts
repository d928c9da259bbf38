/**
 * How far the host's clock is from that of Temporal's server, as far as work that was scheduled there can tell: a task is taken up after it
 * was scheduled, and within its limit, so it bounds the difference from both sides.
 */
import { monotonicSeconds } from '../../process/wait.js';

/** Of the look before a launch (`CHECK` in src/workflows/options.ts): one that is taken up later is not waited for any more. */
const TAKEN_UP_WITHIN_MS = 15_000;

export class ServerClock {
  #heard: { readonly earliest: number; readonly latest: number; readonly at: number } | undefined;

  /** By the server's clock, of work that is taken up at this moment. Kept against a clock that nobody sets. */
  heard(scheduledAt: number): void {
    const at = monotonicSeconds() * 1000;
    this.#heard = { earliest: scheduledAt, latest: scheduledAt + TAKEN_UP_WITHIN_MS, at };
  }

  /** By how much the clock is ahead, at least; negative: behind; 0 where it may well be right; undefined before anything was heard. */
  aheadMs(now = Date.now()): number | undefined {
    if (this.#heard === undefined) return undefined;
    const since = monotonicSeconds() * 1000 - this.#heard.at;
    const { earliest, latest } = this.#heard;
    if (now > latest + since) return now - latest - since;
    return Math.min(0, now - earliest - since);
  }
}
