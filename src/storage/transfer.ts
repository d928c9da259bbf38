/** One file from a stream to a disk: bounded memory, hashed while it arrives, resumable, and visible only when it is right. */
import { constants } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { ensureFolder, fileMode, syncFolder, writeAll, writeNewFile } from './disk.js';
import { StoreError, isErrno, isStoreError, storeErrorOf } from './errors.js';
import { startHash } from './hash-pool.js';
import type { FileDigest } from './hash-pool.js';
import { inlineBytes, sha256File, sha256Hex } from './hashing.js';
import type { FileTransferOptions } from './object-store.js';

/** How often the hashing thread hears how far the file is; less often would leave it work for the end. */
const announceEveryBytes = 4 * 1024 * 1024;

export interface IncomingFile {
  /** What it is and where it comes from, for messages: `object "a/b" in file:///store`. */
  readonly what: string;
  readonly path: string;
  /** Where it lies until it is right; on the same file system. Default `<path>.part`. */
  readonly part?: string;
  /** The source's bytes from an offset on; they need be valid only until the next ones are asked for. */
  readonly openAt: (start: number) => AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>;
}

/** Brings a file to `path`, by way of `<path>.part`, from where an earlier attempt stopped. Errors: DigestMismatch, those of `openAt`. */
export async function receiveFile(file: IncomingFile, options: FileTransferOptions): Promise<void> {
  const { path } = file;
  const part = file.part ?? `${path}.part`;
  try {
    if (await isThere(path, options)) return;
    await ensureFolder(dirname(path));
    if (options.sizeBytes <= inlineBytes) {
      await rm(part, { force: true });
      await writeNewFile(part, await readWhole(file, options));
      await rename(part, path);
      await syncFolder(dirname(path));
      return;
    }
    const start = await resumeOffset(part, options.sizeBytes);
    let found = await fill(file, part, start, options);
    // A part may be of other content or damaged: its bytes are worth one fresh try, not a failure.
    if (!matches(found, options) && start > 0) found = await fill(file, part, 0, options);
    if (!matches(found, options)) throw digestMismatch(file.what, options, found);
    await rename(part, path);
    await syncFolder(dirname(path));
  } catch (error) {
    if (isStoreError(error, 'DigestMismatch')) await rm(part, { force: true });
    options.signal?.throwIfAborted();
    throw storeErrorOf(error, `bring ${file.what} to ${path}`);
  }
}

/** A small file at once: streams, threads and resume points cost many times what its bytes do. Error: DigestMismatch. */
export async function readWhole(
  { what, openAt }: Pick<IncomingFile, 'what' | 'openAt'>,
  { sizeBytes, sha256, signal, onProgress }: FileTransferOptions,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let position = 0;
  for await (const chunk of readAll(await openAt(0), signal)) {
    chunks.push(Buffer.from(chunk));
    position += chunk.byteLength;
    // A source that is longer than promised is wrong already: read no further.
    if (position > sizeBytes) break;
  }
  const bytes = Buffer.concat(chunks);
  const found = { sizeBytes: bytes.byteLength, sha256: sha256Hex(bytes) };
  if (!matches(found, { sizeBytes, sha256 })) throw digestMismatch(what, { sizeBytes, sha256 }, found);
  onProgress?.({ bytesDone: sizeBytes, bytesTotal: sizeBytes });
  return bytes;
}

/** Writes a stream's bytes into `path` from `start` on and syncs them; answers what the whole file now is. It is kept on failure. */
export async function fill(
  file: Pick<IncomingFile, 'openAt'>,
  path: string,
  start: number,
  { sizeBytes, signal, onProgress }: FileTransferOptions,
): Promise<FileDigest> {
  signal?.throwIfAborted();
  const handle = await open(path, constants.O_CREAT | constants.O_RDWR | constants.O_NOFOLLOW, fileMode);
  const hash = startHash(path);
  // Hashing what a resumed file already has can take minutes; an abort does not wait for it.
  const stop = (): void => {
    hash.cancel();
  };
  signal?.addEventListener('abort', stop);
  try {
    await handle.chmod(fileMode);
    await handle.truncate(start);
    hash.advance(start);
    let position = start;
    let announced = start;
    if (start < sizeBytes || start === 0) {
      for await (const chunk of readAll(await file.openAt(start), signal)) {
        await writeAll(handle, chunk, position);
        position += chunk.byteLength;
        onProgress?.({ bytesDone: Math.min(position, sizeBytes), bytesTotal: sizeBytes });
        // A source that is longer than promised is wrong already: read no further.
        if (position > sizeBytes) break;
        if (position - announced < announceEveryBytes) continue;
        hash.advance(position);
        announced = position;
      }
    }
    await handle.sync();
    return await hash.finish(position);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    hash.cancel();
    await handle.close();
  }
}

/** Iterates a stream; an abort ends it at once, with the signal's reason. */
export async function* readAll(
  stream: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const stop = (): void => {
    const reason: unknown = signal?.reason;
    if (stream instanceof Readable) stream.destroy(reason instanceof Error ? reason : new Error(String(reason)));
  };
  signal?.addEventListener('abort', stop);
  try {
    signal?.throwIfAborted();
    for await (const chunk of stream) {
      signal?.throwIfAborted();
      yield chunk;
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    if (stream instanceof Readable) stream.destroy();
  }
}

export function matches(found: FileDigest, expected: FileDigest): boolean {
  return found.sizeBytes === expected.sizeBytes && found.sha256 === expected.sha256;
}

/** For a name that was taken before: whether it holds the file at `path`. Error: `Conflict`. */
export function sameOrConflict(
  what: string,
  path: string,
  found: FileDigest | undefined,
  expected: FileDigest,
): 'same' {
  if (found !== undefined && matches(found, expected)) return 'same';
  throw new StoreError(
    'Conflict',
    `The ${what} already holds other bytes (SHA-256 ${found?.sha256 ?? 'unknown'}) than ${path} (${expected.sha256}); ` +
      'an object is never overwritten. Use a new key.',
  );
}

/** The sentence for bytes that are not the promised ones; says what kind of damage it is. */
export function digestMismatch(what: string, expected: FileDigest, found: FileDigest): StoreError {
  const sizes =
    found.sizeBytes < expected.sizeBytes
      ? `is truncated: it has ${found.sizeBytes} of ${expected.sizeBytes} bytes`
      : found.sizeBytes > expected.sizeBytes
        ? `is too long: it has more than ${expected.sizeBytes} bytes`
        : `has the right size (${expected.sizeBytes} bytes) and the SHA-256 ${found.sha256} instead of ${expected.sha256}`;
  return new StoreError('DigestMismatch', `The ${what} ${sizes}; its bytes are not used.`);
}

async function isThere(path: string, options: FileTransferOptions): Promise<boolean> {
  try {
    const stats = await stat(path);
    if (!stats.isFile() || stats.size !== options.sizeBytes) return false;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return false;
    throw error;
  }
  const bytesTotal = options.sizeBytes;
  const onProgress = (bytesDone: number): void => options.onProgress?.({ bytesDone, bytesTotal });
  return matches(await sha256File(path, { signal: options.signal, onProgress }), options);
}

async function resumeOffset(part: string, sizeBytes: number): Promise<number> {
  try {
    const { size } = await stat(part);
    return size <= sizeBytes ? size : 0;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return 0;
    throw error;
  }
}
