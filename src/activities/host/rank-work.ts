/** What one attempt at a node's training works with; launch, observation and judgement share it. */
import type { Backend } from '../../backends/backend.js';
import type { TrainProgress, TrainRankInput } from '../../contract/activities.js';
import type { Plan } from '../../plan/plan.js';
import type { HostDeps } from './deps.js';
import type { ShippedLog } from './log-shipper.js';
import type { SaveShipper } from './save-shipper.js';
import type { TrainerLog } from './trainer-log.js';

export interface RankWork {
  readonly deps: HostDeps;
  readonly input: TrainRankInput;
  readonly plan: Plan;
  readonly backend: Backend;
  readonly dir: string;
  /** This attempt found the trainer running. */
  readonly isAdopted: boolean;
  readonly log: TrainerLog;
  readonly shipper: SaveShipper;
  /** Of the trainer's launcher; left out when it had ended before this attempt. */
  readonly pid: number | undefined;
  /** What goes to the store while the trainer writes it; ended with the observation. */
  readonly logs: readonly Pick<ShippedLog, 'stop'>[];
}

/** What the reporting node knows of its trainer's progress; the others know nothing of it. */
export function measured({ log }: RankWork): Pick<TrainProgress, 'loss' | 'secondsPerIteration' | 'newIterationAt'> {
  const { loss, secondsPerIteration, newIterationAt } = log;
  return {
    ...(loss === undefined ? {} : { loss }),
    ...(secondsPerIteration === undefined ? {} : { secondsPerIteration }),
    ...(newIterationAt === undefined ? {} : { newIterationAt }),
  };
}
