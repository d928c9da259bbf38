/** Tensor names of a Qwen2 language tower, which both families have: the publisher's to the trainer's. */

/** One publisher's tensor in the trainer's words. */
export interface Mapped {
  readonly tower: 'vision' | 'language';
  readonly part: 'embedding' | 'layer' | 'head';
  /** In the whole tower. */
  readonly layer: number;
  /** What the trainer calls the list of layers that this one is in. */
  readonly layers: string;
  /** Behind the layer's number, for a part of one. */
  readonly name: string;
}

/** How one family's converter of MindSpeed MM 2.2.0 names what it makes. */
export interface FamilyNames {
  readonly converter: string;
  /** Of the publisher's vision tower. */
  readonly prefix: string;
  /** Undefined for a tensor that the converter does not know. */
  mapped(name: string): Mapped | undefined;
}

const LAYER: Readonly<Record<string, string>> = {
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
const REST: Readonly<Record<string, readonly ['embedding' | 'head', string]>> = {
  'model.embed_tokens.weight': ['embedding', 'text_decoder.embedding.word_embeddings.weight'],
  'model.norm.weight': ['head', 'text_decoder.decoder.final_layernorm.weight'],
  'lm_head.weight': ['head', 'text_decoder.output_layer.weight'],
};

export function languageTensor(name: string): Mapped | undefined {
  const found = /^model\.layers\.(\d+)\.(.+?)\.(weight|bias)$/.exec(name);
  if (found === null) {
    const rest = Object.hasOwn(REST, name) ? REST[name] : undefined;
    return rest === undefined ? undefined : { tower: 'language', part: rest[0], layer: 0, layers: '', name: rest[1] };
  }
  const module = LAYER[found[2] ?? ''];
  if (module === undefined) return undefined;
  return {
    tower: 'language',
    part: 'layer',
    layer: Number(found[1]),
    layers: 'text_decoder.decoder.layers',
    name: `${module}.${found[3] ?? ''}`,
  };
}
