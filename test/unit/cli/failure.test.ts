/** What an error of a store means to a script: a store that is named wrongly is refused, one that is away is a failure. */
import { expect, test } from 'vitest';
import { failureOf } from '../../../src/cli/failure.js';
import { StoreError, type StoreErrorCode } from '../../../src/storage/errors.js';

test.each<readonly [StoreErrorCode, number]>([
  ['KeyInvalid', 2],
  ['CannotFence', 2],
  ['Unavailable', 1],
  ['DigestMismatch', 1],
])('a store error %s ends a command with %i and its own sentence', (code, exit) => {
  expect(failureOf(new StoreError(code, 'What is wrong.'))).toEqual({ code: exit, text: 'What is wrong.' });
});
