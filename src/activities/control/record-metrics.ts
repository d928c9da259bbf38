/** The records of a training that has ended, as an activity: what its generations have measured, and what happened to them. */
import type { ControlActivities } from '../../contract/activities.js';
import { writeIncidents } from '../../records/incidents.js';
import { writeMetrics } from '../../records/metrics.js';
import { orFail } from '../fail.js';
import { reporting } from '../progress.js';
import type { ControlDeps } from './deps.js';

export function createRecordMetrics({ store }: ControlDeps): ControlActivities['recordMetrics'] {
  return ({ runId }) =>
    orFail(() =>
      reporting('control', async ({ signal }) => {
        await writeIncidents(store, runId);
        return (await writeMetrics(store, runId, signal)) ?? null;
      }),
    );
}
