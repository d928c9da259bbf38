/**
 * Which tensors a converted model must hold, rank folder by rank folder, from the names in the publisher's model. The
 * converter ends with exit code 0 also when a shard was missing, so its result is counted, not believed.
 */
import type { LayerRange, RankPlan, RankShare } from '../../plan/plan.js';
import { INTERNVL_NAMES } from './internvl/tensor-names.js';
import type { Mapped } from './language-names.js';
import { QWEN_NAMES } from './qwen/tensor-names.js';

/** A family is told by the prefix of its vision tower. */
const FAMILIES = [INTERNVL_NAMES, QWEN_NAMES];

/**
 * Names per rank folder (`mp_vit_rank_00`, ...), sorted; with virtual stages each behind its chunk (`model1/...`), since layers are
 * numbered from 0 in every one. Throws for a tensor that the layout has no place for.
 */
export function expectedTensors(
  publisherNames: readonly string[],
  ranks: readonly RankPlan[],
  distTrain: boolean,
): ReadonlyMap<string, readonly string[]> {
  const family = FAMILIES.find(({ prefix }) => publisherNames.some((name) => name.startsWith(prefix)));
  const mapped = publisherNames.map((name) => {
    const found = family?.mapped(name);
    if (found !== undefined) return found;
    throw new Error(`The model holds a tensor "${name}" that ${family?.converter ?? 'no converter'} does not know.`);
  });
  const isTied = !mapped.some(({ name }) => name === 'text_decoder.output_layer.weight');
  const folders = new Map<string, Set<string>>();
  for (const tower of ['vision', 'language'] as const) {
    const own = mapped.filter((tensor) => tensor.tower === tower);
    const shares = sharesOf(ranks, [tower]);
    const total = Math.max(...shares.flatMap(({ layers }) => layers.map(([, end]) => end)));
    // Without Dist-train a folder holds both towers, so it is numbered also where this one has no layer.
    const all = distTrain ? shares : sharesOf(ranks, ['vision', 'language']);
    const pipelineRanks = 1 + Math.max(...all.map(({ pipelineStage }) => pipelineStage));
    for (const share of shares) {
      const folder = folderOf(share, pipelineRanks, distTrain ? tower : undefined);
      const names = folders.get(folder) ?? new Set<string>();
      folders.set(folder, names);
      share.layers.forEach((layers, chunk) => {
        if (layers[0] === layers[1]) return;
        const prefix = share.layers.length > 1 ? `model${String(chunk)}/` : '';
        for (const tensor of own) if (isOn(tensor, layers, total)) names.add(`${prefix}${localName(tensor, layers)}`);
        // A tied head is the embedding; the last of several stages has no embedding, so it holds a copy.
        if (tower === 'language' && isTied && pipelineRanks > 1 && layers[1] === total)
          names.add(`${prefix}text_decoder.output_layer.weight`);
      });
    }
  }
  return new Map([...folders].map(([folder, names]) => [folder, [...names].sort()]));
}

function sharesOf(ranks: readonly RankPlan[], towers: readonly ('vision' | 'language')[]): readonly RankShare[] {
  return ranks.flatMap((rank) => towers.map((tower) => rank[tower])).filter((share) => share !== undefined);
}

/** Embeddings lie on the first stage that has layers, heads (projector, output) on the last; both skip empty stages. */
function isOn({ part, layer }: Mapped, [first, end]: LayerRange, total: number): boolean {
  switch (part) {
    case 'embedding':
      return first === 0;
    case 'head':
      return end === total;
    case 'layer':
      return layer >= first && layer < end;
  }
}

/** Layers are numbered from 0 in every stage. */
function localName({ part, layer, layers, name }: Mapped, [first]: LayerRange): string {
  return part === 'layer' ? `${layers}.${String(layer - first)}.${name}` : name;
}

function folderOf(
  { tensorRank, pipelineStage }: RankShare,
  stages: number,
  tower: 'vision' | 'language' | undefined,
): string {
  const prefix = tower === undefined ? 'mp_rank' : tower === 'vision' ? 'mp_vit_rank' : 'mp_gpt_rank';
  const pipeline = stages > 1 ? `_${String(pipelineStage).padStart(3, '0')}` : '';
  return `${prefix}_${String(tensorRank).padStart(2, '0')}${pipeline}`;
}
