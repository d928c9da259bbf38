/** Tensor names of Qwen2.5-VL. Source: converters/qwen2vl.py, qwen2_5vl.py and hf_to_mm.py of MindSpeed MM 2.2.0. */
import { type FamilyNames, languageTensor, type Mapped } from '../language-names.js';

const LAYERS = 'image_encoder.encoder.blocks.layers';
const LAYER: Readonly<Record<string, string>> = {
  'attn.qkv': 'self_attention.linear_qkv',
  'attn.proj': 'self_attention.linear_proj',
  'mlp.gate_proj': 'mlp.linear_fc1',
  'mlp.up_proj': 'mlp.linear_fc1',
  'mlp.down_proj': 'mlp.linear_fc2',
  norm1: 'input_layernorm',
  norm2: 'pre_mlp_layernorm',
};
/** What lies before the first layer, and behind the last. */
const REST: Readonly<Record<string, readonly ['embedding' | 'head', string]>> = {
  'patch_embed.proj': ['embedding', 'encoder.patch_embed.proj'],
  'merger.ln_q': ['head', 'projector.layernorm'],
  'merger.mlp.0': ['head', 'projector.encoder.linear_fc1'],
  'merger.mlp.2': ['head', 'projector.encoder.linear_fc2'],
};

export const QWEN_NAMES: FamilyNames = {
  converter: 'Qwen2_5_VLConverter',
  prefix: 'visual.',
  mapped: (name) => (name.startsWith('visual.') ? visionTensor(name.slice('visual.'.length)) : languageTensor(name)),
};

function visionTensor(name: string): Mapped | undefined {
  const vision = { tower: 'vision', layer: 0, layers: LAYERS } as const;
  const [, number, module = '', leaf = ''] = /^(?:blocks\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name) ?? [];
  if (number !== undefined) {
    const ours = LAYER[module];
    return ours === undefined
      ? undefined
      : { ...vision, part: 'layer', layer: Number(number), name: `${ours}.${leaf}` };
  }
  const rest = Object.hasOwn(REST, module) ? REST[module] : undefined;
  return rest === undefined ? undefined : { ...vision, part: rest[0], name: `image_encoder.${rest[1]}.${leaf}` };
}
