/** The retrains that a schedule has started, from Temporal's visibility store. */
import type { Client } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import type { SearchAttributeName } from '../contract/names.js';

export interface RetrainListing {
  readonly workflowId: string;
  /** `running`, `promoted`, `rejected`, `superseded`, `skipped: unchanged`, `failed`, `stopped`, or how Temporal ended it. */
  readonly outcome: string;
  /** The run that it started; empty when it started none. */
  readonly runId: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly endedAt: string | null;
}

export async function listRetrains(
  client: Client,
  scheduleId: string,
  limit: number,
): Promise<readonly RetrainListing[]> {
  const query = `TemporalScheduledById = '${scheduleId.replaceAll("'", "''")}'`;
  const found: RetrainListing[] = [];
  for await (const info of client.workflow.list({ query, pageSize: limit })) {
    const text = (name: SearchAttributeName): string =>
      info.typedSearchAttributes.get(defineSearchAttributeKey(name, 'KEYWORD')) ?? '';
    found.push({
      workflowId: info.workflowId,
      outcome: text('AnnealOutcome') || info.status.name.toLowerCase(),
      runId: text('AnnealRun'),
      startedAt: info.startTime.toISOString(),
      endedAt: info.closeTime?.toISOString() ?? null,
    });
    if (found.length >= limit) break;
  }
  return found.sort((a, b) => (a.startedAt < b.startedAt ? 1 : -1));
}
