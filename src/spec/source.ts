/** Where files come from: a folder on the fetching host, or a list of files below one HTTP(S) address. */
import { z } from 'zod';

const relativePath = z
  .string()
  .min(1, 'must not be empty')
  .refine((path) => !path.startsWith('/') && !path.split(/[\\/]/).includes('..'), {
    error: 'must be a relative path that stays below its root: no leading "/" and no ".."',
  });

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 digest: 64 characters of 0-9 and a-f');

/**
 * A source is fetched once per content: for `file:` the fetching host's folder, for `http(s):` each named file below the
 * address, with its digest where the user knows it (a digest makes a silent change at the source an error).
 */
export const SourceSpec = z
  .strictObject({
    uri: z
      .string()
      .regex(/^(file|https?):\/\/\S+$/, 'must begin with "file://", "https://" or "http://"')
      .refine((uri) => !/^https?:\/\/[^/]*@/.test(uri), {
        error: 'must not hold a user name or password; secrets go into the host, never into a spec',
      })
      .describe('A folder (file:///data/model) or the address below which `files` lie.'),
    files: z
      .array(z.strictObject({ path: relativePath, sha256: sha256.optional() }))
      .min(1, 'must name at least one file')
      .max(10_000, 'must name at most 10,000 files')
      .optional()
      .describe('For http(s): the files to fetch. For file: leave it out; everything in the folder is taken.'),
    revision: z.string().min(1).max(200).optional().describe('Any text; another revision is another content.'),
  })
  .superRefine((source, ctx) => {
    const isHttp = !source.uri.startsWith('file://');
    if (isHttp && source.files === undefined)
      ctx.addIssue({
        code: 'custom',
        path: ['files'],
        message: 'must list the files to fetch, since HTTP has no folders',
      });
    if (!isHttp && source.files !== undefined)
      ctx.addIssue({
        code: 'custom',
        path: ['files'],
        message: 'must be left out with file://, where the whole folder is taken',
      });
  });
export type SourceSpec = z.output<typeof SourceSpec>;

export { relativePath };
