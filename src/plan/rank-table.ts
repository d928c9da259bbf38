/** Who every rank is and whom it talks to: its host and device, the modules and layers it holds, its groups and its place in the pipeline. */
import { positionOf, ranksOf } from './layout.js';
import type { LayerRange, RankShare } from './plan.js';
import type { Layout, RankPosition, TowerLayout } from './layout.js';

export interface RankModule {
  readonly module: 'vision' | 'projector' | 'language';
  /** More than one range with virtual stages; the projector has none. */
  readonly layers?: readonly LayerRange[];
}

export interface RankRow extends RankPosition {
  readonly rank: number;
  /** The node rank: hosts are numbered in the order in which the pool grants them. */
  readonly node: number;
  readonly device: number;
  readonly modules: readonly RankModule[];
  /** Ranks of one group, this rank among them; pipeline neighbours are those of the rank's own tower. */
  readonly tensorGroup: readonly number[];
  readonly contextGroup: readonly number[];
  readonly dataGroup: readonly number[];
  /** With virtual stages the last pipeline rank hands on to the first. */
  readonly previousStage: number | null;
  readonly nextStage: number | null;
  /** With Dist-train, ranks of the other tower to which this one hands what it has seen, or from which it gets that. */
  readonly otherTower: readonly number[];
}

export function rankTable(layout: Layout): readonly RankRow[] {
  return ranksOf(layout).map(({ rank, nodeRank, localRank, vision, language }) => {
    const tower = towerOf(layout, rank);
    const position = positionOf(tower, rank);
    const at = (change: Partial<RankPosition>): number => rankAt(tower, { ...position, ...change });
    const group = (size: number, axis: 'tensorRank' | 'contextRank' | 'dataRank'): number[] =>
      Array.from({ length: size }, (_, index) => at({ [axis]: index }));
    const { pipelineStage } = position;
    const stages = tower.pipelineParallel;
    const neighbour = (stage: number): number | null =>
      stage >= 0 && stage < stages
        ? at({ pipelineStage: stage })
        : layout.virtualStages > 1
          ? at({ pipelineStage: (stage + stages) % stages })
          : null;
    return {
      rank,
      node: nodeRank,
      device: localRank,
      ...position,
      modules: [
        ...(vision === undefined ? [] : [{ module: 'vision', layers: held(vision) } as const]),
        ...(holdsProjector(layout, rank) ? [{ module: 'projector' } as const] : []),
        ...(language === undefined ? [] : [{ module: 'language', layers: held(language) } as const]),
      ],
      tensorGroup: group(tower.tensorParallel, 'tensorRank'),
      contextGroup: group(tower.contextParallel, 'contextRank'),
      dataGroup: group(tower.dataParallel, 'dataRank'),
      previousStage: neighbour(pipelineStage - 1),
      nextStage: neighbour(pipelineStage + 1),
      otherTower: otherTower(layout, rank),
    };
  });
}

/** The tower whose groups a rank belongs to. Without Dist-train both are split alike. */
export function towerOf(layout: Layout, rank: number): TowerLayout {
  return layout.distTrain && rank < layout.language.firstRank ? layout.vision : layout.language;
}

/** The last vision stage feeds the first language stage, replica by replica: on Ascend both towers have as many. */
function otherTower(layout: Layout, rank: number): readonly number[] {
  if (!layout.distTrain) return [];
  const { vision, language } = layout;
  const own = towerOf(layout, rank);
  const { pipelineStage, dataRank } = positionOf(own, rank);
  const [other, ownEnd, otherEnd] =
    own === vision ? [language, vision.pipelineParallel - 1, 0] : [vision, 0, vision.pipelineParallel - 1];
  if (pipelineStage !== ownEnd) return [];
  return Array.from({ length: other.tensorParallel }, (_, tensorRank) =>
    rankAt(other, { tensorRank, contextRank: 0, dataRank, pipelineStage: otherEnd }),
  );
}

/** MindSpeed MM puts the projector on the last stage that has vision layers. */
export function holdsProjector({ vision }: Layout, rank: number): boolean {
  if (rank < vision.firstRank || rank >= vision.firstRank + vision.ranks) return false;
  const lastStage = vision.layersPerStage.findLastIndex((layers) => layers > 0);
  return positionOf(vision, rank).pipelineStage === lastStage % vision.pipelineParallel;
}

/** `0-5` or, with virtual stages, `0-5+24-27`; the last layer is named. */
export function showLayers(layers: readonly LayerRange[]): string {
  return layers
    .filter(([first, end]) => end > first)
    .map(([first, end]) => `${String(first)}-${String(end - 1)}`)
    .join('+');
}

function held({ layers }: RankShare): readonly LayerRange[] {
  return layers.filter(([first, end]) => end > first);
}

/** The way back from `positionOf`. */
function rankAt({ firstRank, tensorParallel, contextParallel, dataParallel }: TowerLayout, at: RankPosition): number {
  return (
    firstRank +
    at.tensorRank +
    tensorParallel * (at.contextRank + contextParallel * (at.dataRank + dataParallel * at.pipelineStage))
  );
}
