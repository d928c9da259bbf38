/** What MindSpeed MM 2.2.0 cannot do together, whatever the family; by its code and its documents, checked before a host is taken. */
import type { Refusal } from '../../spec/refusal.js';
import { featuresOf, hasDistributedOptimizer } from '../../spec/runtime.js';
import type { Question } from './job.js';

export function checkFeatures(question: Question): readonly Refusal[] {
  return [...optimizerRules(question), ...recomputeRules(question), ...freezeRules(question)];
}

function optimizerRules({ spec }: Question): Refusal[] {
  const { overlapGradientReduce, overlapParameterGather } = featuresOf(spec.runtime);
  if (overlapParameterGather !== true) return [];
  const found: Refusal[] = [];
  const path = 'runtime.overlapParameterGather';
  if (overlapGradientReduce !== true)
    found.push({
      path,
      value: true,
      rule: 'must go with overlapGradientReduce: Megatron refuses --overlap-param-gather without --overlap-grad-reduce',
      remedy: 'Set runtime.overlapGradientReduce to true as well, or leave both out.',
    });
  if (!hasDistributedOptimizer(spec.runtime))
    found.push({
      path,
      value: true,
      rule: 'must go with the distributed optimizer, which is what gathers parameters',
      remedy: 'Leave runtime.distributedOptimizer out, or this.',
    });
  return found;
}

function recomputeRules({ spec, model }: Question): Refusal[] {
  const asked = featuresOf(spec.runtime).recompute ?? {};
  return (['vision', 'language'] as const).flatMap((tower): Refusal[] => {
    const layers = asked[tower]?.layers ?? 0;
    const all = model.dimensions[tower].layers;
    if (layers <= all) return [];
    return [
      {
        path: `runtime.recompute.${tower}.layers`,
        value: layers,
        rule: `must be at most the ${String(all)} layers of the ${tower} tower`,
        remedy: 'Use 1 to recompute each layer by itself.',
      },
    ];
  });
}

function freezeRules({ spec }: Question): Refusal[] {
  if (!spec.model.freeze.includes('language')) return [];
  return [
    {
      path: 'model.freeze',
      value: spec.model.freeze,
      rule: 'must not hold "language": MindSpeed MM 2.2.0 has no switch for it and would train the language tower',
      remedy: 'Take "language" out.',
    },
  ];
}
