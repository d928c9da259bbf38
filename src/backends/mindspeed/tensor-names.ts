/**
 * Which tensors a converted model must hold, rank folder by rank folder, from the names in the publisher's model. The
 * converter ends with exit code 0 also when a shard was missing, so its result is counted, not believed.
 * Source: converters/internvl.py of MindSpeed MM 2.2.0.
 */
import type { LayerRange, RankPlan, RankShare } from '../../plan/plan.js';

/** One publisher's tensor in the trainer's words. `layer` counts in the whole tower. */
interface Mapped {
  readonly tower: 'vision' | 'language';
  readonly part: 'embedding' | 'layer' | 'head';
  readonly layer: number;
  readonly name: string;
}

/**
 * Names per rank folder (`mp_vit_rank_00`, ...), sorted; with virtual stages each behind its chunk (`model1/...`), since layers are
 * numbered from 0 in every one. Throws for a tensor that the layout has no place for.
 */
export function expectedTensors(
  publisherNames: readonly string[],
  ranks: readonly RankPlan[],
  distTrain: boolean,
): ReadonlyMap<string, readonly string[]> {
  const mapped = publisherNames.map(mapName);
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

const VISION_LAYER: Readonly<Record<string, string>> = {
  'attn.qkv': 'self_attention.linear_qkv',
  'attn.proj': 'self_attention.linear_proj',
  'attn.q_norm': 'self_attention.q_layernorm',
  'attn.k_norm': 'self_attention.k_layernorm',
  'mlp.fc1': 'mlp.linear_fc1',
  'mlp.fc2': 'mlp.linear_fc2',
  norm1: 'input_layernorm',
  norm2: 'pre_mlp_layernorm',
};
const LANGUAGE_LAYER: Readonly<Record<string, string>> = {
  'self_attn.q_proj': 'self_attention.linear_qkv',
  'self_attn.k_proj': 'self_attention.linear_qkv',
  'self_attn.v_proj': 'self_attention.linear_qkv',
  'self_attn.o_proj': 'self_attention.linear_proj',
  'mlp.gate_proj': 'mlp.linear_fc1',
  'mlp.up_proj': 'mlp.linear_fc1',
  'mlp.down_proj': 'mlp.linear_fc2',
  input_layernorm: 'input_layernorm',
  post_attention_layernorm: 'pre_mlp_layernorm',
};
const PROJECTOR: Readonly<Record<string, string>> = { '0': 'norm', '1': 'linear_fc1', '3': 'linear_fc2' };

function mapName(name: string): Mapped {
  const fail = (): never => {
    throw new Error(`The model holds a tensor "${name}" that InternVL's conversion does not know.`);
  };
  let found = /^vision_model\.embeddings\.(.+)$/.exec(name);
  if (found)
    return { tower: 'vision', part: 'embedding', layer: 0, name: `image_encoder.encoder.embeddings.${found[1] ?? ''}` };
  found = /^vision_model\.encoder\.layers\.(\d+)\.(.+?)(\.weight|\.bias)?$/.exec(name);
  if (found) {
    const [, layer, module = '', leaf = ''] = found;
    const ours = module === 'ls1' || module === 'ls2' ? module : (VISION_LAYER[module] ?? fail());
    return { tower: 'vision', part: 'layer', layer: Number(layer), name: `${ours}${leaf}` };
  }
  found = /^mlp1\.(\d)\.(weight|bias)$/.exec(name);
  if (found)
    return {
      tower: 'vision',
      part: 'head',
      layer: 0,
      name: `image_encoder.projector.${PROJECTOR[found[1] ?? ''] ?? fail()}.${found[2] ?? ''}`,
    };
  found = /^language_model\.model\.layers\.(\d+)\.(.+?)\.(weight|bias)$/.exec(name);
  if (found)
    return {
      tower: 'language',
      part: 'layer',
      layer: Number(found[1]),
      name: `${LANGUAGE_LAYER[found[2] ?? ''] ?? fail()}.${found[3] ?? ''}`,
    };
  switch (name) {
    case 'language_model.model.embed_tokens.weight':
      return { tower: 'language', part: 'embedding', layer: 0, name: 'text_decoder.embedding.word_embeddings.weight' };
    case 'language_model.model.norm.weight':
      return { tower: 'language', part: 'head', layer: 0, name: 'text_decoder.decoder.final_layernorm.weight' };
    case 'language_model.lm_head.weight':
      return { tower: 'language', part: 'head', layer: 0, name: 'text_decoder.output_layer.weight' };
    default:
      return fail();
  }
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
function localName({ tower, part, layer, name }: Mapped, [first]: LayerRange): string {
  if (part !== 'layer') return name;
  const prefix = tower === 'vision' ? 'image_encoder.encoder.encoder.layers' : 'text_decoder.decoder.layers';
  return `${prefix}.${String(layer - first)}.${name}`;
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
