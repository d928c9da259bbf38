/** All activities of an agent, by queue, made from what they stand on. */
import type { IoActivities, NpuActivities } from '../../contract/activities.js';
import type { HostDeps } from './deps.js';
import { createSources } from './sources.js';
import { createStageIn } from './stage-in.js';
import { createStages } from './stages.js';
import { createTrainRank } from './train-rank.js';

export function createHostActivities(deps: HostDeps): { readonly io: IoActivities; readonly npu: NpuActivities } {
  const { evaluateModel, ...stages } = createStages(deps);
  return {
    io: { ...createSources(deps), ...createStageIn(deps), ...stages },
    npu: { trainRank: createTrainRank(deps), evaluateModel },
  };
}
