/** How fast a count goes and how long it still takes, from how it went in the last while. */

/** Looks kept: enough to smooth a save in between, few enough to follow a change of pace. */
const WINDOW = 30;

/** Remembers (count, time) pairs; a count that falls (a roll-back) starts the memory anew. */
export class RateWindow {
  readonly #seen: { readonly done: number; readonly atMs: number }[] = [];

  /** The pace of the window, and seconds to `total` at it; empty while nothing is known. */
  take(done: number, total: number, atMs: number): { readonly perSecond?: number; readonly etaSeconds?: number } {
    const last = this.#seen.at(-1);
    if (last !== undefined && done < last.done) this.#seen.length = 0;
    this.#seen.push({ done, atMs });
    if (this.#seen.length > WINDOW) this.#seen.shift();
    const first = this.#seen[0];
    if (first === undefined || done <= first.done || atMs <= first.atMs) return {};
    const perSecond = ((done - first.done) * 1000) / (atMs - first.atMs);
    return { perSecond, etaSeconds: Math.max(0, (total - done) / perSecond) };
  }
}
