/** How often a run should save, with every number that went into the answer, and what is missing for one. */
import { lostShare, saveInterval, type SaveInterval } from '../../plan/save-interval.js';
import type { Job } from '../mindspeed/job.js';
import { ASSUMED, type Given, sourced, type Sourced } from './given.js';

export interface Saving {
  readonly inputs: Readonly<Partial<Record<SavingInput, Sourced>>>;
  /** What must be given before an interval can be named. */
  readonly missing: readonly SavingInput[];
  readonly best?: SaveInterval & { readonly lostShare: number; readonly lostShareAsPlanned: number };
}
const SAVING_INPUTS = ['iterationSeconds', 'saveSeconds', 'restartSeconds', 'hostMtbfDays'] as const;
type SavingInput = (typeof SAVING_INPUTS)[number];

const SECONDS_A_DAY = 86_400;

export function savingOf(job: Job, given: Given): Saving {
  const found = {
    iterationSeconds: sourced(given, 'iterationSeconds') ?? publishedIteration(job),
    saveSeconds: sourced(given, 'saveSeconds'),
    restartSeconds: sourced(given, 'restartSeconds') ?? ASSUMED.restartSeconds,
    hostMtbfDays: sourced(given, 'hostMtbfDays') ?? ASSUMED.hostMtbfDays,
  };
  const { iterationSeconds, saveSeconds, restartSeconds, hostMtbfDays } = found;
  const inputs = {
    ...(iterationSeconds === undefined ? {} : { iterationSeconds }),
    ...(saveSeconds === undefined ? {} : { saveSeconds }),
    restartSeconds,
    hostMtbfDays,
  };
  if (iterationSeconds === undefined || saveSeconds === undefined)
    return { inputs, missing: SAVING_INPUTS.filter((name) => found[name] === undefined) };
  const question = {
    hosts: job.layout.hosts,
    iterationSeconds: iterationSeconds.value,
    saveSeconds: saveSeconds.value,
    restartSeconds: restartSeconds.value,
    hostMtbfSeconds: hostMtbfDays.value * SECONDS_A_DAY,
  };
  const best = saveInterval(question);
  return {
    inputs,
    missing: [],
    best: {
      ...best,
      lostShare: lostShare(question, best.iterations * question.iterationSeconds),
      lostShareAsPlanned: lostShare(question, job.spec.checkpoint.everyIterations * question.iterationSeconds),
    },
  };
}

/** On one Atlas 800T A2 with 8 NPUs: the table of MindSpeed MM 2.2.0's README. */
function publishedIteration({ spec, model, layout }: Job): Sourced | undefined {
  const { samplesPerSecond } = model.published;
  if (samplesPerSecond === undefined) return undefined;
  return {
    value: (spec.training.globalBatchSize * 8) / (samplesPerSecond * layout.worldSize),
    source: `published: MindSpeed MM's ${String(samplesPerSecond)} samples/s on 8 NPUs, scaled by NPUs`,
  };
}
