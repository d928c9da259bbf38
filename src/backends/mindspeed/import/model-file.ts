/** model.json → the model and its layout in a spec. */
import { isDeepStrictEqual } from 'node:util';
import { valueAt } from '../../../spec/json-schema.js';
import type { ModelSpec } from '../../../spec/model.js';
import type { Model } from '../job.js';
import { MODELS } from '../models.js';
import type { Draft } from './draft.js';
import { carryInternvlSizes } from './internvl-sizes.js';
import { carryQwenSizes } from './qwen-sizes.js';
import { carryStages, carryTowers } from './stages.js';

const VISION = 'image_encoder.vision_encoder';

const FAMILIES: Readonly<Record<string, ModelSpec['family']>> = {
  InternVL3: 'internvl3',
  'InternVL2.5': 'internvl2.5',
  qwen2_5vl: 'qwen2.5-vl',
};

/** `padId` is data.json's `collate_param.pad_id`; `distTrain` whether the script has the flag. Returns the model, where it is one of the presets. */
export function carryModel(
  draft: Draft,
  model: unknown,
  { file, padId, distTrain }: { file: string; padId: unknown; distTrain: boolean },
): Model | undefined {
  const at = (path: string): unknown => valueAt(model, path.split('.'));
  const modelId = at('model_id');
  const family = FAMILIES[String(modelId)];
  if (family === undefined) {
    draft.refuse(
      { file, what: 'model_id' },
      modelId,
      `must be ${Object.keys(FAMILIES).join(', ')}: this version has no adapter for another family yet`,
      'Import a script of one of these, or go on with bash.',
    );
    return undefined;
  }
  draft.carry(['model', 'family'], family, { file, what: `model_id ${String(modelId)}` });
  const preset =
    family === 'qwen2.5-vl' ? carryQwenSizes(draft, at, file) : carryInternvlSizes(draft, at, { file, family, padId });
  const known = preset === undefined ? undefined : MODELS[preset];
  carryFreeze(draft, at, file);
  carryRecompute(draft, at, file, known?.published.recompute ?? {});
  if (distTrain) carryTowers(draft, model, file);
  else carryStages(draft, at, file);
  return known;
}

/** As `runtime.recompute`, where it is not what the preset of these sizes has anyway. */
function carryRecompute(
  draft: Draft,
  at: (path: string) => unknown,
  file: string,
  published: Model['published']['recompute'],
): void {
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
  if (!isDeepStrictEqual(asked, published))
    draft.carry(['runtime', 'recompute'], asked, { file, what: 'recompute_… of the towers' });
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
