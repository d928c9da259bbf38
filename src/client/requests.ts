/** Asks something of a run that goes: its workflow accepts it, or refuses it with a sentence. */
import { hostname, userInfo } from 'node:os';
import { type Client, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure, WorkflowNotFoundError } from '@temporalio/common';
import { type Asked, type RunRequest, type UPDATES } from '../contract/messages.js';
import { runWorkflowId } from '../contract/names.js';
import { RequestRefusedError, ServerUnreachableError } from './errors.js';
import { isNobodyToAsk } from './grpc.js';
import { describeRun } from './look.js';

export interface RequestOptions {
  /** Who asks, for those who see it (default: user and machine of this process). */
  readonly by?: string;
  readonly why?: string;
}

/** A workflow answers as soon as a control worker has it; replaying a long history first takes seconds. */
const LIMIT_MS = 20_000;

export async function askOfRun(
  client: Client,
  runId: string,
  update: (typeof UPDATES)['stopRun' | 'pauseRun' | 'resumeRun'],
  { by = thisUser(), why = 'by hand' }: RequestOptions,
): Promise<Asked> {
  // Also says that there is no such run, which an update would not tell from one that has ended.
  const { status } = await describeRun(client, runId);
  if (status.name !== 'RUNNING') throw ended(runId, status.name);
  const run = client.workflow.getHandle(runWorkflowId(runId));
  try {
    return await client.withDeadline(Date.now() + LIMIT_MS, () =>
      run.executeUpdate<Asked, [RunRequest]>(update, { args: [{ by, why }] }),
    );
  } catch (error) {
    const cause = error instanceof WorkflowUpdateFailedError ? error.cause : undefined;
    if (cause instanceof ApplicationFailure && cause.type === 'RequestRefused')
      throw new RequestRefusedError(cause.message, { cause: error });
    if (error instanceof WorkflowNotFoundError) throw ended(runId, (await describeRun(client, runId)).status.name);
    if (isNobodyToAsk(error))
      throw new ServerUnreachableError(
        `Temporal is there, but no control worker answers for the run "${runId}". Start one with "anneal worker", or wait for "anneal dev", then ask again.`,
        { cause: error },
      );
    throw error;
  }
}

function ended(runId: string, status: string): RequestRefusedError {
  return new RequestRefusedError(
    `The run "${runId}" has ended (${status.toLowerCase()}), so nothing can be asked of it. "anneal report ${runId}" says how it ended.`,
  );
}

function thisUser(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    // A user id without a name, as in some containers.
    return hostname();
  }
}
