/** The loss record as an activity: when a training has ended, what its generations have measured becomes one object. */
import type { ControlActivities } from '../../contract/activities.js';
import { writeMetrics } from '../../records/metrics.js';
import { orFail } from '../fail.js';
import { reporting } from '../progress.js';
import type { ControlDeps } from './deps.js';

export function createRecordMetrics({ store }: ControlDeps): ControlActivities['recordMetrics'] {
  return ({ runId }) =>
    orFail(() => reporting('control', async ({ signal }) => (await writeMetrics(store, runId, signal)) ?? null));
}
