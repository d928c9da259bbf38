/** What runs the training: our CPU trainer on this machine, or MindSpeed MM on Ascend hosts, with the ways of its own. Nothing else in a spec differs. */
import { z } from 'zod';
import { count } from './numbers.js';

/** Layers that are computed again in the backward pass: less memory, more time. */
const recompute = z.strictObject({
  method: z.enum(['uniform', 'block'], 'must be uniform or block').describe('recompute_method'),
  layers: count.describe('recompute_num_layers: of a chunk (uniform), or of each stage (block)'),
});

/** Of MindSpeed MM 2.2.0. Left out, each is as in the published scripts. `--x` names the flag. */
const features = {
  distributedOptimizer: z.boolean().optional().describe('--use-distributed-optimizer; left out, true'),
  overlapGradientReduce: z.boolean().optional().describe('--overlap-grad-reduce'),
  overlapParameterGather: z.boolean().optional().describe('--overlap-param-gather, with overlapGradientReduce'),
  fusedOperators: z
    .array(z.enum(['rmsnorm', 'swiglu', 'rotary'], 'must be rmsnorm, swiglu or rotary'))
    .optional()
    .describe('--use-fused-rmsnorm, --use-fused-swiglu, --use-fused-rotary-pos-emb'),
  recompute: z
    .strictObject({ vision: recompute.optional(), language: recompute.optional() })
    .optional()
    .describe('Layers computed again in the backward pass; left out, as in the published file of the preset.'),
  dataBuckets: z
    .enum(['speed', 'accuracy'], 'must be speed or accuracy')
    .optional()
    .describe('BucketBatchSampler: rows with images of one shape together (speed), or sorted by tiles in each batch.'),
  encoderBalance: z.boolean().optional().describe('--encoder-dp-balance'),
  lossPer: z
    .enum(['microBatch', 'sample', 'token'], 'must be microBatch, sample or token')
    .optional()
    .describe('--calculate-per-sample-loss or --calculate-per-token-loss; left out, microBatch'),
  deterministic: z.boolean().optional().describe('--use-deter-comp'),
} as const;

export const RuntimeSpec = z.discriminatedUnion(
  'kind',
  [
    z.strictObject({ kind: z.literal('cpu') }),
    z.strictObject({
      kind: z.literal('ascend'),
      mindspeedRelease: z.enum(
        ['2.2.0'],
        'must be 2.2.0, the only release with both InternVL3 fine-tuning and Dist-train',
      ),
      ...features,
    }),
  ],
  'must have kind "cpu" or "ascend"',
);
export type RuntimeSpec = z.output<typeof RuntimeSpec>;

export type RuntimeFeatures = Omit<Extract<RuntimeSpec, { kind: 'ascend' }>, 'kind' | 'mindspeedRelease'>;

/** What a spec asks of MindSpeed MM beyond the published script; nothing on the CPU runtime. */
export function featuresOf(runtime: RuntimeSpec): RuntimeFeatures {
  if (runtime.kind === 'cpu') return {};
  const { kind: _, mindspeedRelease: __, ...rest } = runtime;
  return rest;
}

/** As in every published script, unless the spec says no. The CPU trainer has it always. */
export function hasDistributedOptimizer(runtime: RuntimeSpec): boolean {
  return featuresOf(runtime).distributedOptimizer ?? true;
}
