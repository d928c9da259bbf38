/** How many parameters each rank holds, part by part, from the model's sizes and the layout. */
import { holdsProjector } from '../../plan/rank-table.js';
import { sum, type Layout } from '../../plan/layout.js';
import type { LayerRange, RankPlan, RankShare } from '../../plan/plan.js';
import type { Dimensions } from '../../spec/model.js';

export type Part = 'vision' | 'projector' | 'language';
export type PartCounts = Readonly<Record<Part, number>>;

export function rankParameters(layout: Layout, dimensions: Dimensions, rank: RankPlan): PartCounts {
  const { vision, language } = rank;
  return {
    vision: ofRanges(vision, (range) => visionParameters(dimensions, range, layout.vision.tensorParallel)),
    projector: holdsProjector(layout, rank.rank) ? projectorParameters(dimensions) : 0,
    language: ofRanges(language, (range) => languageParameters(dimensions, range, layout.language.tensorParallel)),
  };
}

/** The whole model, each tensor counted once. */
export function modelParameters(dimensions: Dimensions): PartCounts {
  return {
    vision: visionParameters(dimensions, [0, dimensions.vision.layers], 1),
    projector: projectorParameters(dimensions),
    language: languageParameters(dimensions, [0, dimensions.language.layers], 1),
  };
}

/** A range without layers holds nothing: neither embeddings nor heads. */
function ofRanges(share: RankShare | undefined, count: (range: LayerRange) => number): number {
  return sum((share?.layers ?? []).map(([first, end]) => (end > first ? count([first, end]) : 0)));
}

function visionParameters({ vision }: Dimensions, [first, end]: LayerRange, tensorParallel: number): number {
  const patches = (vision.imageSize / vision.patchSize) ** 2;
  const embeddings = vision.hiddenSize * (1 + (patches + 1) + 3 * vision.patchSize ** 2 + 1);
  return (first === 0 ? embeddings : 0) + (end - first) * visionLayer(vision, tensorParallel);
}

export function visionLayer(vision: Dimensions['vision'], tensorParallel: number): number {
  const { hiddenSize: h, ffnHiddenSize: f } = vision;
  const split = 3 * h * h + (vision.qkvBias ? 3 * h : 0) + h * h + 2 * h * f + f;
  const norms = vision.normalization === 'LayerNorm' ? 4 * h : 2 * h;
  // Two output biases, two layer scales, and the norms of queries and keys.
  return split / tensorParallel + norms + 4 * h + (vision.qkLayerNorm ? 2 * h : 0);
}

/** InternVLMLP: a norm and two layers, whole on every tensor rank. */
function projectorParameters({ vision, language, downsampleRatio }: Dimensions): number {
  const input = vision.hiddenSize / downsampleRatio ** 2;
  const output = language.hiddenSize;
  return 2 * input + (input + 1) * output + (output + 1) * output;
}

function languageParameters({ language }: Dimensions, [first, end]: LayerRange, tensorParallel: number): number {
  const embedding = (language.vocabularySize * language.hiddenSize) / tensorParallel;
  const isLast = end === language.layers;
  // A tied output layer is the embedding itself on one stage, and a copy of it on the last of several.
  const output = isLast && !(language.tieWordEmbeddings && first === 0) ? embedding : 0;
  return (
    (first === 0 ? embedding : 0) +
    (end - first) * languageLayer(language, tensorParallel) +
    (isLast ? language.hiddenSize : 0) +
    output
  );
}

export function languageLayer(language: Dimensions['language'], tensorParallel: number): number {
  const { hiddenSize: h, ffnHiddenSize: f } = language;
  const qkv = attentionWidth(language);
  return (h * qkv + qkv + h * h + 3 * h * f) / tensorParallel + 2 * h;
}

/** Width of queries, keys and values together. */
export function attentionWidth({ hiddenSize, attentionHeads, keyValueHeads }: Dimensions['language']): number {
  return hiddenSize + 2 * (hiddenSize / attentionHeads) * keyValueHeads;
}
