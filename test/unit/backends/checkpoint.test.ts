import { expect, test } from 'vitest';
import { backendFor } from '../../../src/backends/backend.js';

const { parseTracker, trackerText, iterationFolder, parseIterationFolder, trackerFile } = backendFor({ kind: 'cpu' });

test.each([
  ['120', { kind: 'iteration', iteration: 120 }],
  ['0', { kind: 'iteration', iteration: 0 }],
  ['20\n', { kind: 'iteration', iteration: 20 }],
  ['release', { kind: 'release' }],
  ['', { kind: 'invalid', text: '' }],
  ['12x', { kind: 'invalid', text: '12x' }],
  ['-5', { kind: 'invalid', text: '-5' }],
  ['1e3', { kind: 'invalid', text: '1e3' }],
])('a tracker that holds %j is read as it stands, or not at all', (text, tracker) => {
  expect(parseTracker(text)).toEqual(tracker);
});

test.each([
  [0, 'iter_0000000'],
  [20, 'iter_0000020'],
  [12_345_678, 'iter_12345678'],
])('iteration %i lies in %s', (iteration, folder) => {
  expect(iterationFolder(iteration)).toBe(folder);
  expect(parseIterationFolder(folder)).toBe(iteration);
});

test.each(['iter_20', 'iter_00000020', 'iter_0000020.tmp', 'release', '../iter_0000020', ''])(
  'the folder %j is none of the trainer',
  (name) => {
    expect(parseIterationFolder(name)).toBeUndefined();
  },
);

test('the tracker is the file that Megatron writes last', () => {
  expect(trackerFile).toBe('latest_checkpointed_iteration.txt');
});

test('a written tracker is read back as the same iteration', () => {
  expect(parseTracker(trackerText(120))).toEqual({ kind: 'iteration', iteration: 120 });
});
