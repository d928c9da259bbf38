/** What tensor, context and virtual pipeline sizes must divide; checked before a host is taken. */
import type { ModelSizes } from './model-sizes.js';
import type { Refusal } from '../spec/refusal.js';
import type { Layout } from './layout.js';

interface SplitQuestion {
  readonly layout: Layout;
  readonly dimensions: ModelSizes;
  readonly globalBatchSize: number;
  readonly microBatchSize: number;
  readonly sequenceLength: number;
}
type TowerName = 'vision' | 'language';

export function splitRules(question: SplitQuestion): readonly Refusal[] {
  return [...headRules(question), ...widthRules(question), ...sequenceRules(question), ...interleavingRules(question)];
}

/** Where the user wrote a tower's tensor size. */
export function tensorPath(layout: Layout, tower: TowerName): string {
  return layout.distTrain ? `layout.distTrain.${tower}.tensorParallel` : 'layout.tensorParallel';
}

function headRules({ layout, dimensions }: SplitQuestion): Refusal[] {
  const tp = layout.language.tensorParallel;
  const heads = dimensions.language.keyValueHeads;
  if (heads % tp === 0) return [];
  return [
    {
      path: tensorPath(layout, 'language'),
      value: tp,
      rule: `must divide the ${String(heads)} key-value heads of the language tower`,
      remedy: `Use one of ${divisors(heads).join(', ')}.`,
    },
  ];
}

/** Heads may lie unevenly on tensor ranks; of a feed-forward part the converter would drop the remainder without a word. */
function widthRules({ layout, dimensions }: SplitQuestion): Refusal[] {
  return (['vision', 'language'] as const).flatMap((name): Refusal[] => {
    const tp = layout[name].tensorParallel;
    const { ffnHiddenSize, attentionHeads } = dimensions[name];
    const path = tensorPath(layout, name);
    if (ffnHiddenSize % tp !== 0)
      return [
        {
          path,
          value: tp,
          rule: `must divide the ffnHiddenSize of the ${name} tower, ${String(ffnHiddenSize)}`,
          remedy: `Use one of ${divisors(ffnHiddenSize)
            .filter((size) => size < tp)
            .slice(-4)
            .join(', ')}.`,
        },
      ];
    if (tp <= attentionHeads) return [];
    return [
      {
        path,
        value: tp,
        rule: `must be at most the ${String(attentionHeads)} attention heads of the ${name} tower`,
        remedy: `Use ${String(attentionHeads)} or less.`,
      },
    ];
  });
}

/** Ring attention gives each context rank two pieces of a sequence, one from either end. */
function sequenceRules({ layout, sequenceLength }: SplitQuestion): Refusal[] {
  const pieces = 2 * layout.language.contextParallel;
  if (pieces === 2 || sequenceLength % pieces === 0) return [];
  return [
    {
      path: 'training.sequenceLength',
      value: sequenceLength,
      rule: `must be a multiple of 2 x contextParallel = ${String(pieces)}`,
      remedy: `Use ${String(Math.ceil(sequenceLength / pieces) * pieces)}.`,
    },
  ];
}

/** Megatron's interleaved schedule takes micro-batches in rounds of as many as there are pipeline ranks. */
function interleavingRules({ layout, globalBatchSize, microBatchSize }: SplitQuestion): Refusal[] {
  const { pipelineParallel, dataParallel } = layout.language;
  const round = microBatchSize * dataParallel * pipelineParallel;
  // A batch that replicas cannot share is refused by that rule.
  if (layout.virtualStages === 1 || globalBatchSize % (microBatchSize * dataParallel) !== 0) return [];
  if (globalBatchSize % round === 0) return [];
  return [
    {
      path: 'training.globalBatchSize',
      value: globalBatchSize,
      rule:
        `must be a multiple of microBatchSize x data parallel size x pipeline ranks with virtualPipeline = ` +
        `${String(microBatchSize)} x ${String(dataParallel)} x ${String(pipelineParallel)} = ${String(round)}`,
      remedy: `Use ${String(Math.max(1, Math.round(globalBatchSize / round)) * round)}.`,
    },
  ];
}

function divisors(value: number): number[] {
  return Array.from({ length: value }, (_, index) => index + 1).filter((candidate) => value % candidate === 0);
}
