/** Which store is meant: as settings, and as one line of text that says the same. No secret is in either. */
import { z } from 'zod';
import { StoreError } from './errors.js';
import { checkPrefix } from './keys.js';

const endpoint = z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// address' }).refine((text) => {
  const { username, password, search, hash, pathname } = new URL(text);
  return username === '' && password === '' && search === '' && hash === '' && pathname === '/';
}, 'must be scheme, host and port alone; credentials never belong in an address');

const S3Shape = z.strictObject({
  endpoint: endpoint.optional().describe('Left out: Amazon, by the region.'),
  region: z
    .string()
    .min(1)
    .optional()
    .describe("Left out: that of the SDK's own settings; with an endpoint us-east-1."),
  bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be 3 to 63 of a-z, 0-9, dot and dash'),
  prefix: z.string().default('').refine(isPrefix, 'must be relative segments joined by single slashes'),
  pathStyle: z.boolean().default(false).describe('The bucket stands in the path and not in the host name.'),
  credentialsFile: z
    .string()
    .min(1)
    .optional()
    .describe("A file of AWS's format. Left out: the SDK's chain (environment, profile, role)."),
  fencing: z.enum(['strict', 'weak']).default('strict').describe('weak: take a store that knows no If-None-Match.'),
});
export type S3Settings = z.output<typeof S3Shape>;

export const StoreShape = z
  .strictObject({
    folder: z.string().min(1).optional().describe('A folder that every process of the cluster sees.'),
    s3: S3Shape.optional(),
  })
  .refine(({ folder, s3 }) => (folder === undefined) !== (s3 === undefined), 'must name either "folder" or "s3"');
export type StoreSettings = z.output<typeof StoreShape>;

const scheme = 's3://';

/**
 * `s3://BUCKET/PREFIX?endpoint=URL&pathStyle=true`, with the names of the settings, or a folder.
 * Error: `KeyInvalid` with everything that is wrong.
 */
export function parseStoreAddress(text: string): StoreSettings {
  if (!text.startsWith(scheme)) return { folder: text };
  const [path = '', query = ''] = text.slice(scheme.length).split('?', 2);
  const slash = path.indexOf('/');
  const [bucket, prefix] = slash < 0 ? [path, ''] : [path.slice(0, slash), decodeURIComponent(path.slice(slash + 1))];
  const { pathStyle, ...named } = Object.fromEntries(new URLSearchParams(query));
  const found = { bucket, prefix, ...named, ...(pathStyle === undefined ? {} : { pathStyle: booleanOf(pathStyle) }) };
  const parsed = StoreShape.safeParse({ s3: found });
  if (parsed.success) return parsed.data;
  throw new StoreError('KeyInvalid', `The store ${text} cannot be used:\n${z.prettifyError(parsed.error)}`);
}

export function formatStoreAddress({ folder, s3 }: StoreSettings): string {
  if (s3 === undefined) return folder ?? '';
  const { bucket, prefix, fencing, pathStyle, ...named } = s3;
  const query = new URLSearchParams(
    Object.entries({
      ...named,
      ...(pathStyle ? { pathStyle: 'true' } : {}),
      ...(fencing === 'strict' ? {} : { fencing }),
    }).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  ).toString();
  return `${s3Url(bucket, prefix)}${query === '' ? '' : `?${query}`}`;
}

/** Where a key lies, for people: without the query of an address. */
export function pathInStore(address: string, key: string): string {
  return `${address.replace(/\?.*$/s, '').replace(/\/$/, '')}/${key}`;
}

export function s3Url(bucket: string, prefix: string): string {
  return `${scheme}${bucket}/${prefix.split('/').map(encodeURIComponent).join('/')}`;
}

function isPrefix(prefix: string): boolean {
  try {
    checkPrefix(prefix);
    return true;
  } catch {
    return false;
  }
}

function booleanOf(text: string): boolean | string {
  return text === 'true' ? true : text === 'false' ? false : text;
}
