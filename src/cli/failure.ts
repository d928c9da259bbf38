/** From any error to what the user reads and to the exit code. */
import { CommandError, EXIT_CODES, type ExitName } from './exit-codes.js';

/** By name, because the SDK is loaded only by the commands that need it. */
const exitOfError: Readonly<Record<string, ExitName>> = {
  ServerUnreachableError: 'noServer',
  RunNotFoundError: 'notFound',
  HostNotFoundError: 'notFound',
  SpecRefusedError: 'refused',
  KeyConflictError: 'refused',
  RequestRefusedError: 'refused',
  ScheduleNotFoundError: 'notFound',
  ModelNotFoundError: 'notFound',
  ScheduleRefusedError: 'refused',
  ScheduleExistsError: 'refused',
  ChoiceRefusedError: 'refused',
  ClusterRefusedError: 'refused',
  RunFailedError: 'failed',
  StoreUnknownError: 'notFound',
  AgentRefusedError: 'failed',
};

/** Of a store that can never be used as it is named; others may be back in a moment. */
function exitOfStoreError(error: Error & { readonly code?: string }): ExitName {
  return error.code === 'KeyInvalid' || error.code === 'CannotFence' ? 'refused' : 'failed';
}

export interface Failure {
  readonly code: number;
  readonly text: string;
}

/** Errors of ours are sentences; for others the stack is what helps, so it is shown. */
export function failureOf(error: unknown): Failure {
  if (error instanceof CommandError) return { code: EXIT_CODES[error.exit].code, text: error.message };
  if (!(error instanceof Error)) return { code: EXIT_CODES.failed.code, text: String(error) };
  const known = error.name === 'StoreError' ? exitOfStoreError(error) : exitOfError[error.name];
  if (known !== undefined) return { code: EXIT_CODES[known].code, text: error.message };
  return { code: EXIT_CODES.failed.code, text: `This is a fault of anneal itself: ${error.stack ?? error.message}` };
}
