/** A large file comes to the disk while it grows. */
import type { FileHandle } from 'node:fs/promises';

/** How often the disk is told to begin; one sync at the end would leave it all its work for a time when nothing else moves. */
const syncEveryBytes = 64 * 1024 * 1024;

/** Syncs a file piece by piece while it grows. An error of the disk is told once, so each of these syncs is waited for. */
export class EarlySync {
  readonly #handle: FileHandle;
  #begunAt = 0;
  #running: Promise<void> = Promise.resolve();

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async reached(position: number): Promise<void> {
    if (position - this.#begunAt < syncEveryBytes) return;
    await this.#running;
    this.#begunAt = position;
    this.#running = this.#handle.datasync();
    // It is heard of in its turn, or not at all when the transfer fails first.
    this.#running.catch(() => undefined);
  }

  async finish(): Promise<void> {
    await this.#running;
    await this.#handle.sync();
  }
}
