/** How the result is judged and what it is called when it passes. */
import { z } from 'zod';
import { countOrZero, fraction } from './numbers.js';

export const EvaluationSpec = z.strictObject({
  heldOutFraction: z
    .number('must be a number')
    .gt(0, 'must be greater than 0, else nothing is left to judge the result by')
    .lt(1, 'must be below 1, else nothing is left to train on')
    .default(0.2)
    .describe('Share of the images whose rows are held out of training.'),
  minimumAccuracy: fraction.default(0).describe('The gate: exact-match accuracy on held-out rows, 0 to 1.'),
  maximumSamples: countOrZero.default(0).describe('Judge only so many held-out rows; 0 judges all.'),
});
export type EvaluationSpec = z.output<typeof EvaluationSpec>;

export const PublishSpec = z.strictObject({
  model: z
    .string()
    .regex(/^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/, 'must be 1 to 63 of a-z, 0-9, dot, dash and underscore')
    .describe('The name under which a result that passes the gate is promoted.'),
});
export type PublishSpec = z.output<typeof PublishSpec>;
