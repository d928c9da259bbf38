/** Single requests for single objects: look, read, hash, and create in one piece. */
import { GetObjectCommand, HeadBucketCommand, HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { StoreError } from './errors.js';
import { startByteHash } from './hash-pool.js';
import type { FileDigest } from './hash-pool.js';
import { sha256Hex } from './hashing.js';
import type { ObjectHead, TransferOptions } from './object-store.js';
import { abortedBy, base64OfHex, conditionOf, signedFor, targetOf } from './s3-client.js';
import type { S3Place } from './s3-client.js';
import { piecesOf } from './s3-download.js';
import { isMissing, isTaken } from './s3-errors.js';

/** True if the object is now these bytes, false if one was there and the condition forbids to replace it. */
export async function putObject(
  place: S3Place,
  key: string,
  bytes: Buffer,
  sha256: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const target = targetOf(place, key);
  const checksum = base64OfHex(sha256);
  const headers = {
    ...(place.isStrict ? { 'if-none-match': '*' } : {}),
    'x-amz-checksum-sha256': checksum,
    'x-amz-content-sha256': sha256,
    'x-amz-meta-sha256': sha256,
  };
  const direct = await place.direct.put(target.Key, { body: bytes, headers, signal });
  if (direct !== undefined) return direct === 200;
  const command = new PutObjectCommand({
    ...target,
    ...conditionOf(place),
    Body: bytes,
    ChecksumSHA256: checksum,
    Metadata: { sha256 },
  });
  try {
    await place.client.send(place.direct.learnFrom(signedFor(command, sha256), target.Key), abortedBy(signal));
    return true;
  } catch (error) {
    if (isTaken(error)) return false;
    throw error;
  }
}

export async function headObject(place: S3Place, key: string): Promise<ObjectHead | undefined> {
  try {
    const { ContentLength = 0, Metadata } = await place.client.send(new HeadObjectCommand(targetOf(place, key)));
    const sha256 = Metadata?.['sha256'];
    return { sizeBytes: ContentLength, ...(sha256 === undefined ? {} : { sha256 }) };
  } catch (error) {
    if (!isMissing(error)) throw error;
    // This answer has no words: a bucket that is away says the same, and must not look like an empty store.
    await place.client.send(new HeadBucketCommand({ Bucket: place.bucket })).catch((other: unknown) => {
      if (!isMissing(other)) throw other;
      throw new StoreError(
        'Unavailable',
        `The bucket of ${place.url} is not there. Create it, or correct the settings.`,
      );
    });
    return undefined;
  }
}

/** A small object whole. Error: `DigestMismatch` if it is not what was once stored. */
export async function readObject(place: S3Place, key: string): Promise<Buffer | undefined> {
  let answer: GetObjectCommandOutput;
  try {
    answer = await place.client.send(new GetObjectCommand(targetOf(place, key)));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  const bytes = Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
  const stored = answer.Metadata?.['sha256'];
  if (stored === undefined || stored === sha256Hex(bytes)) return bytes;
  throw new StoreError(
    'DigestMismatch',
    `The object ${JSON.stringify(key)} in ${place.url} is damaged: it no longer has the SHA-256 ${stored} with which it was stored.`,
  );
}

/** What the object is, from its bytes. Error: `NotFound`. */
export async function digestObject(
  place: S3Place,
  key: string,
  { signal, onProgress }: TransferOptions,
): Promise<FileDigest> {
  const hash = startByteHash(`object ${JSON.stringify(key)} in ${place.url}`);
  let bytesDone = 0;
  try {
    for await (const piece of piecesOf(place, key, { start: 0, end: Infinity, signal })) {
      await hash.update(piece.bytes, piece.length, false);
      bytesDone += piece.length;
      onProgress?.({ bytesDone, bytesTotal: piece.objectBytes });
      signal?.throwIfAborted();
    }
    return await hash.finish();
  } finally {
    hash.cancel();
  }
}
