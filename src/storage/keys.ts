/** The names that a store accepts: one rule for every store, so that no key works on a folder and fails on S3, or leaves its root. */
import { StoreError } from './errors.js';

/** The limit of S3; a folder's own limits are per segment. */
const maxKeyBytes = 1024;
const maxSegmentBytes = 255;
// eslint-disable-next-line no-control-regex -- control characters are what this looks for
const controlCharacter = /[\u0000-\u001f\u007f]/;

/** First segment that the folder store keeps for unfinished files; refused in every store, so that stores stay interchangeable. */
export const reservedSegment = '.tmp';

/** Throws `KeyInvalid` unless `key` is a relative path of plain segments, as `runs/a/log/000001.json`. */
export function checkKey(key: string): void {
  const why = faultOf(key);
  if (why !== undefined) throw invalid('key', key, why);
}

/** Throws `KeyInvalid` unless `prefix` could be the beginning of a key; empty means everything. */
export function checkPrefix(prefix: string): void {
  if (prefix === '') return;
  const why = faultOf(prefix.endsWith('/') ? prefix.slice(0, -1) : prefix);
  if (why !== undefined) throw invalid('prefix', prefix, why);
}

export function isKey(key: string): boolean {
  return faultOf(key) === undefined;
}

/** Order of keys by their UTF-8 bytes, as S3 lists them (JavaScript's own order differs beyond the basic plane). */
export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Throws `KeyInvalid` if a path is there twice, or is a folder of another one: such a set cannot lie in a folder. */
export function checkPathSet(paths: readonly string[]): void {
  const seen = new Set<string>();
  for (const path of paths) {
    if (seen.has(path)) {
      throw new StoreError(
        'KeyInvalid',
        `The path ${JSON.stringify(path)} is there twice; give each file a path of its own.`,
      );
    }
    seen.add(path);
  }
  for (const path of paths) {
    checkKey(path);
    for (let cut = path.indexOf('/'); cut > 0; cut = path.indexOf('/', cut + 1)) {
      const parent = path.slice(0, cut);
      if (!seen.has(parent)) continue;
      const message = `The path ${JSON.stringify(parent)} is a file and also the folder of ${JSON.stringify(path)}; rename one of them.`;
      throw new StoreError('KeyInvalid', message);
    }
  }
}

function faultOf(key: string): string | undefined {
  if (key === '') return 'is empty';
  if (key.startsWith('/')) return 'is absolute';
  if (controlCharacter.test(key)) return 'holds a control character';
  // An unpaired surrogate has no UTF-8 form: two such keys would become one file.
  if (Buffer.from(key).toString() !== key) return 'is not well-formed Unicode';
  if (Buffer.byteLength(key) > maxKeyBytes) return `is longer than ${maxKeyBytes} bytes`;
  const segments = key.split('/');
  if (segments[0] === reservedSegment) return `begins with the reserved segment "${reservedSegment}"`;
  for (const segment of segments) {
    if (segment === '') return 'has an empty segment';
    if (segment === '.' || segment === '..') return `has the segment "${segment}"`;
    if (Buffer.byteLength(segment) > maxSegmentBytes) return `has a segment longer than ${maxSegmentBytes} bytes`;
  }
  return undefined;
}

function invalid(what: string, name: string, why: string): StoreError {
  const shown = JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
  return new StoreError('KeyInvalid', `The ${what} ${shown} ${why}; use relative segments joined by single slashes.`);
}
