/** Looks whether a run that retries another one can go on from its last commit. */
import type { ControlActivities } from '../../contract/activities.js';
import { findEarlierCommit } from '../../records/earlier-commit.js';
import { orFail } from '../fail.js';
import { readPlan } from '../run-documents.js';
import type { ControlDeps } from './deps.js';

export function createFindEarlierCommit({ store }: ControlDeps): ControlActivities['findEarlierCommit'] {
  return ({ runId, earlierRunId, stageKey }) =>
    orFail(async () => findEarlierCommit(store, earlierRunId, { stageKey, plan: await readPlan(store, runId) }));
}
