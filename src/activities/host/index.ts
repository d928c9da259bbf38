/** All activities of an agent, by queue, made from what they stand on. */
import { Context } from '@temporalio/activity';
import type { IoActivities, NpuActivities } from '../../contract/activities.js';
import { orFail } from '../fail.js';
import { reporting } from '../progress.js';
import type { HostDeps } from './deps.js';
import type { HostDoctor } from './host-doctor.js';
import { createProbeTrainer } from './probe-trainer.js';
import { createSources } from './sources.js';
import { createStageIn } from './stage-in.js';
import { createStages } from './stages.js';
import { createTrainRank } from './train-rank.js';
import { HostFence } from './fence.js';
import { createVacateHost } from './vacate-host.js';

export function createHostActivities(
  deps: HostDeps,
  doctor: HostDoctor,
): { readonly io: IoActivities; readonly npu: NpuActivities } {
  const fence = new HostFence(deps.workRoot, deps.facts.name);
  const { evaluateModel, ...stages } = createStages(deps, fence);
  const vacateHost = createVacateHost(deps, fence);
  return {
    io: {
      ...createSources(deps),
      ...createStageIn(deps, fence, doctor),
      ...stages,
      checkHost: () => {
        const { currentAttemptScheduledTimestampMs } = Context.current().info;
        return orFail(() => reporting(deps.facts.name, () => doctor.look(currentAttemptScheduledTimestampMs)));
      },
      probeTrainer: createProbeTrainer(deps),
      vacateHost,
    },
    npu: { trainRank: createTrainRank(deps, fence, doctor), evaluateModel },
  };
}
