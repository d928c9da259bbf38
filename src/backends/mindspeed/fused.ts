/** Which operators run as one: what the spec says, else what the published script and files say. */
import { featuresOf } from '../../spec/runtime.js';
import type { FusedOperator } from './family.js';
import type { Job } from './job.js';

export function fusedOperatorsOf({ spec, model }: Pick<Job, 'spec' | 'model'>): readonly FusedOperator[] {
  return featuresOf(spec.runtime).fusedOperators ?? model.published.fusedOperators;
}
