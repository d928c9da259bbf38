/**
 * The object store in a local folder. An object appears by `link()` from a synced temporary file on the same file system: the kernel
 * lets exactly one of any number of processes win, and a process killed anywhere before leaves nothing that a reader could see.
 */
import { constants } from 'node:fs';
import { lstat, open, readFile, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { fileMode, openSource, orUndefined, syncFolder, writeNewFile } from './disk.js';
import { StoreError, storeErrorOf } from './errors.js';
import { FolderRoot } from './folder-root.js';
import { storeSmallFile } from './hash-pool.js';
import type { FileDigest } from './hash-pool.js';
import { inlineBytes, sha256File } from './hashing.js';
import { checkKey, checkPrefix } from './keys.js';
import { digestMismatch, matches, sameOrConflict } from './mismatch.js';
import type {
  CreateOutcome,
  FileTransferOptions,
  ObjectHead,
  ObjectInfo,
  ObjectStore,
  TransferOptions,
} from './object-store.js';
import { fill, receiveFile } from './transfer.js';

export interface FolderStoreOptions {
  /** Age since the last write at which a temporary file counts as left behind by a killed process. Default one day. */
  readonly temporaryMaxAgeMs?: number;
}

const oneDayMs = 24 * 60 * 60 * 1000;
/** Read size of a stream: the default of 64 KiB costs a fifth of the speed. A small file gets a buffer of its own size. */
const readBytes = 1024 * 1024;

export class FolderStore implements ObjectStore {
  readonly url: string;
  /** A few megabytes each. */
  readonly parallelFiles = 8;
  readonly #root: FolderRoot;

  /** Touches nothing yet; the first call creates the folder if need be and sweeps old temporary files. */
  constructor(folder: string, options: FolderStoreOptions = {}) {
    this.#root = new FolderRoot(folder, options.temporaryMaxAgeMs ?? oneDayMs);
    this.url = this.#root.url;
  }

  async create(
    key: string,
    body: Uint8Array | string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<CreateOutcome> {
    return this.#act(`create ${this.#name(key)}`, options.signal, async () => {
      const place = await this.#root.placeForWriting(key);
      const bytes = Buffer.from(body);
      if (place.stats !== undefined) return this.#compare(key, place.path, bytes);
      const isMine = await this.#root.withTemporary(async (temporary) => {
        await writeNewFile(temporary, bytes);
        return this.#root.reveal(temporary, place.path);
      });
      return isMine ? 'created' : this.#compare(key, place.path, bytes);
    });
  }

  async read(key: string): Promise<Buffer | undefined> {
    return this.#act(`read ${this.#name(key)}`, undefined, async () => {
      const { path, stats } = await this.#root.place(key);
      return stats?.isFile() === true ? orUndefined(readFile(path)) : undefined;
    });
  }

  async head(key: string): Promise<ObjectHead | undefined> {
    return this.#act(`look at ${this.#name(key)}`, undefined, async () => {
      const { stats } = await this.#root.place(key);
      return stats?.isFile() === true ? { sizeBytes: stats.size } : undefined;
    });
  }

  async digest(key: string, { signal, onProgress }: TransferOptions = {}): Promise<FileDigest | undefined> {
    return this.#act(`hash ${this.#name(key)}`, signal, async () => {
      const { path, stats } = await this.#root.place(key);
      if (stats?.isFile() !== true) return undefined;
      const bytesTotal = stats.size;
      return sha256File(path, { signal, onProgress: (bytesDone) => onProgress?.({ bytesDone, bytesTotal }) });
    });
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    checkPrefix(prefix);
    try {
      yield* this.#root.walk(prefix);
    } catch (error) {
      throw storeErrorOf(error, `list ${JSON.stringify(prefix)} in ${this.url}`);
    }
  }

  async putFile(key: string, path: string, options: FileTransferOptions): Promise<'created' | 'same'> {
    return this.#act(`store ${path} as ${this.#name(key)}`, options.signal, async () => {
      const place = await this.#root.placeForWriting(key);
      if (place.stats === undefined) {
        const isMine = await this.#root.withTemporary(async (temporary) => {
          await copyTo(temporary, path, options);
          return this.#root.reveal(temporary, place.path);
        });
        if (isMine) return 'created';
      }
      return sameOrConflict(this.#name(key), path, await this.digest(key, options), options);
    });
  }

  async getFile(key: string, path: string, options: FileTransferOptions): Promise<void> {
    checkKey(key);
    const { sizeBytes } = options;
    const openAt = (start: number): Promise<Readable> => this.openRead(key, { start });
    const readAtOnce = async (): Promise<Uint8Array<ArrayBuffer>> => readSmall(await this.#open(key), sizeBytes);
    await receiveFile({ what: this.#name(key), path, openAt, readAtOnce }, options);
  }

  async openRead(key: string, range: { readonly start?: number; readonly end?: number } = {}): Promise<Readable> {
    return this.#act(`read ${this.#name(key)}`, undefined, async () => {
      const handle = await this.#open(key);
      const start = range.start ?? 0;
      const end = Math.min(range.end ?? Infinity, (await handle.stat()).size);
      if (start < end)
        return handle.createReadStream({ start, end: end - 1, highWaterMark: Math.min(readBytes, end - start) });
      await handle.close();
      return Readable.from([]);
    });
  }

  /** Error: NotFound. */
  async #open(key: string): Promise<FileHandle> {
    const { path, stats } = await this.#root.place(key);
    if (stats?.isFile() !== true) throw new StoreError('NotFound', `There is no ${this.#name(key)}.`);
    return open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  }

  async delete(key: string): Promise<void> {
    await this.#act(`delete ${this.#name(key)}`, undefined, async () => {
      const { path, stats } = await this.#root.place(key);
      if (stats?.isFile() !== true) return;
      // Folders that become empty stay: removing one would race with a writer that is about to link into it.
      await orUndefined(unlink(path));
      await syncFolder(dirname(path));
    });
  }

  #name(key: string): string {
    return `object ${JSON.stringify(key)} in ${this.url}`;
  }

  async #act<T>(tried: string, signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
    try {
      signal?.throwIfAborted();
      return await action();
    } catch (error) {
      signal?.throwIfAborted();
      throw storeErrorOf(error, tried);
    }
  }

  async #compare(key: string, path: string, bytes: Buffer): Promise<'same' | 'different'> {
    const stats = await orUndefined(lstat(path));
    if (stats !== undefined && stats.size !== bytes.byteLength) return 'different';
    const existing = await orUndefined(readFile(path));
    if (existing === undefined)
      throw new StoreError('Unavailable', `The ${this.#name(key)} was deleted while it was created; try again.`);
    // Its writer may not have come to this yet, and `same` promises a durable object.
    await syncFolder(dirname(path));
    return existing.equals(bytes) ? 'same' : 'different';
  }
}

/** Error: DigestMismatch. */
async function copyTo(temporary: string, path: string, options: FileTransferOptions): Promise<void> {
  const { sizeBytes, sha256, onProgress } = options;
  const isSmall = sizeBytes <= inlineBytes;
  // Streams and resume points cost many times what the bytes of a small file do.
  const found = isSmall
    ? await storeSmallFile({
        bytes: await readSmall(await openSource(path), sizeBytes),
        ...{ sha256, part: temporary, path: temporary, mode: fileMode },
      })
    : await fill({ openAt: () => streamOf(path, sizeBytes) }, temporary, 0, options);
  if (!matches(found, options)) throw digestMismatch(`file ${path}`, options, found);
  if (isSmall) onProgress?.({ bytesDone: sizeBytes, bytesTotal: sizeBytes });
}

/** All bytes of a file, and one more than promised if it has so many: enough to see that it is too long. */
async function readSmall(handle: FileHandle, sizeBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const bytes = new Uint8Array(sizeBytes + 1);
    let length = 0;
    for (let count = 1; count > 0 && length <= sizeBytes; length += count)
      count = (await handle.read(bytes, length, bytes.length - length, length)).bytesRead;
    return bytes.subarray(0, length);
  } finally {
    await handle.close();
  }
}

/** One byte more than promised is enough to see that a file is too long. */
async function streamOf(path: string, sizeBytes: number): Promise<Readable> {
  return (await openSource(path)).createReadStream({ highWaterMark: Math.min(readBytes, sizeBytes + 1) });
}
