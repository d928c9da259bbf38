/** Layers of each stage, and with Dist-train the ranks of each tower → the layout in a spec. */
import { valueAt } from '../../../spec/json-schema.js';
import type { Draft } from './draft.js';

const VISION = ['image_encoder', 'vision_encoder'] as const;

/** One list for each tower, or in both of them one for each virtual stage. */
export function carryStages(draft: Draft, at: (path: string) => unknown, file: string): void {
  const lists = [
    ['visionLayersPerStage', `${VISION.join('.')}.pipeline_num_layers`],
    ['languageLayersPerStage', 'text_decoder.pipeline_num_layers'],
  ] as const;
  const isVirtual = (layers: unknown): boolean => Array.isArray(layers) && layers.some((row) => Array.isArray(row));
  const anyVirtual = lists.some(([, what]) => isVirtual(at(what)));
  for (const [name, what] of lists) {
    const layers = at(what);
    const path = anyVirtual ? ['layout', 'virtualPipeline', name] : ['layout', name];
    draft.expect(path, { file, what });
    if (anyVirtual && !isVirtual(layers))
      draft.refuse(
        { file, what },
        layers,
        'must be one list for each virtual stage, as it is in the other tower',
        'Write as many lists in both towers.',
      );
    else if (layers !== undefined) draft.carry(path, layers, { file, what });
  }
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
      'must be one list with one number for each stage: Dist-train has no virtual stages',
      'Write the layers of each pipeline stage.',
    );
  else draft.carry(path, layers, origin);
}

/** `dist_config`: the first entry sees, the second one speaks. */
export function carryTowers(draft: Draft, model: unknown, file: string): void {
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
