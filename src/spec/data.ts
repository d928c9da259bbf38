/** The data set: InternVL-Finetune rows and the images that they name. */
import { z } from 'zod';
import { count, countOrZero } from './numbers.js';
import { relativePath, SourceSpec } from './source.js';

export const DataSpec = z.strictObject({
  source: SourceSpec.describe('A tree with playground/data and playground/opensource, or with a meta JSON.'),
  meta: relativePath.optional().describe("InternVL's meta JSON inside the source; left out, playground/ is searched."),
  imageTokens: count.optional().describe('Image tokens per tile; left out, it follows from the model.'),
  maximumTiles: count
    .optional()
    .describe('max_dynamic_patch: into how many tiles an image is cut at most; left out, as published.'),
  maximumBadRows: countOrZero.default(0).describe('How many unusable rows are dropped before the data is refused.'),
  maximumRows: countOrZero.default(0).describe('Take only so many rows; 0 takes all.'),
});
export type DataSpec = z.output<typeof DataSpec>;
