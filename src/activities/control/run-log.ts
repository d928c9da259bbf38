/** The run's log as activities: the workflow gives each fact its number and its body, so a second writer changes nothing. */
import type { ControlActivities } from '../../contract/activities.js';
import type { RunFact } from '../../plan/run-log.js';
import { appendFact, readFacts } from '../../storage/facts.js';
import { runLogPrefix } from '../../contract/store-keys.js';
import { orFail } from '../fail.js';
import type { ControlDeps } from './deps.js';

export function createRunLog({ store }: ControlDeps): Pick<ControlActivities, 'readRunLog' | 'appendRunFact'> {
  return {
    readRunLog: ({ runId }) =>
      orFail(async () => (await readFacts(store, runLogPrefix(runId))).map(({ body }) => body as RunFact)),
    appendRunFact: ({ runId, number, fact }) =>
      orFail(async () => {
        await appendFact(store, runLogPrefix(runId), number, fact);
      }),
  };
}
