/**
 * A small, bounded set of threads that hash files, so that gigabytes of SHA-256 never delay a heartbeat of the main thread. They also read
 * and store small files, thousands of which would.
 */
import { openJob } from './hash-threads.js';
import type { FileDigest, ThreadError, Update } from './hash-threads.js';

export type { FileDigest };

/** A file that is hashed while it is written. What the writer only says to be there is read back from the file itself. */
export interface GrowingHash {
  /** The first `availableBytes` bytes of the file are there and will not change. */
  advance(availableBytes: number): void;
  /** Its next bytes, from memory, where they must not change until this answers; in their order, and behind all that `advance` told. */
  update(bytes: SharedArrayBuffer, length: number): Promise<unknown>;
  /** Hashes up to `totalBytes` and answers; `sizeBytes` is smaller if the file is. */
  finish(totalBytes: number): Promise<FileDigest>;
  /** Ends the work; harmless after `finish`. */
  cancel(): void;
}

/** Bytes that are hashed while they pass through memory. */
export interface ByteHash {
  readonly update: Update;
  finish(): Promise<FileDigest>;
  /** Ends the work; harmless after `finish`. */
  cancel(): void;
}

/** Starts hashing `path`, which must exist. Callers bound how many files they hash at once; each one costs a file descriptor. */
export function startHash(path: string, onProgress?: (bytesDone: number) => void): GrowingHash {
  const { id, thread, update, digest, cancel } = openJob(path, onProgress);
  thread.worker.postMessage({ type: 'start', id, path, availableBytes: 0, finishing: false });
  return {
    advance: (availableBytes) => {
      thread.worker.postMessage({ type: 'advance', id, availableBytes });
    },
    update: (bytes, length) => update(bytes, length, false),
    finish: (totalBytes) => {
      thread.worker.postMessage({ type: 'finish', id, availableBytes: totalBytes });
      return digest;
    },
    cancel,
  };
}

/** Starts hashing bytes that the caller hands over in shared memory. `what` names them in messages. */
export function startByteHash(what: string): ByteHash {
  const { id, thread, update, digest, cancel } = openJob(what, undefined);
  thread.worker.postMessage({ type: 'start-bytes', id });
  return {
    update,
    finish: () => {
      thread.worker.postMessage({ type: 'finish-bytes', id });
      return digest;
    },
    cancel,
  };
}

export interface SmallFile {
  /** The thread's from now on: they are moved, not copied. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly sha256: string;
  /** Where it lies until it is whole and synced; removed first. */
  readonly part: string;
  readonly path: string;
  readonly mode: number;
}

/** Stores a file if its bytes are what they should be; answers what they are. The name is durable only after `syncFolder`. */
export async function storeSmallFile(file: SmallFile): Promise<FileDigest> {
  const failureOf = ({ message, ...more }: ThreadError): Error => Object.assign(new Error(message), more);
  const { id, thread, digest } = openJob(file.path, undefined, failureOf);
  thread.worker.postMessage({ type: 'store', id, ...file }, [file.bytes.buffer]);
  return digest;
}

/** Reads a small file into memory; answers what its bytes are. Errors: `NotFound`, `Unavailable`. */
export async function loadSmallFile(path: string, bytes: SharedArrayBuffer): Promise<FileDigest> {
  const { id, thread, digest } = openJob(path, undefined);
  thread.worker.postMessage({ type: 'load', id, path, bytes });
  return digest;
}
