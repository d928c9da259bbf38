/** What the recovery bench reads from the trainers' loss records. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { median, recoveryOf, rowsOf } from '../../bench/support/recoveries.mjs';
import { scratchFolder } from '../../support/scratch.js';

const rows = (...pairs: readonly (readonly [iteration: number, at: number])[]) =>
  pairs.map(([iteration, at]) => ({ iteration, at }));
const trained = [
  [8, 100],
  [9, 101],
  [10, 102],
  [11, 103],
] as const;

test.each([
  ['nothing has happened since', rows(...trained), undefined],
  ['an iteration that was under way has ended after the kill', rows(...trained, [12, 103.6]), undefined],
  ['it trains again, and has not come to what is new', rows(...trained, [9, 110], [10, 111]), undefined],
  ['it has', rows(...trained, [9, 110], [10, 111], [11, 112], [12, 113]), { again: 6.5, fresh: 9.5, lost: 3 }],
  [
    'with an iteration after the kill',
    rows(...trained, [12, 103.6], [12, 110], [13, 111]),
    { again: 6.5, fresh: 7.5, lost: 1 },
  ],
  [
    'it goes on where it was, as after a save',
    rows(...trained, [11, 110], [12, 111]),
    { again: 6.5, fresh: 7.5, lost: 1 },
  ],
])('%s', (_, seen, expected) => {
  expect(recoveryOf(seen, 103.5)).toEqual(expected);
});

test('records of several nodes are one, in the order of time; a line that is being written is none', async () => {
  const folder = await scratchFolder();
  const files = ['a', 'b', 'none'].map((name) => join(folder, name));
  await writeFile(files[0] ?? '', '{"iteration":1,"time":1.5}\n{"iteration":3,"time":3.5}\n{"iter');
  await writeFile(files[1] ?? '', '{"iteration":2,"time":2.5}\n');
  expect(rowsOf(files)).toEqual(rows([1, 1.5], [2, 2.5], [3, 3.5]));
});

test.each([
  [[3, 1, 2], 2],
  [[4, 1, 2, 3], 2.5],
  [[7], 7],
])('the median of %j is %d', (numbers, expected) => {
  expect(median(numbers)).toBe(expected);
});
