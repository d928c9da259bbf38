/** Bounded memory for transfers, reused from part to part, and shared with the hashing threads so that nothing is copied. */

interface Waiter {
  readonly sizeBytes: number;
  readonly resolve: (bytes: SharedArrayBuffer) => void;
}

export interface BufferPoolSizes {
  /** Of all buffers that are out. */
  readonly limitBytes: number;
  /** Buffers of this size are kept for the next one. */
  readonly keptBytes: number;
  /** Whoever needs no more than this gets as much, from buffers that are kept too. */
  readonly smallBytes: number;
}

const idleMs = 10_000;

export class BufferPool {
  readonly #sizes: BufferPoolSizes;
  readonly #free = new Map<number, SharedArrayBuffer[]>();
  readonly #waiting: Waiter[] = [];
  #usedBytes = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(sizes: BufferPoolSizes) {
    this.#sizes = sizes;
    for (const size of [sizes.keptBytes, sizes.smallBytes]) this.#free.set(size, []);
  }

  /**
   * A buffer of this size, or a larger one if it is small, in the order of the calls; one above the limit is given when no other is out. Take what is needed first
   * before what is needed later, and do not wait for a later one to give an earlier one back: then nobody waits for ever.
   */
  async take(neededBytes: number): Promise<SharedArrayBuffer> {
    const sizeBytes = neededBytes <= this.#sizes.smallBytes ? this.#sizes.smallBytes : neededBytes;
    return new Promise((resolve) => {
      this.#waiting.push({ sizeBytes, resolve });
      this.#serve();
    });
  }

  give(bytes: SharedArrayBuffer): void {
    this.#usedBytes -= bytes.byteLength;
    this.#free.get(bytes.byteLength)?.push(bytes);
    this.#serve();
    if (this.#usedBytes > 0) return;
    // One transfer often follows another; after the last one nothing is held.
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      for (const buffers of this.#free.values()) buffers.length = 0;
    }, idleMs).unref();
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#usedBytes > 0 && this.#usedBytes + next.sizeBytes > this.#sizes.limitBytes) return;
      this.#waiting.shift();
      clearTimeout(this.#idle);
      this.#usedBytes += next.sizeBytes;
      next.resolve(this.#free.get(next.sizeBytes)?.pop() ?? new SharedArrayBuffer(next.sizeBytes));
    }
  }
}
