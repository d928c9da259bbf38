/**
 * A large file in parts: read once, in order, into reused memory; hashed there, off the main thread; sent in parallel. What an
 * earlier attempt has sent is on the server, and a part of it that has the digest of ours is not sent again.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { CompletedPart } from '@aws-sdk/client-s3';
import type { FileHandle } from 'node:fs/promises';
import pLimit from 'p-limit';
import { StoreError } from './errors.js';
import { startByteHash } from './hash-pool.js';
import type { ByteHash } from './hash-pool.js';
import { digestMismatch, matches } from './mismatch.js';
import type { FileTransferOptions } from './object-store.js';
import { runParallel } from './parallel.js';
import { abortedBy, base64OfHex, conditionOf, partBytes, signedFor, targetOf } from './s3-client.js';
import type { S3Place } from './s3-client.js';
import { isMissing, isNoSuchUpload, isTaken } from './s3-errors.js';
import { findUpload } from './s3-unfinished.js';
import type { SentPart, Upload } from './s3-unfinished.js';

/** Parts of one file under way; a second file gets the rest of the buffers. */
const partsAtOnce = 4;
const maxParts = 10_000;

export interface UploadTask {
  readonly place: S3Place;
  readonly key: string;
  /** The file, for messages. */
  readonly path: string;
  readonly handle: FileHandle;
  readonly options: FileTransferOptions;
}

/** Parts of a file of this size; the same for every attempt, since what was sent is known by its number. */
export function partBytesOf(sizeBytes: number): number {
  return Math.max(partBytes, Math.ceil(sizeBytes / maxParts));
}

/** True if the object is now this file, false if one was there. Errors: `DigestMismatch`; what was sent is kept on all others. */
export async function uploadInParts(task: UploadTask): Promise<boolean> {
  const earlier = await findUpload(task);
  if (earlier === undefined) return sendAndComplete(task, await begin(task));
  try {
    const isMine = await sendAndComplete(task, earlier);
    if (isMine) await checkLabel(task);
    return isMine;
  } catch (error) {
    if (!(error instanceof OtherFileError)) throw error;
    await abortUpload(task, earlier);
    return sendAndComplete(task, await begin(task));
  }
}

/** An upload that an earlier attempt has begun has parts of another file. */
class OtherFileError extends Error {}

async function sendAndComplete(task: UploadTask, upload: Upload): Promise<boolean> {
  const { path, options } = task;
  const hash = startByteHash(path);
  try {
    const parts = await sendParts(task, upload, hash);
    const found = await hash.finish();
    if (!matches(found, options)) {
      await abortUpload(task, upload);
      throw digestMismatch(`file ${path}`, options, found);
    }
    return await complete(task, upload, parts);
  } finally {
    hash.cancel();
  }
}

async function sendParts(task: UploadTask, upload: Upload, hash: ByteHash): Promise<readonly CompletedPart[]> {
  const { sizeBytes, signal, onProgress } = task.options;
  const sizeOfPart = partBytesOf(sizeBytes);
  const numbers = Array.from({ length: Math.ceil(sizeBytes / sizeOfPart) }, (_, index) => index + 1);
  // One at a time and in order, for the digest of the whole.
  const inOrder = pLimit(1);
  let bytesDone = 0;
  return runParallel(numbers, partsAtOnce, signal, async (number, linked) => {
    const start = (number - 1) * sizeOfPart;
    const length = Math.min(sizeOfPart, sizeBytes - start);
    const { bytes, sha256 } = await inOrder(() => readPart(task, hash, start, length, linked));
    try {
      const sent = upload.sent.get(number);
      const isSent = sent?.sizeBytes === length && sent.checksum === base64OfHex(sha256);
      if (sent !== undefined && !isSent) throw new OtherFileError();
      const part = sent ?? (await sendPart(task, upload, number, Buffer.from(bytes, 0, length), sha256, linked));
      bytesDone += length;
      onProgress?.({ bytesDone, bytesTotal: sizeBytes });
      return { PartNumber: number, ETag: part.etag, ChecksumSHA256: part.checksum };
    } finally {
      task.place.pool.give(bytes);
    }
  });
}

async function readPart(
  { place, handle, path }: UploadTask,
  hash: ByteHash,
  start: number,
  length: number,
  signal: AbortSignal,
): Promise<{ readonly bytes: SharedArrayBuffer; readonly sha256: string }> {
  const bytes = await place.pool.take(length);
  try {
    signal.throwIfAborted();
    await readAllAt(handle, path, Buffer.from(bytes, 0, length), start);
    return { bytes, sha256: await hash.update(bytes, length, true) };
  } catch (error) {
    place.pool.give(bytes);
    throw error;
  }
}

/** Fills the target. Error: `DigestMismatch` for a file that has become shorter. */
export async function readAllAt(handle: FileHandle, path: string, target: Buffer, start: number): Promise<void> {
  for (let done = 0; done < target.byteLength;) {
    const { bytesRead } = await handle.read(target, done, target.byteLength - done, start + done);
    if (bytesRead === 0)
      throw new StoreError(
        'DigestMismatch',
        `The file ${path} has become shorter while it was read; it is not stored.`,
      );
    done += bytesRead;
  }
}

async function sendPart(
  { place, key }: UploadTask,
  { uploadId }: Upload,
  number: number,
  body: Buffer,
  sha256: string,
  abortSignal: AbortSignal,
): Promise<SentPart> {
  const checksum = base64OfHex(sha256);
  const target = { ...targetOf(place, key), UploadId: uploadId, PartNumber: number };
  const command = new UploadPartCommand({ ...target, Body: body, ChecksumSHA256: checksum });
  const { ETag } = await place.client.send(signedFor(command, sha256), { abortSignal });
  return { sizeBytes: body.byteLength, checksum, etag: ETag ?? '' };
}

async function begin({ place, key, options }: UploadTask): Promise<Upload> {
  const { UploadId } = await place.client.send(
    new CreateMultipartUploadCommand({
      ...targetOf(place, key),
      ChecksumAlgorithm: 'SHA256',
      Metadata: { sha256: options.sha256 },
    }),
    abortedBy(options.signal),
  );
  return { uploadId: UploadId ?? '', sent: new Map() };
}

async function complete(task: UploadTask, upload: Upload, parts: readonly CompletedPart[]): Promise<boolean> {
  const { place, key, options } = task;
  const target = { ...targetOf(place, key), UploadId: upload.uploadId };
  try {
    await place.client.send(
      new CompleteMultipartUploadCommand({ ...target, ...conditionOf(place), MultipartUpload: { Parts: [...parts] } }),
      abortedBy(options.signal),
    );
    return true;
  } catch (error) {
    // It is complete already: an answer was lost, or another attempt was faster. What is there will be read.
    if (isNoSuchUpload(error)) return false;
    if (!isTaken(error)) throw error;
    await abortUpload(task, upload);
    return false;
  }
}

/**
 * The object's `sha256` was given when its upload was begun. An upload for another file whose parts so far were those of ours leaves a
 * wrong one: the bytes are right, and the next attempt finds them the same, but the label must not be believed silently.
 */
async function checkLabel({ place, key, path, options }: UploadTask): Promise<void> {
  const { Metadata } = await place.client.send(new HeadObjectCommand(targetOf(place, key)));
  if (Metadata?.['sha256'] === options.sha256) return;
  const message = `The object ${JSON.stringify(key)} was begun for another file than ${path} and says so; delete it, and store it again.`;
  throw new StoreError('Conflict', message);
}

async function abortUpload({ place, key }: UploadTask, { uploadId }: Upload): Promise<void> {
  try {
    await place.client.send(new AbortMultipartUploadCommand({ ...targetOf(place, key), UploadId: uploadId }));
  } catch (error) {
    if (!isNoSuchUpload(error) && !isMissing(error)) throw error;
  }
}
