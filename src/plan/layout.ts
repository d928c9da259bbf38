/** Which rank holds what: ranks, nodes, data parallel sizes and layers of a gang, from the layout and the model's sizes. */
import type { LayoutSpec } from '../spec/layout.js';
import type { ModelSizes } from './model-sizes.js';
import type { LayerRange, RankPlan, RankShare } from './plan.js';

/** How one tower is spread over its ranks, which are `firstRank` to `firstRank + ranks - 1`. */
export interface TowerLayout {
  readonly tensorParallel: number;
  readonly contextParallel: number;
  readonly dataParallel: number;
  readonly pipelineParallel: number;
  /**
   * Layers on each stage in the order in which a row passes them. With virtual stages a pipeline rank holds several: stage
   * `v * pipelineParallel + p` is the virtual stage v of pipeline rank p.
   */
  readonly layersPerStage: readonly number[];
  readonly firstRank: number;
  readonly ranks: number;
}

/** A layout with nothing left open. With `distTrain` the towers have ranks of their own, else both lie on all ranks. */
export interface Layout {
  readonly hosts: number;
  readonly npusPerHost: number;
  readonly worldSize: number;
  readonly distTrain: boolean;
  /** How many stages each pipeline rank holds: 1 without a virtual pipeline. */
  readonly virtualStages: number;
  readonly vision: TowerLayout;
  readonly language: TowerLayout;
}

/** Fills what the spec leaves open. The spec's own rules (sums of ranks, list lengths) are taken to hold. */
export function resolveLayout(spec: LayoutSpec, dimensions: ModelSizes): Layout {
  const { hosts, npusPerHost } = spec;
  const worldSize = hosts * npusPerHost;
  const layers = { vision: dimensions.vision.layers, language: dimensions.language.layers };
  if (spec.distTrain === undefined) {
    const shared = {
      tensorParallel: spec.tensorParallel,
      contextParallel: spec.contextParallel,
      firstRank: 0,
      ranks: worldSize,
    };
    const { virtualPipeline } = spec;
    const own = (rows: readonly (readonly number[])[]): TowerLayout =>
      tower({ ...shared, pipelineParallel: rows[0]?.length ?? 1, layersPerStage: rows.flat() });
    return {
      hosts,
      npusPerHost,
      worldSize,
      distTrain: false,
      virtualStages: virtualPipeline?.languageLayersPerStage.length ?? 1,
      vision: own(virtualPipeline?.visionLayersPerStage ?? [spec.visionLayersPerStage ?? [layers.vision]]),
      language: own(virtualPipeline?.languageLayersPerStage ?? [spec.languageLayersPerStage ?? [layers.language]]),
    };
  }
  const own = (name: 'vision' | 'language', firstRank: number): TowerLayout => {
    const split = spec.distTrain?.[name];
    const layersPerStage = split?.layersPerStage ?? [layers[name]];
    return tower({
      tensorParallel: split?.tensorParallel ?? 1,
      contextParallel: 1,
      pipelineParallel: layersPerStage.length,
      layersPerStage,
      firstRank,
      ranks: split?.npus ?? 0,
    });
  };
  const vision = own('vision', 0);
  const language = own('language', vision.ranks);
  return { hosts, npusPerHost, worldSize, distTrain: true, virtualStages: 1, vision, language };
}

/** A tower's layers by virtual stage and pipeline rank, as MindSpeed MM writes them; one row without a virtual pipeline. */
export function layerRows({ pipelineParallel, layersPerStage }: TowerLayout): readonly (readonly number[])[] {
  return Array.from({ length: layersPerStage.length / pipelineParallel }, (_, row) =>
    layersPerStage.slice(row * pipelineParallel, (row + 1) * pipelineParallel),
  );
}

/** Every process of the gang, in rank order. */
export function ranksOf(layout: Layout): readonly RankPlan[] {
  return Array.from({ length: layout.worldSize }, (_, rank) => rankOf(layout, rank));
}

/** One of them. */
export function rankOf(layout: Layout, rank: number): RankPlan {
  const vision = shareOf(layout.vision, rank);
  const language = shareOf(layout.language, rank);
  return {
    rank,
    nodeRank: nodeOf(layout, rank),
    localRank: rank % layout.npusPerHost,
    ...(vision === undefined ? {} : { vision }),
    ...(language === undefined ? {} : { language }),
  };
}

/** torchrun numbers ranks host by host. */
export function nodeOf(layout: Layout, rank: number): number {
  return Math.floor(rank / layout.npusPerHost);
}

/** Megatron prints iterations on the last rank, which is on the last node. */
export function reportingNode(layout: Layout): number {
  return nodeOf(layout, layout.worldSize - 1);
}

/** Where a rank stands in its tower, in Megatron's order: tensor fastest, then context, data, pipeline slowest. */
export interface RankPosition {
  readonly tensorRank: number;
  readonly contextRank: number;
  readonly dataRank: number;
  readonly pipelineStage: number;
}
export function positionOf(towerLayout: TowerLayout, rank: number): RankPosition {
  const { tensorParallel, contextParallel, dataParallel } = towerLayout;
  const own = rank - towerLayout.firstRank;
  const perContext = tensorParallel * contextParallel;
  return {
    tensorRank: own % tensorParallel,
    contextRank: Math.floor(own / tensorParallel) % contextParallel,
    dataRank: Math.floor(own / perContext) % dataParallel,
    pipelineStage: Math.floor(own / (perContext * dataParallel)),
  };
}

/** A rank's part of one tower; none if the rank belongs to the other tower or its stage has no layers of this one. */
function shareOf(towerLayout: TowerLayout, rank: number): RankShare | undefined {
  if (rank < towerLayout.firstRank || rank >= towerLayout.firstRank + towerLayout.ranks) return undefined;
  const position = positionOf(towerLayout, rank);
  const layers: LayerRange[] = [];
  const { layersPerStage, pipelineParallel } = towerLayout;
  for (let stage = position.pipelineStage; stage < layersPerStage.length; stage += pipelineParallel) {
    const first = sum(layersPerStage.slice(0, stage));
    layers.push([first, first + (layersPerStage[stage] ?? 0)]);
  }
  return layers.every(([first, end]) => first === end) ? undefined : { ...position, layers };
}

function tower(split: Omit<TowerLayout, 'dataParallel'>): TowerLayout {
  const replica = split.tensorParallel * split.contextParallel * split.pipelineParallel;
  return { ...split, dataParallel: Math.floor(split.ranks / replica) };
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, value) => total + value, 0);
}
