/** What an activity throws, as a failure of the contract's table. */
import { writeFile } from 'node:fs/promises';
import { ApplicationFailure } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { expect, test } from 'vitest';
import { orFail, orHostFailure } from '../../../src/activities/fail.js';
import { StoreError } from '../../../src/storage/errors.js';
import { quietRuntime } from '../../support/quiet-runtime.js';

quietRuntime();

const fullDisk = (): Promise<void> => writeFile('/dev/full', 'one byte');
const damaged = (): Promise<never> => Promise.reject(new StoreError('DigestMismatch', 'Other bits.'));
const mistake = (): Promise<never> => Promise.reject(new Error('x is not a function'));

test.each([
  ['a full disk', () => orFail(fullDisk), 'HostFull', true],
  ['a full disk of a named host', () => orHostFailure('host-a', fullDisk), 'HostFull', true],
  ['what a store says', () => orHostFailure('host-a', damaged), 'ArtifactCorrupt', true],
  [
    'a mistake of ours on a host, which the workflow counts',
    () => orHostFailure('host-a', mistake),
    'CommandFailed',
    true,
  ],
])('%s', async (_, work, type, nonRetryable) => {
  const error: unknown = await work().catch((one: unknown) => one);
  if (!(error instanceof ApplicationFailure)) throw new Error(`It threw ${String(error)}.`);
  expect({ type: error.type, nonRetryable: error.nonRetryable }).toEqual({ type, nonRetryable });
});

test.each([
  [1, false],
  [5, true],
])('what no table foresees is tried again, and not for ever: attempt %i', async (attempt, nonRetryable) => {
  const environment = new MockActivityEnvironment({ attempt });
  const error: unknown = await environment.run(() => orFail(mistake)).catch((one: unknown) => one);
  expect(error).toMatchObject({ type: 'Unexpected', message: 'Unexpected: x is not a function', nonRetryable });
});
