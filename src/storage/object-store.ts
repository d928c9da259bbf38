/**
 * The seam to where bytes are kept. It asks only for what S3 with `If-None-Match: *` and a local folder can both do: an object is
 * created once, whole or not at all, and never changed. `test/conformance/object-store.suite.ts` says the same as tests.
 */
import type { Readable } from 'node:stream';
import type { FileDigest } from './hash-pool.js';

export interface Progress {
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

/** An abort rejects with the signal's reason; what was transferred stays for the next attempt where a function says so. */
export interface TransferOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** A transfer of one file always knows what it must bring. `sha256` in lower-case hex. */
export type FileTransferOptions = FileDigest & TransferOptions;

export interface ObjectInfo {
  readonly key: string;
  readonly sizeBytes: number;
}

export interface ObjectHead {
  readonly sizeBytes: number;
  /** Only where the store keeps it beside the object; it says what was stored, not what the bytes are now. */
  readonly sha256?: string;
}

/** `created` by this call, `same` it existed with exactly these bytes, `different` it existed with others and is untouched. */
export type CreateOutcome = 'created' | 'same' | 'different';

/** All methods reject with StoreError: `KeyInvalid` for a key that breaks the rules of keys.ts, `Unavailable` if later may help. */
export interface ObjectStore {
  readonly url: string;
  /** Files that are best moved at once: enough to fill a disk or a line, few enough to bound the memory. */
  readonly parallelFiles: number;

  /** Creates a small object, once for all time: of any number of racing writers exactly one gets `created`. Durable on return. */
  create(
    key: string,
    body: Uint8Array | string,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<CreateOutcome>;

  /** A small object whole, or undefined. */
  read(key: string): Promise<Buffer | undefined>;

  head(key: string): Promise<ObjectHead | undefined>;

  /** Reads the stored bytes and hashes them, off the main thread: what the object *is*, or undefined. */
  digest(key: string, options?: TransferOptions): Promise<FileDigest | undefined>;

  /** Objects whose key begins with `prefix` (any text, not only folders), in UTF-8 byte order of their keys. */
  list(prefix: string): AsyncIterable<ObjectInfo>;

  /**
   * Creates an object from a file, once. `same` if it was there with this content (its bytes are read to know it).
   * Errors: `Conflict` other bytes are there, `DigestMismatch` the file is not what was promised; then nothing is visible.
   */
  putFile(key: string, path: string, options: FileTransferOptions): Promise<'created' | 'same'>;

  /**
   * Brings an object to `path`: into `<path>.part`, verified, synced, then renamed. A `.part` that is there is gone on with. A file
   * already at `path` with this digest is success. Errors: `NotFound`, `DigestMismatch` (the `.part` is removed).
   */
  getFile(key: string, path: string, options: FileTransferOptions): Promise<void>;

  /** The bytes from `start` (default 0) up to, not including, `end` (default: all). Error: `NotFound`. */
  openRead(key: string, range?: { readonly start?: number; readonly end?: number }): Promise<Readable>;

  /** Removes an object if it is there. Nothing that a manifest or fact still names may be deleted. */
  delete(key: string): Promise<void>;
}
