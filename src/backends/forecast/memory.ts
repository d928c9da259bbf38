/**
 * The memory of each rank. What stays (weights, gradients, optimizer) is counted; what comes and goes (activations) is estimated.
 * Held against the one published measurement, InternVL2-8B on 8 NPUs, in test/unit/backends/memory.test.ts.
 */
import { positionOf, rankOf, ranksOf, sum } from '../../plan/layout.js';
import { towerOf } from '../../plan/rank-table.js';
import type { Layout } from '../../plan/layout.js';
import type { RankPlan } from '../../plan/plan.js';
import type { Dimensions } from '../../spec/model.js';
import { attentionWidth, rankParameters } from './parameters.js';
import type { Part } from './parameters.js';

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
  readonly dimensions: Dimensions;
  readonly freeze: readonly Part[];
  readonly recomputeLanguage: boolean;
  readonly microBatchSize: number;
  readonly globalBatchSize: number;
  /** Of the longest row. */
  readonly tokens: number;
  /** Of the image with the most, thumbnail included. */
  readonly tiles: number;
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
  const peaks = towers.flatMap(({ firstRank, ranks, layersPerStage }) =>
    layersPerStage.map(
      (_, stage) => memoryOf(question, rankOf(layout, firstRank + (stage * ranks) / layersPerStage.length)).peak,
    ),
  );
  return Math.max(...peaks);
}

function memoryOf(question: MemoryQuestion, rank: RankPlan): RankMemory {
  const { layout, dimensions, freeze } = question;
  const counts = rankParameters(layout, dimensions, rank);
  const names = ['vision', 'projector', 'language'] as const;
  const held = sum(names.map((part) => counts[part]));
  const trained = sum(names.filter((part) => !freeze.includes(part)).map((part) => counts[part]));
  const tower = towerOf(layout, rank.rank);
  const optimizerShare = trained / (tower.dataParallel * tower.contextParallel);
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

/** 1F1B: the first stage has begun as many micro-batches as there are stages before the first comes back. */
function inFlight({ layout, microBatchSize, globalBatchSize }: MemoryQuestion, rank: number): number {
  const tower = towerOf(layout, rank);
  const behind = layout.distTrain && tower === layout.vision ? layout.language.layersPerStage.length : 0;
  const left = tower.layersPerStage.length + behind - positionOf(tower, rank).pipelineStage;
  return Math.min(left, globalBatchSize / (microBatchSize * tower.dataParallel));
}

function languageBytes(question: MemoryQuestion, { rank, language: share }: RankPlan): number {
  if (share === undefined) return 0;
  const { dimensions, layout, microBatchSize, recomputeLanguage } = question;
  const { language } = dimensions;
  const { tensorParallel, contextParallel } = layout.language;
  const tokens = (question.tokens * microBatchSize) / contextParallel;
  const layers = share.layers[1] - share.layers[0];
  const { hiddenSize: h, ffnHiddenSize: f } = language;
  // Norms in and out; queries, keys and values as computed and as rotated; what attention gives; gate, up, silu and product.
  const split = 2 * attentionWidth(language) + h + 4 * f;
  const layer = BF16 * tokens * (4 * h + split / tensorParallel);
  if (!recomputeLanguage) return inFlight(question, rank) * layers * layer;
  return inFlight(question, rank) * layers * BF16 * tokens * h + layer;
}

function visionBytes(question: MemoryQuestion, { rank, vision: share }: RankPlan): number {
  if (share === undefined) return 0;
  const { dimensions, layout, microBatchSize, freeze, tiles } = question;
  const { hiddenSize: h, ffnHiddenSize: f, imageSize, patchSize } = dimensions.vision;
  const { tensorParallel, contextParallel } = layout.vision;
  const tokens = (tiles * microBatchSize * ((imageSize / patchSize) ** 2 + 1)) / contextParallel;
  const layer = BF16 * tokens * (4 * h + (7 * h + 2 * f) / tensorParallel);
  // A frozen tower keeps nothing for a backward pass: one layer at a time.
  return freeze.includes('vision') ? layer : inFlight(question, rank) * (share.layers[1] - share.layers[0]) * layer;
}

function lossBytes({ dimensions, layout, ...question }: MemoryQuestion, { language: share }: RankPlan): number {
  if (share?.layers[1] !== dimensions.language.layers) return 0;
  const { tensorParallel, contextParallel } = layout.language;
  const tokens = (question.tokens * question.microBatchSize) / contextParallel;
  return (LOSS_BYTES_PER_LOGIT * tokens * dimensions.language.vocabularySize) / tensorParallel;
}
