/** Digests: of files (off the main thread), of bytes, and of plain JSON values by their one canonical text. */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import pLimit from 'p-limit';
import { StoreError, isErrno, storeErrorOf } from './errors.js';
import { startByteHash, startHash } from './hash-pool.js';
import type { FileDigest } from './hash-pool.js';

export interface HashOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called with the bytes of this file hashed so far. */
  readonly onProgress?: ((bytesDone: number) => void) | undefined;
}

/** Below this size, sending the work to a thread costs more than the work (a few hundred microseconds). */
export const inlineBytes = 256 * 1024;
/** Bounds the file descriptors that hashing holds, whatever its callers do. */
const openFiles = pLimit(16);
/** Deeper values are a mistake (or a circle), not a document. */
const maxDepth = 100;

/** SHA-256 (hex) and size of a file. Errors: `NotFound`, `Unavailable`; an abort rejects with the signal's reason. */
export async function sha256File(path: string, options: HashOptions = {}): Promise<FileDigest> {
  return openFiles(async () => {
    options.signal?.throwIfAborted();
    const sizeBytes = await sizeOf(path);
    if (sizeBytes > inlineBytes) return hashInThread(path, options);
    const bytes = await readFile(path).catch((error: unknown) => {
      throw storeErrorOf(error, `read ${path}`);
    });
    options.onProgress?.(bytes.byteLength);
    return { sha256: sha256Hex(bytes), sizeBytes: bytes.byteLength };
  });
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR'))
      throw new StoreError('NotFound', `There is no file ${path} to hash.`, error);
    throw storeErrorOf(error, `read ${path}`);
  }
}

async function hashInThread(path: string, { signal, onProgress }: HashOptions): Promise<FileDigest> {
  const hash = startHash(path, onProgress);
  const stop = (): void => {
    hash.cancel();
  };
  signal?.addEventListener('abort', stop);
  try {
    return await hash.finish(Infinity);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

/** SHA-256 (hex) of the first bytes of shared memory; of many off the main thread. `what` names them in messages. */
export async function sha256Shared(bytes: SharedArrayBuffer, length: number, what: string): Promise<string> {
  if (length <= inlineBytes) return sha256Hex(new Uint8Array(bytes, 0, length));
  const hash = startByteHash(what);
  await hash.update(bytes, length, false);
  return (await hash.finish()).sha256;
}

export function sha256Hex(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** SHA-256 (hex) of a value's canonical JSON. */
export function digestOf(value: unknown): string {
  return sha256Hex(canonicalJson(value));
}

/**
 * The one text of a plain JSON value: keys sorted, no spaces, fields that are `undefined` left out. Throws a TypeError for what JSON
 * would change in silence (NaN, Infinity, Date, Map, undefined in a list): two different values must never share a digest.
 */
export function canonicalJson(value: unknown): string {
  return textOf(value, '$', 0);
}

function textOf(value: unknown, path: string, depth: number): string {
  if (depth > maxDepth) throw new TypeError(`The value at ${path} is nested deeper than ${maxDepth} levels.`);
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  if (Array.isArray(value)) {
    return `[${value.map((item, index) => textOf(item, `${path}[${index}]`, depth + 1)).join(',')}]`;
  }
  if (isPlainObject(value)) {
    const fields = Object.keys(value)
      .filter((key) => value[key] !== undefined)
      .sort()
      .map((key) => `${JSON.stringify(key)}:${textOf(value[key], `${path}.${key}`, depth + 1)}`);
    return `{${fields.join(',')}}`;
  }
  const what =
    typeof value === 'object' ? value.constructor.name : typeof value === 'number' ? String(value) : typeof value;
  throw new TypeError(
    `The value at ${path} is ${what}, which JSON cannot hold; use plain objects, lists, strings and finite numbers.`,
  );
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
