/** Reads what an activity failed of: the type of the contract where one was thrown, else the kind of time-out. */
import { ActivityFailure, ApplicationFailure, ChildWorkflowFailure, TimeoutFailure } from '@temporalio/workflow';

/** Types that are not in the contract's table, since no activity throws them: Temporal reports them. */
export type ObservedFailure = 'Silent' | 'NotPickedUp' | 'TimedOut' | 'Unknown';

export interface FailureFacts {
  /** A failure type of the contract or an `ObservedFailure`. */
  readonly type: string;
  readonly message: string;
  /** How far a trainer had come when it failed, or when it was last heard of. */
  readonly iteration?: number;
  /** When the cause was there, or the trainer was last heard of: epoch milliseconds by its host's clock. */
  readonly since?: number;
}

export function failureFacts(error: unknown): FailureFacts {
  if ((error instanceof ActivityFailure || error instanceof ChildWorkflowFailure) && error.cause !== undefined)
    return failureFacts(error.cause);
  if (error instanceof TimeoutFailure)
    return { type: timeoutType(error), message: timeoutMessage(error), ...factsIn(error.lastHeartbeatDetails) };
  if (error instanceof ApplicationFailure)
    return { type: error.type ?? 'Unknown', message: error.message, ...factsIn(error.details?.[0]) };
  return { type: 'Unknown', message: error instanceof Error ? error.message : String(error) };
}

/** What ends a run or a retrain: the first sentence that a person sees must be the root, not "Child Workflow execution failed". */
export function asRoot(error: unknown): ApplicationFailure {
  if (error instanceof ApplicationFailure) return error;
  const { type, message } = failureFacts(error);
  const cause = error instanceof Error ? { cause: error } : {};
  return ApplicationFailure.create({ message, type, nonRetryable: true, ...cause });
}

function factsIn(details: unknown): Pick<FailureFacts, 'iteration' | 'since'> {
  const { iteration, at } = (details ?? {}) as { readonly iteration?: unknown; readonly at?: unknown };
  return {
    ...(typeof iteration === 'number' ? { iteration } : {}),
    ...(typeof at === 'number' ? { since: at } : {}),
  };
}

function timeoutType(error: TimeoutFailure): ObservedFailure {
  switch (error.timeoutType) {
    case 'HEARTBEAT':
      return 'Silent';
    case 'SCHEDULE_TO_START':
      return 'NotPickedUp';
    default:
      return 'TimedOut';
  }
}

function timeoutMessage(error: TimeoutFailure): string {
  switch (error.timeoutType) {
    case 'HEARTBEAT':
      return 'The agent has sent no heartbeat within its limit.';
    case 'SCHEDULE_TO_START':
      return 'The agent has not taken the work up within its limit.';
    default:
      return `The activity exceeded its ${error.timeoutType} limit.`;
  }
}
