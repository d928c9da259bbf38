/** Reads an object in parallel ranges and gives its bytes in order, in bounded memory. */
import { GetObjectCommand } from '@aws-sdk/client-s3';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { StoreError } from './errors.js';
import { abortedBy, partBytes, targetOf } from './s3-client.js';
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

/** The bytes of an object that is as long as the target. Error: `NotFound`. Answers how many bytes the object has. */
export async function readAtOnce(
  place: S3Place,
  key: string,
  target: Buffer,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { objectBytes } = await withAttempts(signal, () => fillRange(place, key, 0, target, signal));
  return objectBytes;
}

async function readRange(place: S3Place, key: string, from: number, to: number, signal: AbortSignal): Promise<Piece> {
  const bytes = await place.pool.take(to - from);
  const target = Buffer.from(bytes, 0, to - from);
  try {
    return { bytes, ...(await withAttempts(signal, () => fillRange(place, key, from, target, signal))) };
  } catch (error) {
    place.pool.give(bytes);
    throw error;
  }
}

/** The SDK tries a request again, but not an answer that breaks off. */
async function withAttempts<T>(signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted();
    try {
      return await action();
    } catch (error) {
      if (attempt === attemptsAtRange || !isBrokenOff(error)) throw error;
    }
  }
}

async function fillRange(
  place: S3Place,
  key: string,
  from: number,
  target: Buffer,
  signal: AbortSignal | undefined,
): Promise<Omit<Piece, 'bytes'>> {
  const answer = await getRange(place, key, from, target, signal);
  if (answer === undefined) return { length: 0, objectBytes: from };
  const objectBytes = sizeOf(answer);
  if (answer.length !== Math.min(target.byteLength, objectBytes - from)) throw wrongLength(place, key);
  return { length: answer.length, objectBytes };
}

/** Answers how many bytes came, also if they are more than there is room for. By events: iterating costs a promise for every 64 KiB. */
async function drainInto(target: Buffer, body: Readable): Promise<number> {
  let length = 0;
  body.on('data', (chunk: Buffer) => {
    if (length + chunk.byteLength <= target.byteLength) target.set(chunk, length);
    length += chunk.byteLength;
  });
  await finished(body, { writable: false });
  return length;
}

interface RangeAnswer {
  readonly contentRange: string | undefined;
  /** Of the body, which lies in the target as far as there is room. */
  readonly length: number;
}

/** Fills the target from an object's offset on. Undefined if the object ends before. */
async function getRange(
  place: S3Place,
  key: string,
  from: number,
  target: Buffer,
  signal: AbortSignal | undefined,
): Promise<RangeAnswer | undefined> {
  const { Key } = targetOf(place, key);
  const direct = await place.direct.get(Key, { from, target, signal });
  if (direct !== undefined) return { contentRange: direct.headers['content-range'], length: direct.length };
  const Range = `bytes=${from}-${from + target.byteLength - 1}`;
  const command = new GetObjectCommand({ ...targetOf(place, key), Range });
  try {
    const answer = await place.client.send(place.direct.learnFrom(command, Key), abortedBy(signal));
    return { contentRange: answer.ContentRange, length: await drainInto(target, answer.Body as Readable) };
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

function sizeOf({ contentRange, length }: RangeAnswer): number {
  const total = /\/(\d+)$/.exec(contentRange ?? '')?.[1];
  return total === undefined ? length : Number(total);
}

function wrongLength({ url }: S3Place, key: string): StoreError {
  const what = `The object ${JSON.stringify(key)} in ${url}`;
  return new StoreError('Unavailable', `${what} came with another length than the server had announced; try again.`);
}
