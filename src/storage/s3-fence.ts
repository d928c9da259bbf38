/** Whether a store can carry fences: of two writers of one name, does the server itself refuse the second? */
import { randomUUID } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { StoreError } from './errors.js';
import { reservedSegment } from './keys.js';
import { targetOf } from './s3-client.js';
import type { S3Place } from './s3-client.js';
import { isTaken, isUnknownCondition } from './s3-errors.js';

/**
 * Creates an object of its own twice, in one piece and in parts, and expects 412 for the second of each. Error: `CannotFence` if the
 * server lets one of them through, as servers do that do not know the condition.
 */
export async function proveFence(place: S3Place): Promise<void> {
  const target = targetOf(place, `${reservedSegment}/fence-${randomUUID()}`);
  const put = (): Promise<unknown> =>
    place.client.send(new PutObjectCommand({ ...target, Body: 'probe', IfNoneMatch: '*' }));
  try {
    if ((await outcomeOf(put())) !== 'created') throw cannotFence(place, 'a new object is refused');
    if ((await outcomeOf(put())) !== 'refused') throw cannotFence(place, 'a second creation of an object replaces it');
    if ((await outcomeOf(putInParts(place, target))) !== 'refused')
      throw cannotFence(place, 'a second creation in parts replaces the object');
  } finally {
    await place.client.send(new DeleteObjectCommand(target));
  }
}

async function outcomeOf(creation: Promise<unknown>): Promise<'created' | 'refused' | 'unknown'> {
  try {
    await creation;
    return 'created';
  } catch (error) {
    if (isTaken(error)) return 'refused';
    if (isUnknownCondition(error)) return 'unknown';
    throw error;
  }
}

async function putInParts(
  { client }: S3Place,
  target: { readonly Bucket: string; readonly Key: string },
): Promise<void> {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(target));
  const upload = { ...target, UploadId };
  try {
    const { ETag } = await client.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: 'probe' }));
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
    await client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload, IfNoneMatch: '*' }));
  } catch (error) {
    // Whatever becomes of it, what it was to show is known.
    await client.send(new AbortMultipartUploadCommand(upload)).catch(() => undefined);
    throw error;
  }
}

function cannotFence({ url }: S3Place, what: string): StoreError {
  return new StoreError(
    'CannotFence',
    `The store ${url} cannot fence: its server does not honour "If-None-Match: *" (${what}), so a writer that was given up could still ` +
      'change what a run reads. Use a server that honours it, or set "fencing: weak" and read in docs/operations.md what is lost.',
  );
}
