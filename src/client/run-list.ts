/** The list of runs, from Temporal's visibility store: seconds behind the truth, but of all runs at once. */
import type { Client, WorkflowExecutionInfo } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import { WORKFLOW_TYPES } from '../contract/messages.js';
import { runWorkflowId, type SearchAttributeName } from '../contract/names.js';

export interface RunListing {
  readonly runId: string;
  readonly name: string;
  readonly model: string;
  /** `running`, `paused`, what the run recorded as its outcome, or how Temporal ended it, in lower case. */
  readonly status: string;
  readonly stage: string;
  readonly iteration: number | null;
  readonly hosts: readonly string[];
  /** Equal for runs of the same spec; empty for one that was not started by this SDK. */
  readonly specDigest: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly endedAt: string | null;
}

/** The list is for a person; who needs more narrows it in the Temporal UI. */
const DEFAULT_LIMIT = 100;

export async function listRuns(
  client: Client,
  cluster: string,
  { limit = DEFAULT_LIMIT }: { readonly limit?: number },
): Promise<readonly RunListing[]> {
  const query = `WorkflowType = '${WORKFLOW_TYPES.fineTune}' AND AnnealCluster = '${cluster.replaceAll("'", "''")}'`;
  const runs: RunListing[] = [];
  for await (const info of client.workflow.list({ query, pageSize: Math.min(limit, 100) })) {
    runs.push(toListing(info));
    if (runs.length >= limit) break;
  }
  return runs.sort((a, b) => (a.startedAt < b.startedAt ? 1 : -1));
}

function toListing(info: WorkflowExecutionInfo): RunListing {
  const text = (name: SearchAttributeName): string =>
    info.typedSearchAttributes.get(defineSearchAttributeKey(name, 'KEYWORD')) ?? '';
  const outcome = text('AnnealOutcome');
  const status = info.status.name.toLowerCase();
  return {
    runId: text('AnnealRun') || info.workflowId.slice(runWorkflowId('').length),
    name: text('AnnealName'),
    model: text('AnnealModel'),
    status: (status === 'completed' && outcome !== '') || outcome === 'paused' ? outcome : status,
    stage: text('AnnealStage'),
    iteration: info.typedSearchAttributes.get(defineSearchAttributeKey('AnnealIteration', 'INT')) ?? null,
    hosts: info.typedSearchAttributes.get(defineSearchAttributeKey('AnnealHosts', 'KEYWORD_LIST')) ?? [],
    specDigest: typeof info.memo?.['specDigest'] === 'string' ? info.memo['specDigest'] : '',
    startedAt: info.startTime.toISOString(),
    endedAt: info.closeTime?.toISOString() ?? null,
  };
}
