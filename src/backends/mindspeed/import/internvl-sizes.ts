/** The sizes in a model.json of InternVL → a preset of a spec, or its dimensions. */
import { isDeepStrictEqual } from 'node:util';
import { INTERNVL_PRESETS } from '../internvl/presets.js';
import type { PresetName } from '../models.js';
import type { Draft } from './draft.js';

/** Field of the spec's dimensions → where it stands; the first that is there counts. */
const DIMENSIONS: readonly (readonly [path: string, ...from: string[]])[] = [
  ['vision.layers', 'image_encoder.vision_encoder.num_layers'],
  ['vision.hiddenSize', 'image_encoder.vision_encoder.hidden_size'],
  ['vision.ffnHiddenSize', 'image_encoder.vision_encoder.ffn_hidden_size'],
  ['vision.attentionHeads', 'image_encoder.vision_encoder.num_attention_heads'],
  ['vision.imageSize', 'image_encoder.vision_encoder.image_size'],
  ['vision.patchSize', 'image_encoder.vision_encoder.patch_size'],
  ['vision.qkvBias', 'image_encoder.vision_encoder.add_qkv_bias'],
  ['vision.qkLayerNorm', 'image_encoder.vision_encoder.qk_layernorm'],
  ['vision.normalization', 'image_encoder.vision_encoder.normalization'],
  ['vision.dropPathRate', 'image_encoder.vision_encoder.drop_path_rate'],
  ['language.layers', 'text_decoder.num_layers'],
  ['language.hiddenSize', 'text_decoder.hidden_size'],
  ['language.ffnHiddenSize', 'text_decoder.ffn_hidden_size'],
  ['language.attentionHeads', 'text_decoder.num_attention_heads'],
  ['language.keyValueHeads', 'text_decoder.num_query_groups', 'text_decoder.num_key_value_heads'],
  ['language.vocabularySize', 'text_decoder.vocab_size'],
  ['language.maxPositions', 'text_decoder.max_position_embeddings'],
  ['language.rotaryBase', 'text_decoder.rotary_base'],
  ['language.imageTokenId', 'img_context_token_id'],
  ['language.layerNormEpsilon', 'text_decoder.layernorm_epsilon'],
  ['downsampleRatio', 'downsample_ratio'],
];

/** By name where they are those of a preset, else written out. `padId` is data.json's `collate_param.pad_id`. */
export function carryInternvlSizes(
  draft: Draft,
  at: (path: string) => unknown,
  { file, family, padId }: { file: string; family: string; padId: unknown },
): PresetName | undefined {
  const dimensions = { vision: {}, language: {} };
  const set = (path: string, value: unknown): void => {
    const [group = '', field] = path.split('.');
    const target = (field === undefined ? dimensions : dimensions[group as 'vision' | 'language']) as Record<
      string,
      unknown
    >;
    if (value !== undefined) target[field ?? group] = value;
  };
  for (const [path, ...from] of DIMENSIONS) {
    const found = from.find((one) => at(one) !== undefined);
    set(path, found === undefined ? undefined : at(found));
    draft.expect(['model', 'dimensions', ...path.split('.')], { file, what: found ?? from[0] ?? path });
  }
  set('language.tieWordEmbeddings', at('text_decoder.untie_embeddings_and_output_weights') === false);
  set('language.paddingTokenId', padId);
  draft.expect(['model', 'dimensions', 'language', 'paddingTokenId'], {
    file: 'data.json',
    what: 'dataloader_param.collate_param.pad_id',
  });
  const names = Object.keys(INTERNVL_PRESETS) as (keyof typeof INTERNVL_PRESETS)[];
  const known = names.find((name) => {
    const preset = INTERNVL_PRESETS[name];
    return preset.family === family && isDeepStrictEqual(preset.dimensions, dimensions);
  });
  if (known === undefined) draft.carry(['model', 'dimensions'], dimensions, { file, what: 'sizes' });
  else draft.carry(['model', 'preset'], known, { file, what: 'sizes' });
  return known;
}
