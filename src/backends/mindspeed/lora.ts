/** Adapters instead of weights: which layers get them, and what is trained of a model that has some. */
import { LORA_TARGETS, type LoraSpec, type ModelSpec } from '../../spec/model.js';

export type LoraTarget = (typeof LORA_TARGETS)[number];

/** Once each and in one order, so that two ways to write the same are the same training. */
export function targetsOf({ targets }: LoraSpec): readonly LoraTarget[] {
  return LORA_TARGETS.filter((target) => targets.includes(target));
}

/** What stays as it is: the towers that are frozen, and a projector whose layers get no adapters. */
export function untrained({ freeze, lora }: ModelSpec): ModelSpec['freeze'] {
  if (lora === undefined || lora.targets.includes('linear_fc1') || lora.targets.includes('linear_fc2')) return freeze;
  return freeze.includes('projector') ? freeze : [...freeze, 'projector'];
}
