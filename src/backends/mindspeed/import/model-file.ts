/** model.json → the model and its layout in a spec. */
import { isDeepStrictEqual } from 'node:util';
import { valueAt } from '../../../spec/json-schema.js';
import { type Preset, PRESETS } from '../presets.js';
import type { Draft } from './draft.js';
import { carryStages, carryTowers } from './stages.js';

const VISION = 'image_encoder.vision_encoder';

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

/** `padId` is data.json's `collate_param.pad_id`; `distTrain` whether the script has the flag. */
export function carryModel(
  draft: Draft,
  model: unknown,
  { file, padId, distTrain }: { file: string; padId: unknown; distTrain: boolean },
): void {
  const at = (path: string): unknown => valueAt(model, path.split('.'));
  const modelId = at('model_id');
  const family = modelId === 'InternVL3' ? 'internvl3' : modelId === 'InternVL2.5' ? 'internvl2.5' : undefined;
  if (family === undefined) {
    draft.refuse(
      { file, what: 'model_id' },
      modelId,
      'must be InternVL3 or InternVL2.5: this version has no adapter for another family yet',
      'Import a script of one of these, or go on with bash.',
    );
    return;
  }
  draft.carry(['model', 'family'], family, { file, what: `model_id ${String(modelId)}` });
  const preset = carrySizes(draft, at, file, { padId, family });
  carryFreeze(draft, at, file);
  carryRecompute(draft, at, file, preset);
  if (distTrain) carryTowers(draft, model, file);
  else carryStages(draft, at, file);
}

/** As `runtime.recompute`, where it is not what the preset of these sizes has anyway. */
function carryRecompute(draft: Draft, at: (path: string) => unknown, file: string, preset: Preset | undefined): void {
  const towers = { vision: VISION, language: 'text_decoder' };
  const asked: Record<string, unknown> = {};
  for (const [tower, where] of Object.entries(towers)) {
    const granularity = at(`${where}.recompute_granularity`);
    if (granularity === undefined || granularity === null) continue;
    if (granularity !== 'full') {
      const rule = 'must be full: a spec recomputes whole layers, or none';
      draft.refuse(
        { file, what: `${where}.recompute_granularity` },
        granularity,
        rule,
        'Set it to full, or remove it.',
      );
      return;
    }
    asked[tower] = { method: at(`${where}.recompute_method`), layers: at(`${where}.recompute_num_layers`) };
  }
  const published = preset?.extras.recomputeLanguage === true ? { language: { method: 'uniform', layers: 1 } } : {};
  if (!isDeepStrictEqual(asked, published))
    draft.carry(['runtime', 'recompute'], asked, { file, what: 'recompute_… of the towers' });
}

function carrySizes(
  draft: Draft,
  at: (path: string) => unknown,
  file: string,
  { padId, family }: { readonly padId: unknown; readonly family: string },
): Preset | undefined {
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
  const known = Object.entries(PRESETS).find(
    ([name, preset]) => name.startsWith(family) && isDeepStrictEqual(preset.dimensions, dimensions),
  );
  if (known === undefined) draft.carry(['model', 'dimensions'], dimensions, { file, what: 'sizes' });
  else draft.carry(['model', 'preset'], known[0], { file, what: 'sizes' });
  return known?.[1];
}

/** Left out, MindSpeed MM freezes the vision tower, and neither of the others. */
function carryFreeze(draft: Draft, at: (path: string) => unknown, file: string): void {
  const towers = [
    ['vision', at('image_encoder.vision_encoder.freeze') !== false],
    ['projector', at('image_encoder.vision_projector.freeze') === true],
    ['language', at('text_decoder.freeze') === true],
  ] as const;
  draft.carry(
    ['model', 'freeze'],
    towers.filter(([, isFrozen]) => isFrozen).map(([tower]) => tower),
    { file, what: 'freeze of the towers' },
  );
}
