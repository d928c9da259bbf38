/** How many parameters each rank holds, part by part, from the model's sizes and the layout. */
import { holdsProjector } from '../../plan/rank-table.js';
import { sum, type Layout } from '../../plan/layout.js';
import type { LayerRange, RankPlan, RankShare } from '../../plan/plan.js';
import type { LanguageSizes, ModelSizes } from '../../plan/model-sizes.js';
import type { Parts } from '../mindspeed/family.js';
import type { Model } from '../mindspeed/job.js';

export type Part = 'vision' | 'projector' | 'language';
export type PartCounts = Readonly<Record<Part, number>>;

/** What is counted of a model: its sizes, and those of its vision tower as its family has it. */
export type CountedModel = Pick<Model, 'dimensions' | 'counts'>;

export function rankParameters(layout: Layout, model: CountedModel, rank: RankPlan): PartCounts {
  const { vision, language } = rank;
  const { vision: seeing, language: speaking } = layout;
  return {
    vision: ofRanges(vision, (range) => visionParameters(model, range, seeing.tensorParallel)),
    projector: holdsProjector(layout, rank.rank) ? onOneRank(model.counts.projector, seeing.tensorParallel) : 0,
    language: ofRanges(language, (range) => languageParameters(model.dimensions, range, speaking.tensorParallel)),
  };
}

/** The whole model, each tensor counted once. */
export function modelParameters(model: CountedModel): PartCounts {
  const { dimensions, counts } = model;
  return {
    vision: visionParameters(model, [0, dimensions.vision.layers], 1),
    projector: onOneRank(counts.projector, 1),
    language: languageParameters(dimensions, [0, dimensions.language.layers], 1),
  };
}

/** A range without layers holds nothing: neither embeddings nor heads. */
function ofRanges(share: RankShare | undefined, count: (range: LayerRange) => number): number {
  return sum((share?.layers ?? []).map(([first, end]) => (end > first ? count([first, end]) : 0)));
}

function visionParameters({ counts }: CountedModel, [first, end]: LayerRange, tensorParallel: number): number {
  return (first === 0 ? counts.embedding : 0) + (end - first) * onOneRank(counts.layer, tensorParallel);
}

/** What each of so many tensor ranks has. */
export function onOneRank({ split, whole }: Parts, tensorParallel: number): number {
  return split / tensorParallel + whole;
}

function languageParameters({ language }: ModelSizes, [first, end]: LayerRange, tensorParallel: number): number {
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

export function languageLayer(language: LanguageSizes, tensorParallel: number): number {
  const { hiddenSize: h, ffnHiddenSize: f } = language;
  const qkv = attentionWidth(language);
  return (h * qkv + qkv + h * h + 3 * h * f) / tensorParallel + 2 * h;
}

/** Width of queries, keys and values together. */
export function attentionWidth({ hiddenSize, attentionHeads, keyValueHeads }: LanguageSizes): number {
  return hiddenSize + 2 * (hiddenSize / attentionHeads) * keyValueHeads;
}
