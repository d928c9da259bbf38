/**
 * Follows a file that another process appends to, line by line, from a byte offset. Memory is bounded by the longest line; a line
 * is decoded whole, so that a character is never cut in two. Rotation and truncation are not followed: our logs have neither.
 */
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { isCode } from './trainer-files.js';
import { pause } from './wait.js';

const chunkBytes = 64 * 1024;
const cutMark = ' …(cut)';

export interface TailOptions {
  readonly fromByte?: number;
  /** `nextByte` is where the following line starts: give it as `fromByte` to go on after this one. */
  readonly onLine: (line: string, nextByte: number) => void;
  readonly pollMs?: number;
  /** Ends the tail, in the normal way: what is in the file by then is still read. */
  readonly signal: AbortSignal;
  /** Bytes of a line that are delivered; the rest of a longer line is dropped and marked. Default 64 KiB. */
  readonly maxLineBytes?: number;
  /** A last line without a line feed: `keep` it for the next tail (default), or `deliver` it when nobody writes any more. */
  readonly lastLine?: 'keep' | 'deliver';
}

/**
 * Delivers all lines until `signal` aborts and the file's end is reached. A file that does not exist is waited for. Resolves to the
 * offset of the first byte not delivered. Rejects with what `onLine` throws, or when the file cannot be read.
 */
export async function tailFile(path: string, options: TailOptions): Promise<{ readonly nextByte: number }> {
  const { fromByte = 0, onLine, pollMs = 200, signal, maxLineBytes = 64 * 1024, lastLine = 'keep' } = options;
  const lines = new LineSplitter(fromByte, maxLineBytes, onLine);
  const buffer = Buffer.alloc(chunkBytes);
  let file: FileHandle | undefined;
  try {
    for (;;) {
      // Asked before reading: all that was written before the abort is delivered.
      const ending = signal.aborted;
      file ??= await openIfThere(path);
      while (file !== undefined) {
        const { bytesRead } = await file.read(buffer, 0, chunkBytes, lines.readBytes);
        if (bytesRead === 0) break;
        lines.push(buffer.subarray(0, bytesRead));
      }
      if (ending) break;
      await pause(pollMs, signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
    if (lastLine === 'deliver') lines.flush();
    return { nextByte: lines.nextByte };
  } finally {
    await file?.close();
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Cuts bytes into lines and counts them. */
class LineSplitter {
  /** Offset behind the last byte seen. */
  readBytes: number;
  /** Offset behind the last line delivered. */
  nextByte: number;
  private kept: Buffer[] = [];
  private keptBytes = 0;
  private isCut = false;
  private readonly maxBytes: number;
  private readonly onLine: (line: string, nextByte: number) => void;

  constructor(fromByte: number, maxBytes: number, onLine: (line: string, nextByte: number) => void) {
    this.readBytes = fromByte;
    this.nextByte = fromByte;
    this.maxBytes = maxBytes;
    this.onLine = onLine;
  }

  push(chunk: Buffer): void {
    let from = 0;
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, from)) {
      this.keep(chunk.subarray(from, at));
      from = at + 1;
      this.deliver(this.readBytes + from);
    }
    this.keep(chunk.subarray(from));
    this.readBytes += chunk.length;
  }

  flush(): void {
    if (this.readBytes > this.nextByte) this.deliver(this.readBytes);
  }

  private keep(part: Buffer): void {
    const room = this.maxBytes - this.keptBytes;
    if (part.length > room) this.isCut = true;
    const taken = part.subarray(0, Math.max(0, room));
    if (taken.length === 0) return;
    this.kept.push(Buffer.from(taken)); // A copy: the chunk's buffer is used again.
    this.keptBytes += taken.length;
  }

  private deliver(nextByte: number): void {
    const text = Buffer.concat(this.kept).toString('utf8').replace(/\r$/, '');
    const line = this.isCut ? text + cutMark : text;
    this.kept = [];
    this.keptBytes = 0;
    this.isCut = false;
    this.nextByte = nextByte;
    this.onLine(line, nextByte);
  }
}

/** The whole lines at the beginning of a piece of a file, and how many bytes they are. */
export function parseLines(piece: Buffer): { readonly lines: readonly string[]; readonly bytes: number } {
  const bytes = piece.lastIndexOf(10) + 1;
  return { lines: bytes === 0 ? [] : piece.toString('utf8', 0, bytes - 1).split('\n'), bytes };
}
