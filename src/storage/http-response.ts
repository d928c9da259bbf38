/** One HTTP request for bytes of a file: redirects under our own rules, stalls noticed, answers sorted into retry and refusal. */
import { StoreError } from './errors.js';
import { RetryableError } from './retry.js';

/** What tells whether the bytes on the server are still the same. Weak ETags are left out: they do not promise equal bytes. */
export interface Validator {
  readonly etag?: string | undefined;
  readonly lastModified?: string | undefined;
}

export interface RequestOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | undefined;
  /** Longest wait for the next byte, and for the headers. */
  readonly idleTimeoutMs: number;
}

export interface OpenResponse {
  readonly response: Response;
  /** The body's chunks; ends the connection when the loop ends early. Errors of the line are RetryableErrors. */
  readonly chunks: () => AsyncGenerator<Uint8Array>;
  /** Gives the connection back without reading on. */
  readonly discard: () => void;
}

const maxRedirects = 5;
/** A server may ask for any wait; longer than this is the business of the activity's own retry. */
const maxRetryAfterMs = 30_000;
/** Asked again, these may be answered otherwise. */
const retryableStatus = new Set([408, 425, 429, 500, 502, 503, 504, 520, 522, 524]);
const redirectStatus = new Set([301, 302, 303, 307, 308]);

/** GET with redirects followed within http(s). 200, 206, 304 and 416 are answers; everything else is an error. */
export async function openHttp(url: URL, options: RequestOptions): Promise<OpenResponse> {
  const idle = new AbortController();
  const signal = options.signal === undefined ? idle.signal : AbortSignal.any([options.signal, idle.signal]);
  const timer = setTimeout(() => {
    idle.abort(new RetryableError(`${url.host} sent nothing for ${options.idleTimeoutMs / 1000} s`));
  }, options.idleTimeoutMs);
  const stop = (): void => {
    clearTimeout(timer);
    idle.abort();
  };
  try {
    const response = await followRedirects(url, options.headers, signal);
    checkStatus(url, response);
    return { response, discard: stop, chunks: () => readChunks(response, timer, stop, options.signal, idle.signal) };
  } catch (error) {
    options.signal?.throwIfAborted();
    const cause = lineErrorOf(error, url, idle.signal);
    stop();
    throw cause;
  }
}

async function followRedirects(
  start: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Response> {
  let url = start;
  for (let hop = 0; hop <= maxRedirects; hop++) {
    // `identity`: offsets and digests are of the file, not of a packed form of it.
    const response = await fetch(url, {
      headers: { ...headers, 'accept-encoding': 'identity' },
      redirect: 'manual',
      signal,
    });
    const location = response.headers.get('location');
    if (!redirectStatus.has(response.status) || location === null) return response;
    await response.body?.cancel();
    const next = new URL(location, url);
    const isDowngrade = url.protocol === 'https:' && next.protocol !== 'https:';
    if ((next.protocol !== 'http:' && next.protocol !== 'https:') || isDowngrade) {
      throw new StoreError(
        'KeyInvalid',
        `The source ${start.href} redirects to ${next.href}, which is not followed; give the final address.`,
      );
    }
    url = next;
  }
  throw new StoreError(
    'KeyInvalid',
    `The source ${start.href} redirects more than ${maxRedirects} times; give the final address.`,
  );
}

function checkStatus(url: URL, response: Response): void {
  const { status } = response;
  if (status === 200 || status === 206 || status === 304 || status === 416) return;
  const answer = `${url.href} answered ${status} ${response.statusText}`.trimEnd();
  if (retryableStatus.has(status)) {
    throw new RetryableError(answer, { retryAfterMs: retryAfterMs(response.headers.get('retry-after')) });
  }
  const remedy = status === 401 || status === 403 ? 'check that it may be read without a login' : 'check the address';
  throw new StoreError('NotFound', `The source ${answer}; ${remedy}.`);
}

function retryAfterMs(header: string | null): number {
  if (header === null) return 0;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds * 1000, 0), maxRetryAfterMs) : 0;
}

async function* readChunks(
  response: Response,
  timer: NodeJS.Timeout,
  stop: () => void,
  signal: AbortSignal | undefined,
  idle: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    if (response.body === null) return;
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      timer.refresh();
      yield chunk;
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw lineErrorOf(error, new URL(response.url), idle);
  } finally {
    stop();
  }
}

function lineErrorOf(error: unknown, url: URL, idle: AbortSignal): unknown {
  if (error instanceof StoreError || error instanceof RetryableError) return error;
  const reason: unknown = idle.reason;
  if (reason instanceof RetryableError) return reason;
  // fetch says "fetch failed" or "terminated"; what happened is in its cause.
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return new RetryableError(
    `the line to ${url.host} broke (${cause instanceof Error ? cause.message : String(cause)})`,
    { cause: error },
  );
}

export function validatorOf(response: Response): Validator {
  const etag = response.headers.get('etag');
  const lastModified = response.headers.get('last-modified');
  return {
    ...(etag !== null && !etag.startsWith('W/') ? { etag } : {}),
    ...(lastModified !== null ? { lastModified } : {}),
  };
}

/** The header that makes a server answer with the whole file when it has changed; undefined if nothing could tell. */
export function ifRangeOf(validator: Validator): string | undefined {
  return validator.etag ?? validator.lastModified;
}

/** `Content-Range: bytes 5-9/100` as numbers, `start` inclusive; undefined if it is absent, of unknown total or malformed. */
export function contentRangeOf(response: Response): { readonly start: number; readonly sizeBytes: number } | undefined {
  const match = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get('content-range') ?? '');
  return match === null ? undefined : { start: Number(match[1]), sizeBytes: Number(match[2]) };
}
