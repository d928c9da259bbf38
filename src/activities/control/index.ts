/** All activities of the control worker, made from what they stand on. */
import type { ControlActivities } from '../../contract/activities.js';
import type { ControlDeps } from './deps.js';
import { createDeleteDropped } from './delete-dropped.js';
import { createFindEarlierCommit } from './earlier-commit.js';
import { createLastWords } from './gang-words.js';
import { createHosts } from './hosts.js';
import { createOpenRun } from './open-run.js';
import { createChoosePromotion } from './choose-promotion.js';
import { createPromote } from './promote.js';
import { createRecordMetrics } from './record-metrics.js';
import { createResumePoints } from './resume-points.js';
import { createRetrains } from './retrains.js';
import { createRunLog } from './run-log.js';
import { createTellRun } from './tell-run.js';
import { createWatchSaves } from './watch-saves.js';

export function createControlActivities(deps: ControlDeps): ControlActivities {
  return {
    openRun: createOpenRun(deps),
    promote: createPromote(deps),
    recordMetrics: createRecordMetrics(deps),
    choosePromotion: createChoosePromotion(deps),
    watchSaves: createWatchSaves(deps),
    findEarlierCommit: createFindEarlierCommit(deps),
    deleteDropped: createDeleteDropped(deps),
    ...createHosts(deps),
    ...createLastWords(deps),
    ...createResumePoints(deps),
    ...createRetrains(deps),
    ...createRunLog(deps),
    ...createTellRun(deps),
  };
}
