/** What a run has measured at each iteration: its own loss record, or the name of the run whose training it has reused. */
import type { Client } from '@temporalio/client';
import { readMetrics, type LossRecord } from '../records/metrics.js';
import type { ObjectStore } from '../storage/object-store.js';
import { lookAt } from './look.js';

export interface RunMetrics extends LossRecord {
  /** The run that has trained, where this one has found its training ready and so has measured nothing itself. */
  readonly trainedBy?: string;
}

export async function metricsOf(client: Client, store: ObjectStore, runId: string): Promise<RunMetrics> {
  const record = await readMetrics(store, runId);
  if (record.rows.length > 0) return record;
  const { snapshot } = await lookAt(client, runId);
  const train = snapshot?.state.stages.find(({ stage }) => stage === 'train');
  return train?.status === 'reused' && train.madeBy !== undefined ? { ...record, trainedBy: train.madeBy } : record;
}
