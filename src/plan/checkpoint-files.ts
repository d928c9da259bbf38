/** The files of a checkpoint in Megatron's `torch` format: their names, the node that writes each, the nodes that read it. */
import { nodeOf, positionOf } from './layout.js';
import type { Layout, TowerLayout } from './layout.js';
import type { CheckpointFile } from './plan.js';

const MODEL_FILE = 'model_optim_rng.pt';
const OPTIMIZER_FILE = 'distrib_optim.pt';

/** Files of one saved iteration, in rank order. With the distributed optimizer its state lies beside the weights. */
export function checkpointFiles(
  layout: Layout,
  options: { readonly distributedOptimizer: boolean },
): readonly CheckpointFile[] {
  const names = options.distributedOptimizer ? [MODEL_FILE, OPTIMIZER_FILE] : [MODEL_FILE];
  return modelParallelFolders(layout).flatMap(({ folder, nodes, writtenBy }) =>
    names.map((name) => ({ path: `${folder}/${name}`, writtenBy, readBy: nodes })),
  );
}

/** Files of the converted model. One host converts; it is counted as node 0, since no gang exists by then. */
export function releaseFiles(layout: Layout): readonly CheckpointFile[] {
  return modelParallelFolders(layout).map(({ folder, nodes }) => ({
    path: `${folder}/${MODEL_FILE}`,
    writtenBy: 0,
    readBy: nodes,
  }));
}

interface ModelParallelFolder {
  readonly folder: string;
  readonly writtenBy: number;
  readonly nodes: readonly number[];
}

function modelParallelFolders(layout: Layout): readonly ModelParallelFolder[] {
  if (!layout.distTrain) return foldersOf(layout, layout.language, 'mp_rank');
  return [...foldersOf(layout, layout.vision, 'mp_vit_rank'), ...foldersOf(layout, layout.language, 'mp_gpt_rank')];
}

/** One folder per tensor and pipeline position. The lowest rank of a position is its data (and context) rank 0: the writer. */
function foldersOf(layout: Layout, tower: TowerLayout, prefix: string): readonly ModelParallelFolder[] {
  const nodesByFolder = new Map<string, number[]>();
  for (let rank = tower.firstRank; rank < tower.firstRank + tower.ranks; rank += 1) {
    const { tensorRank, pipelineStage } = positionOf(tower, rank);
    const pipeline = tower.pipelineParallel > 1 ? `_${String(pipelineStage).padStart(3, '0')}` : '';
    const folder = `${prefix}_${String(tensorRank).padStart(2, '0')}${pipeline}`;
    const nodes = nodesByFolder.get(folder) ?? [];
    const node = nodeOf(layout, rank);
    if (!nodes.includes(node)) nodes.push(node);
    nodesByFolder.set(folder, nodes);
  }
  return [...nodesByFolder].map(([folder, nodes]) => ({ folder, writtenBy: nodes[0] ?? 0, nodes }));
}
