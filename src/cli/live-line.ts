/** One line at the bottom of a terminal that is written over; without a terminal there is none. */
import type { WriteStream } from 'node:tty';

const ERASE_LINE = '\r\u001B[2K';

export class LiveLine {
  readonly isLive: boolean;
  readonly #stream: Pick<WriteStream, 'write'>;
  #shown = '';

  constructor(stream: Pick<WriteStream, 'write'> & { readonly isTTY?: boolean }) {
    this.#stream = stream;
    this.isLive = stream.isTTY === true;
  }

  /** Replaces the line. */
  show(text: string): void {
    if (!this.isLive) return;
    this.#shown = text;
    this.#stream.write(`${ERASE_LINE}${text}`);
  }

  /** Writes a lasting line in its place; what it said is old by then, so it does not come back by itself. */
  above(text: string): void {
    this.clear();
    this.#stream.write(`${text}\n`);
  }

  clear(): void {
    if (this.isLive && this.#shown !== '') this.#stream.write(ERASE_LINE);
    this.#shown = '';
  }
}
