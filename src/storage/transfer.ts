/** One file from a stream to a disk: bounded memory, hashed while it arrives, resumable, and visible only when it is right. */
import { constants } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { ensureFolder, fileMode, syncFolder, writeAll } from './disk.js';
import { isErrno, isStoreError, storeErrorOf } from './errors.js';
import { EarlySync } from './early-sync.js';
import { startHash, storeSmallFile } from './hash-pool.js';
import type { FileDigest } from './hash-pool.js';
import { inlineBytes, sha256File } from './hashing.js';
import { digestMismatch, matches } from './mismatch.js';
import type { FileTransferOptions } from './object-store.js';

/** How often the hashing thread hears how far the file is; less often would leave it work for the end. */
const announceEveryBytes = 4 * 1024 * 1024;
export interface IncomingFile {
  /** What it is and where it comes from, for messages: `object "a/b" in file:///store`. */
  readonly what: string;
  readonly path: string;
  /** Where it lies until it is right; on the same file system. Default `<path>.part`. */
  readonly part?: string;
  /**
   * The source's bytes from an offset on; they need be valid only until the next ones are asked for. Such as lie in a shared buffer, from
   * its beginning, are hashed there; others are read back from the file.
   */
  readonly openAt: (start: number) => AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>;
  /** A small file at once, where that costs less; the bytes are not used again by who gave them. */
  readonly readAtOnce?: () => Promise<Uint8Array<ArrayBuffer>>;
}

/** Brings a file to `path`, by way of `<path>.part`, from where an earlier attempt stopped. Errors: DigestMismatch, those of `openAt`. */
export async function receiveFile(file: IncomingFile, options: FileTransferOptions): Promise<void> {
  const { path } = file;
  const part = file.part ?? `${path}.part`;
  try {
    if (await isThere(path, options)) return;
    await ensureFolder(dirname(path));
    if (options.sizeBytes <= inlineBytes) {
      const bytes = (await file.readAtOnce?.()) ?? (await readBytes(file, options));
      const found = await storeSmallFile({ bytes, sha256: options.sha256, part, path, mode: fileMode });
      if (!matches(found, options)) throw digestMismatch(file.what, options, found);
      options.onProgress?.({ bytesDone: options.sizeBytes, bytesTotal: options.sizeBytes });
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

/** As many bytes as were promised, whatever they are. Error: DigestMismatch. */
async function readBytes(
  { what, openAt }: Pick<IncomingFile, 'what' | 'openAt'>,
  options: FileTransferOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(options.sizeBytes);
  let position = 0;
  for await (const chunk of readAll(await openAt(0), options.signal)) {
    if (position + chunk.byteLength <= bytes.byteLength) bytes.set(chunk, position);
    position += chunk.byteLength;
    // A source that is longer than promised is wrong already: read no further.
    if (position > bytes.byteLength) break;
  }
  if (position === bytes.byteLength) return bytes;
  throw digestMismatch(what, options, { sizeBytes: position, sha256: '' });
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
  const syncing = new EarlySync(handle);
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
        const { buffer } = chunk;
        const isShared = buffer instanceof SharedArrayBuffer;
        // Both must have ended before the memory is used again, whatever becomes of either.
        const [written, hashed] = await Promise.allSettled([
          writeAll(handle, chunk, position),
          isShared ? hash.update(buffer, chunk.byteLength) : undefined,
        ]);
        for (const outcome of [written, hashed]) if (outcome.status === 'rejected') throw outcome.reason;
        position += chunk.byteLength;
        await syncing.reached(position);
        onProgress?.({ bytesDone: Math.min(position, sizeBytes), bytesTotal: sizeBytes });
        // A source that is longer than promised is wrong already: read no further.
        if (position > sizeBytes) break;
        if (isShared || position - announced < announceEveryBytes) continue;
        hash.advance(position);
        announced = position;
      }
    }
    await syncing.finish();
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
