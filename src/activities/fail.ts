/** Turns what went wrong below Temporal into a failure of the contract's table. Cancellation passes through untouched. */
import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import { FAILURES, type FailureType } from '../contract/failures.js';
import { isStoreError, type StoreErrorCode } from '../storage/errors.js';

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
};

/** Runs the body of an activity; a store's error becomes the table's failure, all else is as it was thrown. */
export async function orFail<Result>(body: () => Promise<Result>): Promise<Result> {
  try {
    return await body();
  } catch (error) {
    if (error instanceof ApplicationFailure || error instanceof CancelledFailure) throw error;
    if (isStoreError(error)) throw failure(STORE_FAILURES[error.code], error.message, undefined, error);
    throw error;
  }
}
