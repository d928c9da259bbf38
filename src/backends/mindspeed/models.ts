/** Every model that can be trained: by the name of its preset, or by dimensions that a spec writes out. */
import type { ModelSpec } from '../../spec/model.js';
import type { Model } from './job.js';
import { internvl } from './internvl/family.js';
import { INTERNVL_PRESETS, plainPreset } from './internvl/presets.js';
import { qwen25vl } from './qwen/family.js';
import { QWEN_PRESETS } from './qwen/presets.js';

export type PresetName = NonNullable<ModelSpec['preset']>;

export const MODELS: Readonly<Record<PresetName, Model>> = {
  ...modelsOf(INTERNVL_PRESETS, internvl),
  ...modelsOf(QWEN_PRESETS, qwen25vl),
};

export function modelOf({ family, preset, dimensions }: ModelSpec): Model {
  if (preset !== undefined) return MODELS[preset];
  if (dimensions === undefined || family === 'qwen2.5-vl')
    throw new Error('The spec names neither model.preset nor dimensions of its family, which its own rules refuse.');
  return internvl(plainPreset(family, dimensions));
}

function modelsOf<Name extends string, Preset>(
  presets: Readonly<Record<Name, Preset>>,
  family: (preset: Preset) => Model,
): Readonly<Record<Name, Model>> {
  const made = Object.entries<Preset>(presets).map(([name, preset]) => [name, family(preset)] as const);
  return Object.fromEntries(made) as Record<Name, Model>;
}
