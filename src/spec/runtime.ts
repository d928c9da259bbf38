/** What runs the training: our CPU trainer on this machine, or MindSpeed MM on Ascend hosts. Nothing else in a spec differs. */
import { z } from 'zod';

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
    }),
  ],
  'must have kind "cpu" or "ascend"',
);
export type RuntimeSpec = z.output<typeof RuntimeSpec>;
