/** A file that arrives in pieces: bytes in `<base>.part`, what of them can be trusted in `<base>.json`, both for the next attempt. */
import { constants } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { ensureFolder, fileMode, orUndefined, replaceFile, syncFolder, writeAll } from './disk.js';
import { storeErrorOf } from './errors.js';

/** The most that a kill can cost again; each note costs a sync of the disk. */
const noteEveryBytes = 8 * 1024 * 1024;

const StateShape = z.strictObject({
  url: z.string(),
  validator: z.strictObject({ etag: z.string().optional(), lastModified: z.string().optional() }),
  sizeBytes: z.int().nonnegative(),
  /** Pieces `[start, end)`, of which the first `done` bytes are on the disk. */
  pieces: z.array(z.strictObject({ start: z.int(), end: z.int(), done: z.int().nonnegative() })).min(1),
});
export type PartState = z.infer<typeof StateShape>;
export type Piece = PartState['pieces'][number];

export class PartFile {
  readonly path: string;
  /** What is known of the file and its pieces; undefined before the first answer, and for a server that cannot go on. */
  state: PartState | undefined;
  readonly #notePath: string;
  readonly #handle: FileHandle;
  #unnotedBytes = 0;
  #noting: Promise<void> = Promise.resolve();

  private constructor(base: string, handle: FileHandle, state: PartState | undefined) {
    this.path = `${base}.part`;
    this.#notePath = `${base}.json`;
    this.#handle = handle;
    this.state = state;
  }

  /** Opens what an earlier attempt left of `url`, or begins anew. */
  static async open(base: string, url: string): Promise<PartFile> {
    await ensureFolder(dirname(base));
    const handle = await open(`${base}.part`, constants.O_CREAT | constants.O_RDWR | constants.O_NOFOLLOW, fileMode);
    try {
      await handle.chmod(fileMode);
      const state = await readState(`${base}.json`);
      const { size } = await handle.stat();
      // A note without its bytes (a kill while the finished file got its name) is no note.
      const isWhole =
        state?.url === url && state.pieces.every((piece) => piece.done === 0 || piece.start + piece.done <= size);
      return new PartFile(base, handle, isWhole ? state : undefined);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  get bytesDone(): number {
    return this.state?.pieces.reduce((sum, piece) => sum + piece.done, 0) ?? 0;
  }

  /** Begins with an empty file. Without a state nothing can be resumed. */
  async begin(state: PartState | undefined): Promise<void> {
    await this.#noting;
    await rm(this.#notePath, { force: true });
    await this.#handle.truncate(0);
    this.state = state;
    if (state !== undefined) await this.note();
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    try {
      await writeAll(this.#handle, bytes, position);
      this.#unnotedBytes += bytes.byteLength;
    } catch (error) {
      throw storeErrorOf(error, `write ${this.path}`);
    }
  }

  /** Notes the progress if enough has come since the last note. */
  async noteSometimes(): Promise<void> {
    if (this.#unnotedBytes >= noteEveryBytes) await this.note();
  }

  /** Makes the bytes durable, then the note that they are there: after a power cut it never claims a byte too many. */
  async note(): Promise<void> {
    this.#unnotedBytes = 0;
    this.#noting = this.#noting.then(async () => {
      if (this.state === undefined) return;
      const text = JSON.stringify(this.state);
      await this.#handle.datasync();
      await replaceFile(this.#notePath, text);
    });
    await this.#noting;
  }

  /** Gives the finished file its name. */
  async moveTo(path: string): Promise<void> {
    await this.#handle.sync();
    await ensureFolder(dirname(path));
    await rename(this.path, path);
    await syncFolder(dirname(path));
    await rm(this.#notePath, { force: true });
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

async function readState(path: string): Promise<PartState | undefined> {
  const text = await orUndefined(readFile(path, 'utf8'));
  if (text === undefined) return undefined;
  try {
    return StateShape.parse(JSON.parse(text));
  } catch {
    // An unreadable note is as good as none: the file is fetched from its beginning.
    return undefined;
  }
}
