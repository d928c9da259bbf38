/** The sizes in a model.json of Qwen2.5-VL → a preset of a spec, which has no other way to name them. */
import { isDeepStrictEqual } from 'node:util';
import type { PresetName } from '../models.js';
import { QWEN_PRESETS } from '../qwen/presets.js';
import type { Draft } from './draft.js';

const TOWER = {
  layers: 'num_layers',
  hiddenSize: 'hidden_size',
  ffnHiddenSize: 'ffn_hidden_size',
  attentionHeads: 'num_attention_heads',
} as const;
const LANGUAGE = {
  ...TOWER,
  keyValueHeads: 'num_query_groups',
  vocabularySize: 'vocab_size',
  maxPositions: 'max_position_embeddings',
  rotaryBase: 'rope_theta',
} as const;

export function carryQwenSizes(draft: Draft, at: (path: string) => unknown, file: string): PresetName | undefined {
  const read = (tower: string, keys: Readonly<Record<string, string>>): Record<string, unknown> =>
    Object.fromEntries(Object.entries(keys).map(([field, key]) => [field, at(`${tower}.${key}`)]));
  const found = {
    vision: read('image_encoder.vision_encoder', TOWER),
    language: {
      ...read('text_decoder', LANGUAGE),
      tieWordEmbeddings: at('text_decoder.untie_embeddings_and_output_weights') === false,
    },
  };
  const names = Object.keys(QWEN_PRESETS) as (keyof typeof QWEN_PRESETS)[];
  const known = names.find((name) => isDeepStrictEqual(QWEN_PRESETS[name].dimensions, found));
  if (known === undefined)
    draft.refuse(
      { file, what: 'sizes' },
      found,
      `must be those of ${names.join(', ')}: a spec has no words for another tower of this family`,
      "Import a script of one of these, with MindSpeed MM's own sizes in model.json.",
    );
  else draft.carry(['model', 'preset'], known, { file, what: 'sizes' });
  return known;
}
