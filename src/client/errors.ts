/** Errors of the SDK; each message is a whole sentence with its remedy, each class one thing that a caller may want to catch. */
import type { Refusal } from '../spec/refusal.js';
import { showRefusals } from '../spec/refusal.js';

/** No Temporal server was named, or the one that was named does not answer. */
export class ServerUnreachableError extends Error {
  override readonly name = 'ServerUnreachableError';
}

/** No run has this id. */
export class RunNotFoundError extends Error {
  override readonly name = 'RunNotFoundError';
}

/** No host of this name has registered with the cluster. */
export class HostNotFoundError extends Error {
  override readonly name = 'HostNotFoundError';
}

/** The run cannot do what was asked of it: it has ended, or is in that state already. */
export class RequestRefusedError extends Error {
  override readonly name = 'RequestRefusedError';
}

/** The key already names a run of another spec. */
export class KeyConflictError extends Error {
  override readonly name = 'KeyConflictError';
}

/** The spec cannot work; nothing was started. */
export class SpecRefusedError extends Error {
  override readonly name = 'SpecRefusedError';
  readonly refusals: readonly Refusal[];
  constructor(what: string, refusals: readonly Refusal[]) {
    super(showRefusals(what, refusals));
    this.refusals = refusals;
  }
}

/** The times, the name or the policies of a schedule cannot be used; nothing was created. */
export class ScheduleRefusedError extends Error {
  override readonly name = 'ScheduleRefusedError';
}

/** A schedule of this name is there already. */
export class ScheduleExistsError extends Error {
  override readonly name = 'ScheduleExistsError';
}

/** No schedule has this name. */
export class ScheduleNotFoundError extends Error {
  override readonly name = 'ScheduleNotFoundError';
}

/** No model of this name was ever promoted. */
export class ModelNotFoundError extends Error {
  override readonly name = 'ModelNotFoundError';
}

/** What was to be promoted by hand is not there, or is current already. */
export class ChoiceRefusedError extends Error {
  override readonly name = 'ChoiceRefusedError';
}

/** The Temporal server has something else under a name of ours. */
export class ClusterRefusedError extends Error {
  override readonly name = 'ClusterRefusedError';
}

/** The run ended without a result. `failure` is a type of the failure table, or how Temporal ended it. */
export class RunFailedError extends Error {
  override readonly name = 'RunFailedError';
  readonly failure: string;
  constructor(failure: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.failure = failure;
  }
}

/** What was asked for lies in the store, and nobody has said where that is. */
export class StoreUnknownError extends Error {
  override readonly name = 'StoreUnknownError';
}
