/**
 * The memory of each rank. What stays (weights, gradients, optimizer) is counted; what comes and goes (activations) is estimated.
 * Held against the one published measurement, InternVL2-8B on 8 NPUs, in test/unit/backends/memory.test.ts.
 */
import { positionOf, rankOf, ranksOf, sum } from '../../plan/layout.js';
import { towerOf } from '../../plan/rank-table.js';
import type { Layout } from '../../plan/layout.js';
import type { RankPlan, RankShare } from '../../plan/plan.js';
import type { LoraSpec } from '../../spec/model.js';
import { rankAdapters } from './adapters.js';
import { attentionWidth, onOneRank, rankParameters } from './parameters.js';
import type { CountedModel, Part } from './parameters.js';

/** Bytes. */
export interface RankMemory {
  readonly rank: number;
  readonly weights: number;
  readonly gradients: number;
  readonly optimizer: number;
  readonly languageActivations: number;
  readonly visionActivations: number;
  readonly loss: number;
  /** The most at once, from the second iteration on. */
  readonly peak: number;
  /** The same in the first iteration: Adam's moments come with the first step, when the activations are gone. Megatron prints this one. */
  readonly firstIterationPeak: number;
}

export interface MemoryQuestion {
  readonly layout: Layout;
  readonly model: CountedModel;
  readonly freeze: readonly Part[];
  /** Adapters are trained, and all weights stay. */
  readonly lora?: LoraSpec | undefined;
  /** Towers whose layers are computed again in the backward pass. */
  readonly recomputed: readonly Part[];
  readonly sequenceParallel: boolean;
  readonly distributedOptimizer: boolean;
  readonly microBatchSize: number;
  readonly globalBatchSize: number;
  /** Of the longest row. */
  readonly tokens: number;
  /** Of the largest image. */
  readonly patches: number;
}

const BF16 = 2;
const FP32 = 4;
/** Logits in bf16 and fp32, shifted, as logarithms of probabilities, and the gradients of these: fitted to the published measurement. */
const LOSS_BYTES_PER_LOGIT = 26;

export function memoryOfRanks(question: MemoryQuestion): readonly RankMemory[] {
  return ranksOf(question.layout).map((rank) => memoryOf(question, rank));
}

/** The peak of the fullest rank. Replicas and tensor ranks of a stage need the same, so one of each stage is looked at. */
export function mostMemory(question: MemoryQuestion): number {
  const { layout } = question;
  const towers = layout.distTrain ? [layout.vision, layout.language] : [layout.language];
  const peaks = towers.flatMap(({ firstRank, ranks, pipelineParallel }) =>
    Array.from(
      { length: pipelineParallel },
      (_, stage) => memoryOf(question, rankOf(layout, firstRank + (stage * ranks) / pipelineParallel)).peak,
    ),
  );
  return Math.max(...peaks);
}

function memoryOf(question: MemoryQuestion, rank: RankPlan): RankMemory {
  const { layout, model, freeze, lora, distributedOptimizer } = question;
  const counts = rankParameters(layout, model, rank);
  const names = ['vision', 'projector', 'language'] as const;
  const ours = lora === undefined ? counts : rankAdapters(layout, model, rank, lora);
  const trained = sum(names.filter((part) => !freeze.includes(part)).map((part) => ours[part]));
  const held = sum(names.map((part) => counts[part])) + (lora === undefined ? 0 : trained);
  const tower = towerOf(layout, rank.rank);
  const optimizerShare = distributedOptimizer ? trained / (tower.dataParallel * tower.contextParallel) : trained;
  const moments = Math.round(2 * FP32 * optimizerShare);
  const parts = {
    weights: Math.round(BF16 * held),
    // Megatron sums gradients in fp32 when the weights are bf16.
    gradients: Math.round(FP32 * trained),
    optimizer: Math.round(FP32 * optimizerShare) + moments,
    languageActivations: Math.round(languageBytes(question, rank)),
    visionActivations: Math.round(visionBytes(question, rank)),
    loss: Math.round(lossBytes(question, rank)),
  };
  const peak = sum(Object.values(parts));
  return { rank: rank.rank, ...parts, peak, firstIterationPeak: peak - moments };
}

/**
 * 1F1B: the first stage has begun as many micro-batches as there are stages before the first comes back. Megatron's interleaved
 * schedule begins twice as many, and one round for each further virtual stage; each of them holds the layers of one virtual stage.
 */
function inFlight({ layout, microBatchSize, globalBatchSize }: MemoryQuestion, rank: number): number {
  const tower = towerOf(layout, rank);
  const { pipelineStage } = positionOf(tower, rank);
  const microBatches = globalBatchSize / (microBatchSize * tower.dataParallel);
  const { virtualStages } = layout;
  if (virtualStages > 1) {
    const begun = 2 * (tower.pipelineParallel - pipelineStage - 1) + (virtualStages - 1) * tower.pipelineParallel + 1;
    return Math.min(begun / virtualStages, microBatches);
  }
  const behind = layout.distTrain && tower === layout.vision ? layout.language.pipelineParallel : 0;
  return Math.min(tower.pipelineParallel + behind - pipelineStage, microBatches);
}

function languageBytes(question: MemoryQuestion, { rank, language: share }: RankPlan): number {
  if (share === undefined) return 0;
  const { model, layout, microBatchSize, recomputed, sequenceParallel } = question;
  const { language } = model.dimensions;
  const { tensorParallel, contextParallel } = layout.language;
  const tokens = (question.tokens * microBatchSize) / contextParallel;
  const layers = heldLayers(share);
  const { hiddenSize: h, ffnHiddenSize: f } = language;
  // Norms in and out; queries, keys and values as computed and as rotated; what attention gives; gate, up, silu and product.
  const split = 2 * attentionWidth(language) + h + 4 * f;
  // What every tensor rank keeps whole is split too with sequence parallelism.
  const whole = (4 * h) / (sequenceParallel ? tensorParallel : 1);
  const layer = BF16 * tokens * (whole + split / tensorParallel);
  if (!recomputed.includes('language')) return inFlight(question, rank) * layers * layer;
  return inFlight(question, rank) * layers * BF16 * tokens * h + layer;
}

function visionBytes(question: MemoryQuestion, { rank, vision: share }: RankPlan): number {
  if (share === undefined) return 0;
  const { model, layout, microBatchSize, freeze, patches, recomputed } = question;
  const { hiddenSize: h } = model.dimensions.vision;
  const { tensorParallel, contextParallel } = layout.vision;
  const tokens = (patches * microBatchSize) / contextParallel;
  const layer = BF16 * tokens * onOneRank(model.counts.kept, tensorParallel);
  // A frozen tower keeps nothing for a backward pass: one layer at a time.
  if (freeze.includes('vision')) return layer;
  const kept = inFlight(question, rank) * heldLayers(share);
  return recomputed.includes('vision') ? kept * BF16 * tokens * h + layer : kept * layer;
}

function heldLayers({ layers }: RankShare): number {
  return sum(layers.map(([first, end]) => end - first));
}

function lossBytes(
  { model: { dimensions }, layout, ...question }: MemoryQuestion,
  { language: share }: RankPlan,
): number {
  if (share?.layers.some(([first, end]) => end > first && end === dimensions.language.layers) !== true) return 0;
  const { tensorParallel, contextParallel } = layout.language;
  const tokens = (question.tokens * question.microBatchSize) / contextParallel;
  return (LOSS_BYTES_PER_LOGIT * tokens * dimensions.language.vocabularySize) / tensorParallel;
}
