/** The run's log as activities: the workflow gives each fact its number and its body, so a second writer changes nothing. */
import type { ControlActivities } from '../../contract/activities.js';
import type { RunFact } from '../../plan/run-log.js';
import { appendFact, readFacts } from '../../storage/facts.js';
import { runLogPrefix } from '../../contract/store-keys.js';
import { orFail } from '../fail.js';
import { reporting } from '../progress.js';
import type { ControlDeps } from './deps.js';
import { takeNews } from './tell-run.js';

export function createRunLog({ store, client }: ControlDeps): Pick<ControlActivities, 'readRunLog' | 'appendRunFacts'> {
  return {
    readRunLog: ({ runId }) =>
      orFail(async () => (await readFacts(store, runLogPrefix(runId))).map(({ body }) => body as RunFact)),
    appendRunFacts: ({ runId, number, facts, news }) =>
      orFail(() =>
        reporting('control', async () => {
          for (const [index, fact] of facts.entries())
            await appendFact(store, runLogPrefix(runId), number + index, fact);
          if (news !== undefined) await takeNews({ client, store }, runId, news);
        }),
      ),
  };
}
