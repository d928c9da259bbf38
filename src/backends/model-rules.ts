/** What must hold inside the model and between model and data, whatever the layout. */
import type { Refusal } from '../spec/refusal.js';
import { TRACKER_FILE } from './mindspeed/checkpoint.js';
import type { Job } from './mindspeed/job.js';
import { imageTokensPerTile } from './mindspeed/presets.js';

export function checkModel(job: Omit<Job, 'profile'>): readonly Refusal[] {
  return [...familyRules(job), ...dividing(job), ...tokenRules(job), ...scheduleRules(job), ...startRules(job)];
}

function familyRules({ spec, layout }: Omit<Job, 'profile'>): Refusal[] {
  const { family } = spec.model;
  if (family === 'internvl3' || (family === 'internvl2.5' && spec.runtime.kind === 'ascend')) return [];
  if (family === 'internvl2.5')
    return [
      {
        path: 'model.family',
        value: family,
        rule: 'must be internvl3 with runtime.kind "cpu", whose trainer knows no other',
        remedy: 'Use an InternVL3 model, or runtime.kind "ascend".',
      },
    ];
  const found: Refusal[] = [
    {
      path: 'model.family',
      value: spec.model.family,
      rule: 'must be internvl3 or internvl2.5: this version can train no other, nor prepare its rows, nor judge the result',
      remedy: 'Use an InternVL model.',
    },
  ];
  if (layout.distTrain)
    found.push({
      path: 'layout.distTrain',
      value: spec.layout.distTrain,
      rule: `must be left out with ${family}: Dist-train of MindSpeed MM 2.2.0 knows InternVL and OpenSoraPlan alone`,
      remedy: 'Use visionLayersPerStage and languageLayersPerStage.',
    });
  return found;
}

/** Numbers that must divide without rest, so that heads and patches are whole. */
function dividing({ model: { dimensions } }: Omit<Job, 'profile'>): Refusal[] {
  const { vision, language, downsampleRatio } = dimensions;
  const rules = [
    ['vision.hiddenSize', vision.hiddenSize, vision.attentionHeads, 'attentionHeads'],
    ['vision.imageSize', vision.imageSize, vision.patchSize, 'patchSize'],
    ['language.hiddenSize', language.hiddenSize, language.attentionHeads, 'attentionHeads'],
    ['language.attentionHeads', language.attentionHeads, language.keyValueHeads, 'keyValueHeads'],
  ] as const;
  const found = rules
    .filter(([, value, divisor]) => value % divisor !== 0)
    .map(([path, value, divisor, name]) => ({
      path: `model.dimensions.${path}`,
      value,
      rule: `must be a multiple of ${name} = ${String(divisor)}`,
      remedy: `Take both from the model's config.json; ${String(Math.ceil(value / divisor) * divisor)} would divide.`,
    }));
  const side = (vision.imageSize / vision.patchSize) * downsampleRatio;
  if (found.length > 0 || (Number.isInteger(side) && side >= 1)) return found;
  return [
    {
      path: 'model.dimensions.downsampleRatio',
      value: downsampleRatio,
      rule: `must leave a whole number of tokens per side of an image, but leaves ${String(side)}`,
      remedy: "Take it from the model's config.json; InternVL3 has 0.5.",
    },
  ];
}

function tokenRules({ spec, model }: Omit<Job, 'profile'>): Refusal[] {
  const tokens = imageTokensPerTile(model.dimensions);
  if (spec.data.imageTokens !== undefined && spec.data.imageTokens !== tokens)
    return [
      {
        path: 'data.imageTokens',
        value: spec.data.imageTokens,
        rule: `must be ${String(tokens)}, the tokens that this model makes of one image tile`,
        remedy: 'Leave it out.',
      },
    ];
  const { sequenceLength } = spec.training;
  const { maxPositions } = model.dimensions.language;
  if (sequenceLength > maxPositions)
    return [
      {
        path: 'training.sequenceLength',
        value: sequenceLength,
        rule: `must be at most ${String(maxPositions)}, the longest sequence of this model`,
        remedy: `Use ${String(maxPositions)} or less.`,
      },
    ];
  if (sequenceLength > tokens) return [];
  return [
    {
      path: 'training.sequenceLength',
      value: sequenceLength,
      rule: `must be more than ${String(tokens)}, the tokens of one image tile, so that a question fits beside it`,
      remedy: `Use at least ${String(tokens * 2)}.`,
    },
  ];
}

/** Megatron's tracker says which iteration a save folder stands for; the folder of a source is looked at when it is fetched. */
function startRules({ spec: { training } }: Omit<Job, 'profile'>): Refusal[] {
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

/** A save interval longer than the training would save once, at the end: any lost host would cost all of it. */
function scheduleRules({ spec }: Omit<Job, 'profile'>): Refusal[] {
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
  if (warmupIterations >= iterations && warmupIterations > 0)
    found.push({
      path: 'training.warmupIterations',
      value: warmupIterations,
      rule: `must be below training.iterations = ${String(iterations)}`,
      remedy: `Use ${String(Math.floor(iterations / 10))}.`,
    });
  return found;
}
