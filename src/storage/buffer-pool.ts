/** Bounded memory for transfers, reused from part to part, and shared with the hashing threads so that nothing is copied. */

interface Waiter {
  readonly sizeBytes: number;
  readonly resolve: (bytes: SharedArrayBuffer) => void;
}

const idleMs = 10_000;

export class BufferPool {
  readonly #limitBytes: number;
  readonly #keptBytes: number;
  readonly #free: SharedArrayBuffer[] = [];
  readonly #waiting: Waiter[] = [];
  #usedBytes = 0;
  #idle: NodeJS.Timeout | undefined;

  /** `keptBytes`: the size of which buffers are kept for the next one. */
  constructor(limitBytes: number, keptBytes: number) {
    this.#limitBytes = limitBytes;
    this.#keptBytes = keptBytes;
  }

  /**
   * A buffer of exactly this size, in the order of the calls; one above the limit is given when no other is out. Take what is needed first
   * before what is needed later, and do not wait for a later one to give an earlier one back: then nobody waits for ever.
   */
  async take(sizeBytes: number): Promise<SharedArrayBuffer> {
    return new Promise((resolve) => {
      this.#waiting.push({ sizeBytes, resolve });
      this.#serve();
    });
  }

  give(bytes: SharedArrayBuffer): void {
    this.#usedBytes -= bytes.byteLength;
    if (bytes.byteLength === this.#keptBytes) this.#free.push(bytes);
    this.#serve();
    if (this.#usedBytes > 0) return;
    // One transfer often follows another; after the last one nothing is held.
    this.#idle = setTimeout(() => (this.#free.length = 0), idleMs).unref();
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#usedBytes > 0 && this.#usedBytes + next.sizeBytes > this.#limitBytes) return;
      this.#waiting.shift();
      clearTimeout(this.#idle);
      this.#usedBytes += next.sizeBytes;
      const kept = next.sizeBytes === this.#keptBytes ? this.#free.pop() : undefined;
      next.resolve(kept ?? new SharedArrayBuffer(next.sizeBytes));
    }
  }
}
