/** Turns what went wrong below Temporal into a failure of the contract's table. Cancellation passes through untouched. */
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { FAILURES, type FailureType } from '../plan/failures.js';
import { isErrno, isStoreError, type StoreErrorCode } from '../storage/errors.js';

/** A failure of the table; whether the server may retry it stands there and nowhere else. */
export function failure(type: FailureType, message: string, details?: unknown, cause?: unknown): ApplicationFailure {
  return ApplicationFailure.create({
    type,
    message,
    nonRetryable: !FAILURES[type].retryable,
    ...(details === undefined ? {} : { details: [details] }),
    ...(cause instanceof Error ? { cause } : {}),
  });
}

const STORE_FAILURES: Readonly<Record<StoreErrorCode, FailureType>> = {
  NotFound: 'ArtifactCorrupt',
  DigestMismatch: 'ArtifactCorrupt',
  Conflict: 'FactConflict',
  Unavailable: 'StoreUnavailable',
  KeyInvalid: 'SpecInvalid',
  // Nothing is wrong with the run: it waits until the operator has put the store right.
  CannotFence: 'StoreUnavailable',
};

/**
 * As `orFail`, for work of a host that the server repeats for as long as a store is away: an error that the table does not know
 * (a full disk, a mistake of ours) must not be repeated so, but comes to the workflow, which counts.
 */
export async function orHostFailure<Result>(host: string, body: () => Promise<Result>): Promise<Result> {
  return orFail(async () => {
    try {
      return await body();
    } catch (error) {
      if (!(error instanceof Error) || error instanceof ApplicationFailure || isStoreError(error)) throw error;
      if (error instanceof CancelledFailure) throw error;
      throw failure(isFull(error) ? 'HostFull' : 'CommandFailed', `Host ${host}: ${error.message}`, undefined, error);
    }
  });
}

const isFull = (error: unknown): error is Error => isErrno(error, 'ENOSPC', 'EDQUOT');

/** Runs the body of an activity; a store's error and a full disk become the table's failures, all else is as it was thrown. */
export async function orFail<Result>(body: () => Promise<Result>): Promise<Result> {
  try {
    return await body();
  } catch (error) {
    if (error instanceof ApplicationFailure || error instanceof CancelledFailure) throw error;
    if (isStoreError(error)) throw failure(STORE_FAILURES[error.code], error.message, undefined, error);
    if (isFull(error)) throw failure('HostFull', `A disk is full: ${error.message}`, undefined, error);
    throw unexpected(error);
  }
}

/** A fault of ours or of the machine that no table foresees: worth a few more tries, never endless ones. */
const UNEXPECTED_ATTEMPTS = 5;

function unexpected(error: unknown): ApplicationFailure {
  const message = error instanceof Error ? error.message : String(error);
  const nonRetryable = Context.current().info.attempt >= UNEXPECTED_ATTEMPTS;
  const cause = error instanceof Error ? { cause: error } : {};
  return ApplicationFailure.create({ type: 'Unexpected', message: `Unexpected: ${message}`, nonRetryable, ...cause });
}
