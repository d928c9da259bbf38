/** Which layers are computed again in the backward pass: what the spec says, else what the published file of the preset says. */
import { featuresOf, type RuntimeFeatures } from '../../spec/runtime.js';
import type { Job } from './job.js';

type Asked = NonNullable<RuntimeFeatures['recompute']>;

function recomputeOf({ spec, model }: Pick<Job, 'spec' | 'model'>): Asked {
  return featuresOf(spec.runtime).recompute ?? model.published.recompute;
}

export function recomputedTowers(job: Pick<Job, 'spec' | 'model'>): readonly ('vision' | 'language')[] {
  const asked = recomputeOf(job);
  return (['vision', 'language'] as const).filter((tower) => asked[tower] !== undefined);
}

/** Keys of a tower in model.json. */
export function recomputeKeys(
  job: Pick<Job, 'spec' | 'model'>,
  tower: 'vision' | 'language',
): Record<string, string | number> {
  const asked = recomputeOf(job)[tower];
  if (asked === undefined) return {};
  return { recompute_granularity: 'full', recompute_method: asked.method, recompute_num_layers: asked.layers };
}
