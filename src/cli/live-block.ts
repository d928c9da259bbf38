/** Lines at the bottom of a terminal that are written over; without a terminal there are none. */
import type { WriteStream } from 'node:tty';

/** To the first column, and everything from there to the end of the screen is gone. */
const ERASE_BELOW = '\r\u001B[J';

export class LiveBlock {
  readonly isLive: boolean;
  readonly #stream: Pick<WriteStream, 'write'>;
  #shown: readonly string[] = [];

  constructor(stream: Pick<WriteStream, 'write'> & { readonly isTTY?: boolean }) {
    this.#stream = stream;
    this.isLive = stream.isTTY === true;
  }

  /** Replaces the block. No line may be as wide as the terminal, which would break it in two. */
  show(lines: readonly string[]): void {
    if (!this.isLive) return;
    this.#stream.write(`${this.#erase()}${lines.join('\n')}`);
    this.#shown = lines;
  }

  /** Writes a lasting line in the block's place; what that said is old by then, so it does not come back by itself. */
  above(text: string): void {
    this.clear();
    this.#stream.write(`${text}\n`);
  }

  clear(): void {
    if (this.isLive && this.#shown.length > 0) this.#stream.write(this.#erase());
    this.#shown = [];
  }

  #erase(): string {
    const up = this.#shown.length - 1;
    return up > 0 ? `\u001B[${String(up)}A${ERASE_BELOW}` : ERASE_BELOW;
  }
}
