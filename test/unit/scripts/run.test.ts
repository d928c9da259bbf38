/** Running programs: what is tried again, what is not, and the words for people. */
import { expect, test } from 'vitest';
import { isNetworkFailure, lastLines, run } from '../../../scripts/lib/run.mjs';
import { formatBytes, formatDuration } from '../../../scripts/lib/say.mjs';

const failed = (stderr: string) => ({ code: 1, stdout: '', stderr, timedOut: false });

test.each([
  ['error: error sending request: connection reset by peer', true],
  ['Caused by: operation timed out', true],
  ['npm error network read ECONNRESET: connection lost', true],
  ['error: Hash mismatch for `torch==2.7.1`: the connection was fine', false],
  ['× No solution found when resolving dependencies', false],
  ['npm error code EUSAGE', false],
])('%j is a reason to try again: %j', (stderr, expected) => {
  expect(isNetworkFailure(failed(stderr))).toBe(expected);
});

test('a program that succeeded is not tried again, whatever it says', () => {
  expect(isNetworkFailure({ ...failed('warning: connection reset, retried'), code: 0 })).toBe(false);
});

test('a program that hangs is ended at its time limit', async () => {
  expect(await run('sleep', ['60'], { timeoutMs: 100 })).toMatchObject({ timedOut: true, code: 128 });
});

test('a program that does not exist ends with 127 and a reason', async () => {
  expect(await run('no-such-program', [])).toMatchObject({
    code: 127,
    stderr: expect.stringContaining('ENOENT') as string,
  });
});

test('a failed program is quoted by its last lines', () => {
  expect(lastLines(failed('a\nb\nc\n'), 2)).toBe('    b\n    c');
});

test.each([
  [12, '1 kB'],
  [17_951_000, '18 MB'],
  [3.0e9, '3.0 GB'],
])('%d bytes read as %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test.each([
  [40, '0.04 s'],
  [43_800, '43.8 s'],
  [149_100, '2 min 29 s'],
  [59_999, '1 min 0 s'],
])('%d ms read as %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});
