/**
 * The object store on S3. An object appears by a request with `If-None-Match: *`: the server lets exactly one of any number of writers
 * win, and an upload in parts is not visible before it is complete.
 */
import { Readable } from 'node:stream';
import { DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { StoreError, isStoreError, storeErrorOf } from './errors.js';
import type { FileDigest } from './hash-pool.js';
import { sha256Hex } from './hashing.js';
import { checkKey, checkPrefix, isKey } from './keys.js';
import { digestMismatch, sameOrConflict } from './mismatch.js';
import type {
  CreateOutcome,
  FileTransferOptions,
  ObjectHead,
  ObjectInfo,
  ObjectStore,
  TransferOptions,
} from './object-store.js';
import { openS3, targetOf } from './s3-client.js';
import type { S3Place } from './s3-client.js';
import { piecesOf, readAtOnce } from './s3-download.js';
import { isMissing, statusOf, storeErrorOfS3 } from './s3-errors.js';
import { proveFence } from './s3-fence.js';
import { digestObject, headObject, readObject } from './s3-objects.js';
import { sendBytes, sendFile } from './s3-send.js';
import type { S3Settings } from './store-settings.js';
import { receiveFile } from './transfer.js';

export class S3Store implements ObjectStore {
  readonly url: string;
  /** Requests cost time, not a disk's head: more at once than in a folder. The memory is bounded by the buffers. */
  readonly parallelFiles = 16;
  readonly #place: S3Place;
  #proof: Promise<void> | undefined;

  /** Asks nothing yet; the first write proves that the store can carry fences. */
  constructor(settings: S3Settings) {
    this.#place = openS3(settings);
    this.url = this.#place.url;
  }

  /** Asks the server once. Errors: `CannotFence`, `Unavailable`. */
  async prove(): Promise<void> {
    if (!this.#place.isStrict) return;
    this.#proof ??= this.#act(`write to ${this.url}`, undefined, () => proveFence(this.#place)).catch(
      (error: unknown) => {
        this.#proof = undefined;
        throw error;
      },
    );
    await this.#proof;
  }

  async create(
    key: string,
    body: Uint8Array | string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<CreateOutcome> {
    checkKey(key);
    await this.prove();
    return this.#act(`create ${this.#name(key)}`, options.signal, async () => {
      const bytes = Buffer.from(body);
      if (await sendBytes(this.#place, key, bytes, sha256Hex(bytes), options.signal)) return 'created';
      const existing = await readObject(this.#place, key);
      if (existing === undefined)
        throw new StoreError('Unavailable', `The ${this.#name(key)} was deleted while it was created; try again.`);
      return existing.equals(bytes) ? 'same' : 'different';
    });
  }

  async read(key: string): Promise<Buffer | undefined> {
    checkKey(key);
    return this.#act(`read ${this.#name(key)}`, undefined, () => readObject(this.#place, key));
  }

  async head(key: string): Promise<ObjectHead | undefined> {
    checkKey(key);
    return this.#act(`look at ${this.#name(key)}`, undefined, () => headObject(this.#place, key));
  }

  async digest(key: string, options: TransferOptions = {}): Promise<FileDigest | undefined> {
    checkKey(key);
    return this.#act(`hash ${this.#name(key)}`, options.signal, async () => {
      try {
        return await digestObject(this.#place, key, options);
      } catch (error) {
        if (isStoreError(error, 'NotFound')) return undefined;
        throw error;
      }
    });
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    checkPrefix(prefix);
    const { client, ...place } = this.#place;
    const request = { Bucket: place.bucket, Prefix: `${place.prefix}${prefix}` };
    for (let token: string | undefined, isLast = false; !isLast;) {
      const page = await this.#act(`list ${JSON.stringify(prefix)} in ${this.url}`, undefined, () =>
        client.send(new ListObjectsV2Command({ ...request, ContinuationToken: token })),
      );
      for (const { Key = '', Size = 0 } of page.Contents ?? []) {
        const key = Key.slice(place.prefix.length);
        // What no writer of ours makes is not ours: the folders of a console, our own probes.
        if (isKey(key)) yield { key, sizeBytes: Size };
      }
      token = page.NextContinuationToken;
      isLast = page.IsTruncated !== true || token === undefined;
    }
  }

  async putFile(key: string, path: string, options: FileTransferOptions): Promise<'created' | 'same'> {
    checkKey(key);
    await this.prove();
    return this.#act(`store ${path} as ${this.#name(key)}`, options.signal, async () => {
      if (await sendFile(this.#place, key, path, options)) return 'created';
      return sameOrConflict(this.#name(key), path, await this.digest(key, options), options);
    });
  }

  async getFile(key: string, path: string, options: FileTransferOptions): Promise<void> {
    checkKey(key);
    const what = this.#name(key);
    await this.#act(`bring ${what} to ${path}`, options.signal, () =>
      receiveFile(
        {
          what,
          path,
          openAt: (start) => this.#expected(key, start, options),
          readAtOnce: () => this.#expectedAtOnce(key, options),
        },
        options,
      ),
    );
  }

  async openRead(key: string, range: { readonly start?: number; readonly end?: number } = {}): Promise<Readable> {
    checkKey(key);
    const { start = 0, end } = range;
    return this.#act(`read ${this.#name(key)}`, undefined, async () => {
      const Range = `bytes=${start}-${end === undefined ? '' : end - 1}`;
      try {
        const answer = await this.#place.client.send(
          new GetObjectCommand({
            ...targetOf(this.#place, key),
            ...(start === 0 && end === undefined ? {} : { Range }),
          }),
        );
        return answer.Body as Readable;
      } catch (error) {
        if (statusOf(error) === 416) return Readable.from([]);
        if (isMissing(error)) throw new StoreError('NotFound', `There is no ${this.#name(key)}.`);
        throw error;
      }
    });
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    await this.#act(`delete ${this.#name(key)}`, undefined, async () => {
      await this.#place.client.send(new DeleteObjectCommand(targetOf(this.#place, key))).catch((error: unknown) => {
        if (!isMissing(error)) throw error;
      });
    });
  }

  /** The object's bytes from `start` on, as long as it has the size that is expected. */
  async *#expected(key: string, start: number, options: FileTransferOptions): AsyncGenerator<Uint8Array> {
    // Of an empty object a first byte is asked for, which it must not have.
    const end = Math.max(options.sizeBytes, 1);
    for await (const piece of piecesOf(this.#place, key, { start, end, signal: options.signal })) {
      if (piece.objectBytes !== options.sizeBytes)
        throw digestMismatch(this.#name(key), options, { sizeBytes: piece.objectBytes, sha256: '' });
      yield Buffer.from(piece.bytes, 0, piece.length);
    }
  }

  async #expectedAtOnce(key: string, options: FileTransferOptions): Promise<Uint8Array<ArrayBuffer>> {
    // As above.
    const bytes = new Uint8Array(Math.max(options.sizeBytes, 1));
    const sizeBytes = await readAtOnce(this.#place, key, Buffer.from(bytes.buffer), options.signal);
    if (sizeBytes === options.sizeBytes) return bytes.subarray(0, sizeBytes);
    throw digestMismatch(this.#name(key), options, { sizeBytes, sha256: '' });
  }

  #name(key: string): string {
    return `object ${JSON.stringify(key)} in ${this.url}`;
  }

  async #act<T>(tried: string, signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
    try {
      signal?.throwIfAborted();
      return await action();
    } catch (error) {
      signal?.throwIfAborted();
      throw storeErrorOf(storeErrorOfS3(error, tried), tried);
    }
  }
}
