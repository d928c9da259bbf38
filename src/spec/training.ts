/** What a user asks of the training stage and of its checkpoints. `--x` names the Megatron flag. */
import { z } from 'zod';
import { count, countOrZero, positive } from './numbers.js';
import { SourceSpec } from './source.js';

export const TrainingSpec = z.strictObject({
  iterations: count.describe('--train-iters'),
  globalBatchSize: count.describe('--global-batch-size'),
  microBatchSize: count.describe('--micro-batch-size'),
  sequenceLength: count.describe('--seq-length, tokens'),
  learningRate: positive.describe('--lr'),
  minimumLearningRate: z.number('must be a number').nonnegative('must be 0 or more').default(0).describe('--min-lr'),
  learningRateDecay: z
    .enum(['cosine', 'constant'], 'must be cosine or constant')
    .default('cosine')
    .describe('--lr-decay-style'),
  warmupIterations: countOrZero.default(0).describe('--lr-warmup-iters'),
  weightDecay: z.number('must be a number').nonnegative('must be 0 or more').default(0.05).describe('--weight-decay'),
  clipGradient: z
    .number('must be a number')
    .nonnegative('must be 0 or more')
    .default(1)
    .describe('--clip-grad; 0 clips nothing'),
  adamBeta1: z.number('must be a number').min(0).lt(1, 'must be below 1').default(0.9),
  adamBeta2: z.number('must be a number').min(0).lt(1, 'must be below 1').default(0.999),
  initFrom: SourceSpec.optional().describe(
    'A Megatron save folder of this model, in any layout, whose weights training begins from instead of those of model.source.',
  ),
  seed: z.int('must be a whole number').nonnegative('must be 0 or more').default(1234).describe('--seed'),
});
export type TrainingSpec = z.output<typeof TrainingSpec>;

export const CheckpointSpec = z.strictObject({
  everyIterations: count.describe('--save-interval: the most work that a lost host can cost'),
  keep: count.default(2).describe('Committed checkpoints kept; older ones are dropped.'),
});
export type CheckpointSpec = z.output<typeof CheckpointSpec>;
