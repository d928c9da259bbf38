/** Reads an object in parallel ranges and gives its bytes in order, in bounded memory. */
import { GetObjectCommand } from '@aws-sdk/client-s3';
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { StoreError } from './errors.js';
import { partBytes, targetOf } from './s3-client.js';
import type { S3Place } from './s3-client.js';
import { isMissing, statusOf } from './s3-errors.js';

/** Requests under way for one object; a second object gets the rest of the buffers. */
const rangesAtOnce = 4;
const attemptsAtRange = 3;

/** Bytes of an object, valid until the next ones are asked for. */
export interface Piece {
  readonly bytes: SharedArrayBuffer;
  readonly length: number;
  /** Of the whole object. */
  readonly objectBytes: number;
}

/**
 * The object's bytes from `start` up to, not including, `end` (or its own end, if that comes first; at least one piece, maybe empty).
 * Error: `NotFound`.
 */
export async function* piecesOf(
  place: S3Place,
  key: string,
  { start, end, signal }: { readonly start: number; readonly end: number; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<Piece> {
  const stop = new AbortController();
  const linked = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const ahead: Promise<Piece>[] = [];
  let next = start;
  let last = end;
  const readOn = (): void => {
    // Without an end the first range tells it.
    const most = Number.isFinite(last) ? rangesAtOnce : 1;
    while (ahead.length < most && next < last) {
      const from = next;
      next = Math.min(from + partBytes, last);
      const piece = readRange(place, key, from, next, linked);
      // It is awaited in its turn; until then nobody else hears of its failure.
      piece.catch(() => undefined);
      ahead.push(piece);
    }
  };
  try {
    for (;;) {
      readOn();
      if (ahead[0] === undefined) return;
      const piece = await ahead[0];
      last = Math.min(last, piece.objectBytes);
      yield piece;
      void ahead.shift();
      place.pool.give(piece.bytes);
    }
  } finally {
    stop.abort(new Error('The rest of the object is not needed.'));
    // Each gives its buffer back as soon as it can: another one may be waiting for it.
    const give = async (piece: Promise<Piece>): Promise<void> => {
      place.pool.give((await piece).bytes);
    };
    await Promise.allSettled(ahead.map(give));
  }
}

async function readRange(place: S3Place, key: string, from: number, to: number, signal: AbortSignal): Promise<Piece> {
  const bytes = await place.pool.take(to - from);
  try {
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      try {
        return await fillRange(place, key, from, bytes, signal);
      } catch (error) {
        // The SDK tries a request again, but not an answer that breaks off.
        if (attempt === attemptsAtRange || !isBrokenOff(error)) throw error;
      }
    }
  } catch (error) {
    place.pool.give(bytes);
    throw error;
  }
}

async function fillRange(
  place: S3Place,
  key: string,
  from: number,
  bytes: SharedArrayBuffer,
  signal: AbortSignal,
): Promise<Piece> {
  const answer = await getRange(place, key, from, from + bytes.byteLength, signal);
  if (answer === undefined) return { bytes, length: 0, objectBytes: from };
  const length = await readInto(Buffer.from(bytes), answer.Body as Readable);
  const objectBytes = sizeOf(answer, length);
  if (length !== Math.min(bytes.byteLength, objectBytes - from)) throw wrongLength(place, key);
  return { bytes, length, objectBytes };
}

/** Answers how many bytes came, also if they are more than there is room for. By events: iterating costs a promise for every 64 KiB. */
async function readInto(target: Buffer, body: Readable): Promise<number> {
  let length = 0;
  body.on('data', (chunk: Buffer) => {
    if (length + chunk.byteLength <= target.byteLength) target.set(chunk, length);
    length += chunk.byteLength;
  });
  await finished(body, { writable: false });
  return length;
}

/** Undefined if the object ends before the range. */
async function getRange(
  place: S3Place,
  key: string,
  from: number,
  to: number,
  abortSignal: AbortSignal,
): Promise<GetObjectCommandOutput | undefined> {
  const request = { ...targetOf(place, key), Range: `bytes=${from}-${to - 1}` };
  try {
    return await place.client.send(new GetObjectCommand(request), { abortSignal });
  } catch (error) {
    if (statusOf(error) === 416) return undefined;
    if (isMissing(error))
      throw new StoreError('NotFound', `There is no object ${JSON.stringify(key)} in ${place.url}.`);
    throw error;
  }
}

/** A StoreError says something of the object; an answer with a status says something of the request. */
function isBrokenOff(error: unknown): boolean {
  return error instanceof Error && !(error instanceof StoreError) && statusOf(error) === undefined && 'code' in error;
}

function sizeOf({ ContentRange, ContentLength }: GetObjectCommandOutput, length: number): number {
  const total = /\/(\d+)$/.exec(ContentRange ?? '')?.[1];
  return total === undefined ? (ContentLength ?? length) : Number(total);
}

function wrongLength({ url }: S3Place, key: string): StoreError {
  const what = `The object ${JSON.stringify(key)} in ${url}`;
  return new StoreError('Unavailable', `${what} came with another length than the server had announced; try again.`);
}
