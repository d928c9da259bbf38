/** Numbers that several parts of the spec share, each with the rule that its refusal prints. */
import { z } from 'zod';

export const count = z.int('must be a whole number').positive('must be at least 1');
export const countOrZero = z.int('must be a whole number').nonnegative('must be 0 or more');
export const positive = z.number('must be a number').positive('must be greater than 0');
export const fraction = z.number('must be a number').min(0, 'must be from 0 to 1').max(1, 'must be from 0 to 1');
