/** model.json → the model and its layout in a spec. */
import { isDeepStrictEqual } from 'node:util';
import { valueAt } from '../../../spec/json-schema.js';
import { PRESETS } from '../presets.js';
import type { Draft } from './draft.js';

const VISION = ['image_encoder', 'vision_encoder'] as const;

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
  if (modelId !== 'InternVL3') {
    draft.refuse(
      { file, what: 'model_id' },
      modelId,
      'must be InternVL3: this version has no adapter for another family yet',
      'Import a script of InternVL3, or go on with bash.',
    );
    return;
  }
  draft.carry(['model', 'family'], 'internvl3', { file, what: `model_id ${modelId}` });
  carrySizes(draft, at, file, padId);
  carryFreeze(draft, at, file);
  if (distTrain) carryTowers(draft, model, file);
  else {
    carryLayers(draft, at(`${VISION.join('.')}.pipeline_num_layers`), ['layout', 'visionLayersPerStage'], {
      file,
      what: `${VISION.join('.')}.pipeline_num_layers`,
    });
    carryLayers(draft, at('text_decoder.pipeline_num_layers'), ['layout', 'languageLayersPerStage'], {
      file,
      what: 'text_decoder.pipeline_num_layers',
    });
  }
}

function carrySizes(draft: Draft, at: (path: string) => unknown, file: string, padId: unknown): void {
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
  const known = Object.entries(PRESETS).find(([, preset]) => isDeepStrictEqual(preset.dimensions, dimensions));
  if (known === undefined) draft.carry(['model', 'dimensions'], dimensions, { file, what: 'sizes' });
  else draft.carry(['model', 'preset'], known[0], { file, what: 'sizes' });
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

function carryLayers(
  draft: Draft,
  layers: unknown,
  path: readonly string[],
  origin: { readonly file: string; readonly what: string },
): void {
  draft.expect(path, origin);
  if (layers === undefined) return;
  if (Array.isArray(layers) && layers.some((row) => Array.isArray(row)))
    draft.refuse(
      origin,
      layers,
      'must be one list with one number for each stage, since a spec has no virtual stages yet',
      'Write the layers of each pipeline stage, and remove --virtual-pipeline-model-parallel-size.',
    );
  else draft.carry(path, layers, origin);
}

/** `dist_config`: the first entry sees, the second one speaks. */
function carryTowers(draft: Draft, model: unknown, file: string): void {
  const what = 'dist_config';
  const entries = valueAt(model, ['dist_config', 'model_config']);
  if (!Array.isArray(entries) || entries.length !== 2) {
    draft.refuse(
      { file, what },
      valueAt(model, ['dist_config']),
      'must have model_config with two entries, vit and gpt, since the script has --dist-train',
      'Add it, or remove --dist-train.',
    );
    return;
  }
  const layers = { vision: [...VISION, 'pipeline_num_layers'], language: ['text_decoder', 'pipeline_num_layers'] };
  for (const [index, tower] of (['vision', 'language'] as const).entries()) {
    const from = `${what}.model_config.${String(index)}`;
    const size = (key: string): unknown => valueAt(entries[index], [key]);
    const path = ['layout', 'distTrain', tower];
    draft.carry([...path, 'npus'], size('world_size'), { file, what: `${from}.world_size` });
    draft.carry([...path, 'tensorParallel'], size('tensor_model_parallel_size') ?? 1, {
      file,
      what: `${from}.tensor_model_parallel_size`,
    });
    carryLayers(draft, valueAt(model, layers[tower]), [...path, 'layersPerStage'], {
      file,
      what: layers[tower].join('.'),
    });
    const context = size('context_parallel_size') ?? 1;
    if (context !== 1)
      draft.refuse(
        { file, what: `${from}.context_parallel_size` },
        context,
        'must be 1: a spec has no context parallel size with Dist-train',
        'Set it to 1.',
      );
  }
}
