/** Creates an object from bytes or from a file, once: in one piece or in parts, and on a store that cannot fence as carefully as it goes. */
import type { FileHandle } from 'node:fs/promises';
import { openSource } from './disk.js';
import { loadSmallFile } from './hash-pool.js';
import type { FileDigest } from './hash-pool.js';
import { inlineBytes, sha256Shared } from './hashing.js';
import { digestMismatch, matches } from './mismatch.js';
import type { FileTransferOptions } from './object-store.js';
import { partBytes } from './s3-client.js';
import type { S3Place } from './s3-client.js';
import { headObject, putObject } from './s3-objects.js';
import { readAllAt, uploadInParts } from './s3-upload.js';

/** True if the object is now these bytes, false if one was there. */
export async function sendBytes(
  place: S3Place,
  key: string,
  bytes: Buffer,
  sha256: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (!place.isStrict && (await headObject(place, key)) !== undefined) return false;
  return (await putObject(place, key, bytes, sha256, signal)) && isStillMine(place, key, sha256);
}

/** True if the object is now this file, false if one was there. Errors: `NotFound`, `DigestMismatch`; then nothing is visible. */
export async function sendFile(
  place: S3Place,
  key: string,
  path: string,
  options: FileTransferOptions,
): Promise<boolean> {
  if (options.sizeBytes <= inlineBytes) return sendSmall(place, key, path, options);
  const handle = await openSource(path);
  try {
    const { size } = await handle.stat();
    if (size !== options.sizeBytes) throw digestMismatch(`file ${path}`, options, { sizeBytes: size, sha256: '' });
    if (size <= partBytes) return await sendWhole(place, key, path, handle, options);
    // What is there costs a look, not an upload.
    if ((await headObject(place, key)) !== undefined) return false;
    const isMine = await uploadInParts({ place, key, path, handle, options });
    return isMine && (await isStillMine(place, key, options.sha256));
  } finally {
    await handle.close();
  }
}

async function sendSmall(place: S3Place, key: string, path: string, options: FileTransferOptions): Promise<boolean> {
  const { sizeBytes } = options;
  const memory = await place.pool.take(sizeBytes);
  try {
    const found = await loadSmallFile(path, memory);
    return await sendFound(place, key, path, Buffer.from(memory, 0, sizeBytes), found, options);
  } finally {
    place.pool.give(memory);
  }
}

async function sendWhole(
  place: S3Place,
  key: string,
  path: string,
  handle: FileHandle,
  options: FileTransferOptions,
): Promise<boolean> {
  const { sizeBytes } = options;
  const memory = await place.pool.take(sizeBytes);
  try {
    const bytes = Buffer.from(memory, 0, sizeBytes);
    await readAllAt(handle, path, bytes, 0);
    const found = { sizeBytes, sha256: await sha256Shared(memory, sizeBytes, path) };
    return await sendFound(place, key, path, bytes, found, options);
  } finally {
    place.pool.give(memory);
  }
}

async function sendFound(
  place: S3Place,
  key: string,
  path: string,
  bytes: Buffer,
  found: FileDigest,
  options: FileTransferOptions,
): Promise<boolean> {
  const { sizeBytes, signal, onProgress } = options;
  if (!matches(found, options)) throw digestMismatch(`file ${path}`, options, found);
  const isMine = await sendBytes(place, key, bytes, found.sha256, signal);
  if (isMine) onProgress?.({ bytesDone: sizeBytes, bytesTotal: sizeBytes });
  return isMine;
}

/** With weak fencing another writer may have come between the look and the write: the earlier of the two learns it here, mostly. */
async function isStillMine(place: S3Place, key: string, sha256: string): Promise<boolean> {
  return place.isStrict || (await headObject(place, key))?.sha256 === sha256;
}
