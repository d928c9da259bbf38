/** Work counted in floating-point operations: what a micro-batch costs, how layers share it evenly, and how long NPUs wait for each other. */
import type { Layout } from '../../plan/layout.js';
import type { Job } from '../mindspeed/job.js';
import { memoryQuestion } from './forecast.js';
import { languageLayer, onOneRank } from './parameters.js';

export interface Costs {
  readonly vision: number;
  readonly layer: number;
  readonly head: number;
}

/** Operations for one micro-batch of the longest row: forward once, backward twice, and forward again where it is recomputed. */
export function costs(job: Job): Costs {
  const { tokens, model, patches, freeze, lora, recomputed } = memoryQuestion(job);
  // Of weights that stay no gradient is computed; what adapters cost beside them is not counted.
  const passes = lora === undefined ? 3 : 2;
  const { vision, language } = model.dimensions;
  const { attendedPatches } = job.model.image(job.spec);
  const layer = 2 * onOneRank(model.counts.layer, 1) + 4 * attendedPatches * vision.hiddenSize;
  const seen = patches * vision.layers * layer;
  const read = 2 * languageLayer(language, 1) * tokens + 2 * tokens ** 2 * language.hiddenSize;
  return {
    vision: seen * (freeze.includes('vision') ? 1 : recomputed.includes('vision') ? passes + 1 : passes),
    layer: read * (recomputed.includes('language') ? passes + 1 : passes),
    head: 2 * passes * language.vocabularySize * language.hiddenSize * tokens,
  };
}

/** Layers by stage so that the fullest stage is as light as can be: each layer goes where the least is. */
export function share(layers: number, stages: number, { layer, head }: Costs, first: number): number[] {
  const load = Array.from(
    { length: stages },
    (_, stage) => (stage === 0 ? first : 0) + (stage === stages - 1 ? head : 0),
  );
  const held = load.map(() => 1);
  for (let stage = 0; stage < stages; stage += 1) load[stage] = (load[stage] ?? 0) + layer;
  for (let left = layers - stages; left > 0; left -= 1) {
    const lightest = load.indexOf(Math.min(...load));
    load[lightest] = (load[lightest] ?? 0) + layer;
    held[lightest] = (held[lightest] ?? 0) + 1;
  }
  return held;
}

/** What 1F1B loses at its ends, and what stages lose by waiting for the fullest. */
export function idle(job: Job, layout: Layout): { readonly bubble: number; readonly waiting: number } {
  const cost = costs(job);
  const { vision, language, distTrain } = layout;
  const last = language.layersPerStage.length - 1;
  const loads = language.layersPerStage.map(
    (layers, stage) =>
      (layers * cost.layer + (stage === last ? cost.head : 0) + (!distTrain && stage === 0 ? cost.vision : 0)) /
      language.tensorParallel,
  );
  // Several vision replicas share the micro-batches of one language replica.
  const seeing = distTrain ? [(cost.vision * language.dataParallel) / vision.ranks] : [];
  const stages = loads.length + seeing.length;
  const { globalBatchSize, microBatchSize } = job.spec.training;
  const microBatches = globalBatchSize / (microBatchSize * language.dataParallel);
  const whole = cost.vision + language.layersPerStage.reduce((total, layers) => total + layers * cost.layer, cost.head);
  const mean = (whole * language.dataParallel) / layout.worldSize;
  return {
    bubble: (stages - 1) / (microBatches + stages - 1),
    waiting: 1 - mean / Math.max(...loads, ...seeing),
  };
}
