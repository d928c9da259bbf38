/** How long a count still takes, from how it went in the last while. */

/** Looks kept: enough to smooth a save in between, few enough to follow a change of pace. */
const WINDOW = 30;

/** Remembers (count, time) pairs; a count that falls (a roll-back) starts the memory anew. */
export class RateWindow {
  readonly #seen: { readonly done: number; readonly atMs: number }[] = [];

  /** Seconds to `total` at the pace of the window; undefined while nothing is known. */
  etaSeconds(done: number, total: number, atMs: number): number | undefined {
    const last = this.#seen.at(-1);
    if (last !== undefined && done < last.done) this.#seen.length = 0;
    this.#seen.push({ done, atMs });
    if (this.#seen.length > WINDOW) this.#seen.shift();
    const first = this.#seen[0];
    if (first === undefined || done <= first.done || atMs <= first.atMs) return undefined;
    return Math.max(0, ((total - done) * (atMs - first.atMs)) / (done - first.done) / 1000);
  }
}
