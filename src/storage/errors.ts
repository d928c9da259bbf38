/** The typed errors of the store: a code for programs, and a whole sentence for people. */

/**
 * `NotFound` no such object or source, `Conflict` the name is taken by other bytes, `DigestMismatch` bytes are not those that were
 * promised, `Unavailable` could succeed later with the same input, `KeyInvalid` a name or address that is never accepted,
 * `CannotFence` the store lets a second writer replace an object.
 */
export type StoreErrorCode = 'NotFound' | 'Conflict' | 'DigestMismatch' | 'Unavailable' | 'KeyInvalid' | 'CannotFence';

export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: StoreErrorCode;

  constructor(code: StoreErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** True for a StoreError, and with `code` only for that kind. */
export function isStoreError(error: unknown, code?: StoreErrorCode): error is StoreError {
  return error instanceof StoreError && (code === undefined || error.code === code);
}

/** True for an error of the operating system with one of these codes, as `ENOENT`. */
export function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code);
}

const remedies: Readonly<Record<string, string>> = {
  ENOSPC: 'The disk is full: free some space, the work goes on from where it was.',
  EDQUOT: 'The disk quota is used up: free some space, the work goes on from where it was.',
  EACCES: 'Give this user the right to read and write there.',
  EPERM: 'Give this user the right to write there, on a file system that has hard links.',
  ENOTSUP: 'The store needs a file system that has hard links.',
  EROFS: 'The file system is mounted read-only: mount it writable or choose another folder.',
  EMFILE: 'Too many files are open: raise the limit with `ulimit -n`.',
};

/** Turns an error of the operating system into `Unavailable`, with what was tried and a remedy; a StoreError or an abort stays as it is. */
export function storeErrorOf(error: unknown, tried: string): unknown {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return error;
  if (error instanceof StoreError || !('syscall' in error)) return error;
  const remedy = remedies[error.code];
  return new StoreError('Unavailable', `Could not ${tried} (${error.message}).${remedy ? ` ${remedy}` : ''}`, error);
}
