/** What bytes are against what they were promised to be, and the sentences for when they differ. */
import { StoreError } from './errors.js';
import type { FileDigest } from './hash-pool.js';

export function matches(found: FileDigest, expected: FileDigest): boolean {
  return found.sizeBytes === expected.sizeBytes && found.sha256 === expected.sha256;
}

/** For a name that was taken before: whether it holds the file at `path`. Error: `Conflict`. */
export function sameOrConflict(
  what: string,
  path: string,
  found: FileDigest | undefined,
  expected: FileDigest,
): 'same' {
  if (found !== undefined && matches(found, expected)) return 'same';
  throw new StoreError(
    'Conflict',
    `The ${what} already holds other bytes (SHA-256 ${found?.sha256 ?? 'unknown'}) than ${path} (${expected.sha256}); ` +
      'an object is never overwritten. Use a new key.',
  );
}

/** The sentence for bytes that are not the promised ones; says what kind of damage it is. */
export function digestMismatch(what: string, expected: FileDigest, found: FileDigest): StoreError {
  const sizes =
    found.sizeBytes < expected.sizeBytes
      ? `is truncated: it has ${found.sizeBytes} of ${expected.sizeBytes} bytes`
      : found.sizeBytes > expected.sizeBytes
        ? `is too long: it has more than ${expected.sizeBytes} bytes`
        : `has the right size (${expected.sizeBytes} bytes) and the SHA-256 ${found.sha256} instead of ${expected.sha256}`;
  return new StoreError('DigestMismatch', `The ${what} ${sizes}; its bytes are not used.`);
}
