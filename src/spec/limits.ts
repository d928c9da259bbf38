/** How long a training may stand still before it counts as hung; each phase has a limit of its own. */
import { z } from 'zod';
import { positive } from './numbers.js';

export const LimitsSpec = z.strictObject({
  startSeconds: positive.optional().describe('Until all ranks have found each other.'),
  restoreSeconds: positive.optional().describe('Until model and checkpoint are loaded.'),
  firstIterationSeconds: positive.optional().describe('Until the first iteration is done, compilation included.'),
  iterationSeconds: positive.optional().describe('From one iteration to the next.'),
  saveSeconds: positive.optional().describe('From an iteration that is saved to the next, or to the end.'),
});
