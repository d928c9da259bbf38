/** What a retry starts from: the input of a run that has ended without a promotion, found in its history. */
import type { Client } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { FineTuneInput, RunResult } from '../contract/messages.js';
import { runWorkflowId } from '../contract/names.js';
import { RequestRefusedError } from './errors.js';
import { describeRun, limited } from './look.js';

/** Throws RunNotFoundError, and RequestRefusedError for a run that goes on or whose result was promoted or overtaken. */
export async function inputToRetry(client: Client, runId: string): Promise<FineTuneInput> {
  const { status } = await describeRun(client, runId);
  if (status.name === 'RUNNING')
    throw new RequestRefusedError(
      `The run "${runId}" goes on, so it cannot be retried. "anneal stop ${runId}" ends it with what it has trained.`,
    );
  const workflowId = runWorkflowId(runId);
  if (status.name === 'COMPLETED') {
    const { outcome } = (await client.workflow.getHandle(workflowId).result()) as RunResult;
    if (outcome !== 'stopped' && outcome !== 'rejected')
      throw new RequestRefusedError(
        `The run "${runId}" has ended as ${outcome}, so there is nothing to retry. "anneal submit SPEC" starts another run.`,
      );
  }
  const { namespace } = client.options;
  const { history } = await limited(client, () =>
    client.workflowService.getWorkflowExecutionHistory({ namespace, execution: { workflowId }, maximumPageSize: 1 }),
  );
  const payload = history?.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0];
  if (!payload)
    throw new RequestRefusedError(`The history of the run "${runId}" does not say what it was started with.`);
  return defaultPayloadConverter.fromPayload<FineTuneInput>(payload);
}

/** `digits` is retried as `digits-r2`, that as `digits-r3`: asking twice for the same retry is one run. */
export function retryId(runId: string): string {
  const [, stem = runId, count = '1'] = /^(.*)-r(\d+)$/.exec(runId) ?? [];
  return `${stem}-r${String(Number(count) + 1)}`;
}
