/** What earlier attempts at an upload have left on the server: their parts, with the digests that the server has checked. */
import { ListMultipartUploadsCommand, ListPartsCommand } from '@aws-sdk/client-s3';
import type { MultipartUpload } from '@aws-sdk/client-s3';
import { isNoSuchUpload } from './s3-errors.js';
import { targetOf } from './s3-client.js';
import type { S3Place } from './s3-client.js';

export interface SentPart {
  readonly sizeBytes: number;
  /** SHA-256 as S3 writes it. */
  readonly checksum: string;
  readonly etag: string;
}

export interface Upload {
  readonly uploadId: string;
  /** By the number of the part. */
  readonly sent: ReadonlyMap<number, SentPart>;
}

interface Wanted {
  readonly place: S3Place;
  readonly key: string;
}

/**
 * The newest unfinished upload of a key that has a part; one without tells nothing of what it was begun for. Two attempts that
 * live may share an upload: each names the parts that it completes by their digests, and the first one to complete wins.
 */
export async function findUpload(wanted: Wanted): Promise<Upload | undefined> {
  const newestFirst = [...(await uploadsOf(wanted))].sort((a, b) => timeOf(b) - timeOf(a));
  for (const { UploadId } of newestFirst) {
    if (UploadId === undefined) continue;
    const sent = await partsOf(wanted, UploadId);
    if (sent.size > 0) return { uploadId: UploadId, sent };
  }
  return undefined;
}

async function uploadsOf({ place, key }: Wanted): Promise<readonly MultipartUpload[]> {
  const { Bucket, Key: wanted } = targetOf(place, key);
  const found: MultipartUpload[] = [];
  let marker: { KeyMarker?: string; UploadIdMarker?: string } = {};
  for (;;) {
    const page = await place.client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: wanted, ...marker }));
    found.push(...(page.Uploads ?? []).filter(({ Key }) => Key === wanted));
    if (page.IsTruncated !== true || page.NextKeyMarker === undefined) return found;
    marker = {
      KeyMarker: page.NextKeyMarker,
      ...(page.NextUploadIdMarker === undefined ? {} : { UploadIdMarker: page.NextUploadIdMarker }),
    };
  }
}

async function partsOf({ place, key }: Wanted, uploadId: string): Promise<ReadonlyMap<number, SentPart>> {
  const sent = new Map<number, SentPart>();
  const target = { ...targetOf(place, key), UploadId: uploadId };
  let marker: { PartNumberMarker?: string } = {};
  try {
    for (;;) {
      const page = await place.client.send(new ListPartsCommand({ ...target, ...marker }));
      for (const { PartNumber, Size, ChecksumSHA256, ETag } of page.Parts ?? []) {
        // Without a digest nothing is known of its bytes: it is sent again, over it.
        if (PartNumber === undefined || Size === undefined || ChecksumSHA256 === undefined) continue;
        sent.set(PartNumber, { sizeBytes: Size, checksum: ChecksumSHA256, etag: ETag ?? '' });
      }
      if (page.IsTruncated !== true || page.NextPartNumberMarker === undefined) return sent;
      marker = { PartNumberMarker: page.NextPartNumberMarker };
    }
  } catch (error) {
    // Completed or ended since it was listed.
    if (isNoSuchUpload(error)) return new Map();
    throw error;
  }
}

function timeOf({ Initiated }: MultipartUpload): number {
  return Initiated?.getTime() ?? 0;
}
