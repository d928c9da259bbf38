/** How many parameters adapters have: of each rank, and of the whole model. */
import type { Layout } from '../../plan/layout.js';
import { sum } from '../../plan/layout.js';
import type { RankPlan, RankShare } from '../../plan/plan.js';
import { holdsProjector } from '../../plan/rank-table.js';
import type { LoraSpec } from '../../spec/model.js';
import type { Parts, Widths } from '../mindspeed/family.js';
import { targetsOf } from '../mindspeed/lora.js';
import { attentionWidth, type CountedModel, onOneRank, type PartCounts } from './parameters.js';

export function rankAdapters(layout: Layout, model: CountedModel, rank: RankPlan, lora: LoraSpec): PartCounts {
  const { vision, projector, language } = partsOf(model, lora);
  const seeing = layout.vision.tensorParallel;
  return {
    vision: heldLayers(rank.vision) * onOneRank(vision, seeing),
    projector: holdsProjector(layout, rank.rank) ? onOneRank(projector, seeing) : 0,
    language: heldLayers(rank.language) * onOneRank(language, layout.language.tensorParallel),
  };
}

export function modelAdapters(model: CountedModel, lora: LoraSpec): PartCounts {
  const { vision, projector, language } = partsOf(model, lora);
  return {
    vision: model.dimensions.vision.layers * onOneRank(vision, 1),
    projector: onOneRank(projector, 1),
    language: model.dimensions.language.layers * onOneRank(language, 1),
  };
}

/** Of one layer of a tower, and of the projector. */
function partsOf({ dimensions, counts }: CountedModel, lora: LoraSpec): Readonly<Record<keyof PartCounts, Parts>> {
  const { hiddenSize: h, ffnHiddenSize: f } = dimensions.language;
  const language: Widths = {
    linear_qkv: [h, attentionWidth(dimensions.language)],
    linear_proj: [h, h],
    linear_fc1: [h, 2 * f],
    linear_fc2: [f, h],
  };
  const { layer, projector } = counts.linear;
  const between = adaptersOf(projector, lora);
  const isWhole = counts.projector.split === 0;
  return {
    vision: adaptersOf(layer, lora),
    projector: isWhole ? { split: 0, whole: between.split + between.whole } : between,
    language: adaptersOf(language, lora),
  };
}

/** Of a layer that is split by its rows B is split and A whole; of one that is split by its columns the other way round. */
function adaptersOf(widths: Widths, lora: LoraSpec): Parts {
  const found = targetsOf(lora).flatMap((target): Parts[] => {
    const width = widths[target];
    if (width === undefined) return [];
    const [a, b] = width.map((size) => size * lora.rank) as [number, number];
    const isByRows = target === 'linear_qkv' || target === 'linear_fc1';
    return [isByRows ? { split: b, whole: a } : { split: a, whole: b }];
  });
  return { split: sum(found.map(({ split }) => split)), whole: sum(found.map(({ whole }) => whole)) };
}

function heldLayers(share: RankShare | undefined): number {
  return sum((share?.layers ?? []).map(([first, end]) => end - first));
}
