/** Tensor names of InternVL. Source: converters/internvl.py of MindSpeed MM 2.2.0. */
import { type FamilyNames, languageTensor, type Mapped } from '../language-names.js';

const LAYERS = 'image_encoder.encoder.encoder.layers';
const LAYER: Readonly<Record<string, string>> = {
  'attn.qkv': 'self_attention.linear_qkv',
  'attn.proj': 'self_attention.linear_proj',
  'attn.q_norm': 'self_attention.q_layernorm',
  'attn.k_norm': 'self_attention.k_layernorm',
  'mlp.fc1': 'mlp.linear_fc1',
  'mlp.fc2': 'mlp.linear_fc2',
  norm1: 'input_layernorm',
  norm2: 'pre_mlp_layernorm',
  ls1: 'ls1',
  ls2: 'ls2',
};
const PROJECTOR: Readonly<Record<string, string>> = { '0': 'norm', '1': 'linear_fc1', '3': 'linear_fc2' };

export const INTERNVL_NAMES: FamilyNames = {
  converter: "InternVL's conversion",
  prefix: 'vision_model.',
  mapped: (name) =>
    name.startsWith('language_model.') ? languageTensor(name.slice('language_model.'.length)) : visionTensor(name),
};

function visionTensor(name: string): Mapped | undefined {
  const vision = { tower: 'vision', layer: 0, layers: LAYERS } as const;
  const embedding = /^vision_model\.embeddings\.(.+)$/.exec(name)?.[1];
  if (embedding !== undefined)
    return { ...vision, part: 'embedding', name: `image_encoder.encoder.embeddings.${embedding}` };
  const layer = /^vision_model\.encoder\.layers\.(\d+)\.(.+?)(\.weight|\.bias)?$/.exec(name);
  if (layer !== null) {
    const module = LAYER[layer[2] ?? ''];
    if (module === undefined) return undefined;
    return { ...vision, part: 'layer', layer: Number(layer[1]), name: `${module}${layer[3] ?? ''}` };
  }
  const [, number = '', leaf = ''] = /^mlp1\.(\d)\.(weight|bias)$/.exec(name) ?? [];
  const projector = PROJECTOR[number];
  return projector === undefined
    ? undefined
    : { ...vision, part: 'head', name: `image_encoder.projector.${projector}.${leaf}` };
}
