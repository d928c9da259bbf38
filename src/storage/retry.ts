/** Bounded retries with back-off, which count only attempts that brought nothing: a line that breaks often still ends a long transfer. */
import { setTimeout as delay } from 'node:timers/promises';
import { StoreError } from './errors.js';

/** May succeed when asked again. `restart`: what was fetched belongs to another version, or the server cannot go on from there. */
export class RetryableError extends Error {
  readonly retryAfterMs: number;
  readonly restart: boolean;

  constructor(
    message: string,
    options: { readonly retryAfterMs?: number; readonly restart?: boolean; readonly cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.retryAfterMs = options.retryAfterMs ?? 0;
    this.restart = options.restart ?? false;
  }
}

export interface RetryOptions {
  readonly what: string;
  /** Attempts in a row without a new byte before giving up. */
  readonly attempts: number;
  /** Wait after the first failure; doubles with each attempt in a row that brought nothing. */
  readonly firstDelayMs: number;
  readonly signal: AbortSignal | undefined;
  /** Bytes that are safe now; more than ever before counts as progress. */
  readonly bytesDone: () => number;
  readonly onFailure?: (error: RetryableError) => Promise<void>;
}

const maxDelayMs = 30_000;
/** A server that gives a byte per connection makes progress for ever; this ends it. */
const maxAttempts = 500;

/** Runs `action` until it succeeds. Only a RetryableError is tried again. Error: `Unavailable` with the last reason. */
export async function withRetries<T>(action: () => Promise<T>, options: RetryOptions): Promise<T> {
  let most = options.bytesDone();
  let idleAttempts = 0;
  for (let attempt = 1; ; attempt++) {
    try {
      return await action();
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof RetryableError)) throw error;
      const bytesDone = options.bytesDone();
      idleAttempts = bytesDone > most ? 0 : idleAttempts + 1;
      most = Math.max(most, bytesDone);
      await options.onFailure?.(error);
      if (idleAttempts >= options.attempts || attempt >= maxAttempts) {
        const count =
          idleAttempts >= options.attempts ? `${idleAttempts} attempts without a new byte` : `${attempt} attempts`;
        throw new StoreError('Unavailable', `Gave up on ${options.what} after ${count}: ${error.message}.`, error);
      }
      const backOffMs = Math.min(options.firstDelayMs * 2 ** Math.max(idleAttempts - 1, 0), maxDelayMs);
      await delay(Math.max(backOffMs, error.retryAfterMs), undefined, { signal: options.signal }).catch(
        () => undefined,
      );
      options.signal?.throwIfAborted();
    }
  }
}
