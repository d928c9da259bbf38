/** What must hold inside the model and between model and data, whatever the layout. */
import type { Refusal } from '../spec/refusal.js';
import { TRACKER_FILE } from './mindspeed/checkpoint.js';
import type { Question } from './mindspeed/job.js';

export function checkModel(job: Question): readonly Refusal[] {
  return [
    ...runtimeRules(job),
    ...job.model.rules(job),
    ...positionRules(job),
    ...scheduleRules(job),
    ...startRules(job),
  ];
}

function runtimeRules({ spec, model }: Question): Refusal[] {
  const { family } = spec.model;
  if (model.runtimes.includes(spec.runtime.kind)) return [];
  return [
    {
      path: 'model.family',
      value: family,
      rule: 'must be internvl3 with runtime.kind "cpu", whose trainer knows no other',
      remedy: 'Use an InternVL3 model, or runtime.kind "ascend".',
    },
  ];
}

function positionRules({ spec, model }: Question): Refusal[] {
  const { sequenceLength } = spec.training;
  const { maxPositions } = model.dimensions.language;
  if (sequenceLength <= maxPositions) return [];
  return [
    {
      path: 'training.sequenceLength',
      value: sequenceLength,
      rule: `must be at most ${String(maxPositions)}, the longest sequence of this model`,
      remedy: `Use ${String(maxPositions)} or less.`,
    },
  ];
}

/** Megatron's tracker says which iteration a save folder stands for; the folder of a source is looked at when it is fetched. */
function startRules({ spec: { training } }: Question): Refusal[] {
  const paths = training.initFrom?.files?.map(({ path }) => path);
  if (paths === undefined || paths.includes(TRACKER_FILE)) return [];
  return [
    {
      path: 'training.initFrom.files',
      value: paths,
      rule: `must hold ${TRACKER_FILE}, which names the iteration to begin from`,
      remedy: `Add "- path: ${TRACKER_FILE}", and model_optim_rng.pt of every rank folder of that iteration.`,
    },
  ];
}

/** Committed saves of one training: 36,000 events, with room for the generations. */
const MOST_SAVES = 3_000;

/** A save interval longer than the training would save once, at the end: any lost host would cost all of it. */
function scheduleRules({ spec }: Question): Refusal[] {
  const { everyIterations } = spec.checkpoint;
  const { iterations, warmupIterations } = spec.training;
  const { learningRate, minimumLearningRate } = spec.training;
  const found: Refusal[] = [];
  if (minimumLearningRate > learningRate)
    found.push({
      path: 'training.minimumLearningRate',
      value: minimumLearningRate,
      rule: `must be at most training.learningRate = ${String(learningRate)}`,
      remedy: 'Use a smaller number, or leave it out for 0.',
    });
  if (everyIterations > iterations)
    found.push({
      path: 'checkpoint.everyIterations',
      value: everyIterations,
      rule: `must be at most training.iterations = ${String(iterations)}, else nothing is saved on the way`,
      remedy: `Use ${String(iterations)} or less.`,
    });
  if (Math.ceil(iterations / everyIterations) > MOST_SAVES)
    found.push({
      path: 'checkpoint.everyIterations',
      value: everyIterations,
      rule: `must leave at most ${String(MOST_SAVES)} saves in ${String(iterations)} iterations: each is twelve events in a history that Temporal ends at 51,200`,
      remedy: `Use ${String(Math.ceil(iterations / MOST_SAVES))} or more.`,
    });
  if (warmupIterations >= iterations && warmupIterations > 0)
    found.push({
      path: 'training.warmupIterations',
      value: warmupIterations,
      rule: `must be below training.iterations = ${String(iterations)}`,
      remedy: `Use ${String(Math.floor(iterations / 10))}.`,
    });
  return found;
}
