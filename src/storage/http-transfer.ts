/** The attempts at one file over HTTP: large ones in parallel ranges, cut ones from where they stopped, changed ones from their beginning. */
import { StoreError } from './errors.js';
import type { FileDigest } from './hash-pool.js';
import { contentRangeOf, ifRangeOf, openHttp, validatorOf } from './http-response.js';
import type { OpenResponse, Validator } from './http-response.js';
import { runParallel } from './parallel.js';
import type { PartFile, PartState, Piece } from './part-file.js';
import { RetryableError, withRetries } from './retry.js';

export interface HttpSource {
  readonly url: string;
  readonly sha256?: string | undefined;
  readonly sizeBytes?: number | undefined;
}

export interface HttpFileOptions {
  readonly signal: AbortSignal | undefined;
  readonly onProgress: (bytesDone: number) => void;
  readonly onSize: (sizeBytes: number) => void;
  readonly attempts: number;
  readonly firstDelayMs: number;
  readonly idleTimeoutMs: number;
  /** Files of at least this size come in `pieces` ranges at once. */
  readonly parallelFromBytes: number;
  readonly pieces: number;
}

export class HttpTransfer {
  hasResumed = false;
  validator: Validator = {};
  readonly #url: URL;
  readonly #source: HttpSource;
  readonly #part: PartFile;
  readonly #options: HttpFileOptions;
  #parallel: number;

  constructor(source: HttpSource, part: PartFile, options: HttpFileOptions) {
    this.#url = new URL(source.url);
    this.#source = source;
    this.#part = part;
    this.#options = options;
    this.#parallel = options.pieces;
  }

  async run(): Promise<void> {
    const { attempts, firstDelayMs, signal } = this.#options;
    await withRetries(() => this.#attempt(), {
      what: this.#source.url,
      attempts,
      firstDelayMs,
      signal,
      bytesDone: () => this.#part.bytesDone,
      onFailure: async ({ restart }) => {
        // A server that limits its connections is asked for fewer at once.
        this.#parallel = Math.max(1, Math.floor(this.#parallel / 2));
        if (restart) await this.#part.begin(undefined);
      },
    });
  }

  async #attempt(): Promise<void> {
    const { state } = this.#part;
    if (state === undefined) return this.#begin();
    this.hasResumed ||= this.#part.bytesDone > 0;
    this.validator = state.validator;
    this.#options.onSize(state.sizeBytes);
    const open = state.pieces.filter((piece) => piece.start + piece.done < piece.end);
    await runParallel(open, this.#parallel, this.#options.signal, (piece, signal) =>
      this.#fetchPiece(state, piece, signal),
    );
  }

  /** The first request asks for everything as a range: its answer tells size, validator and whether ranges work, and is the first piece. */
  async #begin(): Promise<void> {
    const { signal, onSize } = this.#options;
    let opened = await this.#open({ range: 'bytes=0-' }, signal);
    // An empty file has no range, and some servers refuse an open one.
    if (
      opened.response.status === 416 ||
      (opened.response.status === 206 && contentRangeOf(opened.response)?.start !== 0)
    ) {
      opened.discard();
      opened = await this.#open({}, signal);
    }
    if (opened.response.status !== 200 && contentRangeOf(opened.response)?.start !== 0) {
      opened.discard();
      throw new RetryableError(`${this.#source.url} gave status ${opened.response.status} without the file`);
    }
    this.validator = validatorOf(opened.response);
    const sizeBytes = sizeOf(opened.response);
    if (sizeBytes !== undefined) onSize(sizeBytes);
    if (sizeBytes !== undefined && sizeBytes !== (this.#source.sizeBytes ?? sizeBytes)) {
      opened.discard();
      throw wrongFile(this.#source, { sizeBytes, sha256: 'unknown' });
    }
    const state = sizeBytes === undefined ? undefined : this.#stateFor(opened.response, sizeBytes);
    await this.#part.begin(state);
    if (state === undefined) return this.#takeWhole(opened, sizeBytes);
    try {
      await runParallel(state.pieces, this.#parallel, signal, (piece, linked) => {
        if (piece.start > 0) return this.#fetchPiece(state, piece, linked);
        return this.#take(opened, piece, linked);
      });
    } finally {
      opened.discard();
    }
  }

  /** Undefined if a later attempt could not go on: no ranges, or nothing that would tell that the file has changed. */
  #stateFor(response: Response, sizeBytes: number): PartState | undefined {
    const hasRanges = response.status === 206 || response.headers.get('accept-ranges') === 'bytes';
    const isProvable = ifRangeOf(this.validator) !== undefined || this.#source.sha256 !== undefined;
    if (!hasRanges || !isProvable || sizeBytes === 0) return undefined;
    const count = sizeBytes >= this.#options.parallelFromBytes ? this.#options.pieces : 1;
    const edge = (index: number): number => Math.floor((sizeBytes * index) / count);
    const pieces = Array.from({ length: count }, (_, index) => ({ start: edge(index), end: edge(index + 1), done: 0 }));
    return { url: this.#source.url, validator: this.validator, sizeBytes, pieces };
  }

  async #fetchPiece(state: PartState, piece: Piece, signal: AbortSignal): Promise<void> {
    const start = piece.start + piece.done;
    const ifRange = ifRangeOf(state.validator);
    const headers = {
      range: `bytes=${start}-${piece.end - 1}`,
      ...(ifRange === undefined ? {} : { 'if-range': ifRange }),
    };
    const opened = await this.#open(headers, signal);
    const range = contentRangeOf(opened.response);
    const { etag } = validatorOf(opened.response);
    const isSameFile = state.validator.etag === undefined || etag === undefined || etag === state.validator.etag;
    if (
      opened.response.status !== 206 ||
      range?.start !== start ||
      range.sizeBytes !== state.sizeBytes ||
      !isSameFile
    ) {
      opened.discard();
      throw new RetryableError(`${this.#source.url} has changed, or its server has stopped giving ranges`, {
        restart: true,
      });
    }
    await this.#take(opened, piece, signal);
  }

  async #take(opened: OpenResponse, piece: Piece, signal: AbortSignal): Promise<void> {
    for await (const chunk of opened.chunks()) {
      signal.throwIfAborted();
      const position = piece.start + piece.done;
      const bytes = chunk.subarray(0, piece.end - position);
      await this.#part.write(bytes, position);
      piece.done += bytes.byteLength;
      this.#options.onProgress(this.#part.bytesDone);
      await this.#part.noteSometimes();
      if (position + bytes.byteLength >= piece.end) return;
    }
    throw new RetryableError(`${this.#source.url} ended ${piece.end - piece.start - piece.done} bytes too early`);
  }

  async #takeWhole(opened: OpenResponse, sizeBytes: number | undefined): Promise<void> {
    let position = 0;
    for await (const chunk of opened.chunks()) {
      await this.#part.write(chunk, position);
      position += chunk.byteLength;
      this.#options.onProgress(position);
    }
    if (position === (sizeBytes ?? position)) return;
    throw new RetryableError(`${this.#source.url} gave ${position} of ${String(sizeBytes)} bytes`);
  }

  #open(headers: Readonly<Record<string, string>>, signal: AbortSignal | undefined): Promise<OpenResponse> {
    return openHttp(this.#url, { headers, signal, idleTimeoutMs: this.#options.idleTimeoutMs });
  }
}

/** Size of the whole file in bytes, if the answer tells it truthfully (a packed body has another length than its header says). */
function sizeOf(response: Response): number | undefined {
  if (response.headers.has('content-encoding')) return undefined;
  if (response.status === 206) return contentRangeOf(response)?.sizeBytes;
  const length = response.headers.get('content-length');
  return length === null ? undefined : Number(length);
}

/** Is this file not what the source was said to be? */
export function isWrong(source: HttpSource, found: FileDigest): boolean {
  return found.sha256 !== (source.sha256 ?? found.sha256) || found.sizeBytes !== (source.sizeBytes ?? found.sizeBytes);
}

export function wrongFile(source: HttpSource, found: FileDigest): StoreError {
  const got = `${found.sizeBytes} bytes with the SHA-256 ${found.sha256}`;
  const expected = [
    ...(source.sizeBytes === undefined ? [] : [`${source.sizeBytes} bytes`]),
    ...(source.sha256 === undefined ? [] : [`the SHA-256 ${source.sha256}`]),
  ].join(' and ');
  return new StoreError(
    'DigestMismatch',
    `The source ${source.url} has ${got}, but ${expected} was expected; its bytes are not used.`,
  );
}
