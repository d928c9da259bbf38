/** Errors of HBM from look to look: how many are of the last day, whatever the driver has counted before. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { afterLook, errorsOfDay, noteErrors, readErrorHistory } from '../../../src/preflight/error-history.js';
import type { ChipReadings } from '../../../src/preflight/host-readings.js';
import { scratchFolder } from '../../support/scratch.js';

const HOUR = 3600 * 1000;
const seeing = (count: number): readonly ChipReadings[] => [
  { chip: { busId: 'c1' }, errors: { value: { doubleBit: count, isolatedPages: 0 } } } as ChipReadings,
];

test.each<[what: string, seen: readonly (readonly [hour: number, count: number])[], count: number, ofDay?: number]>([
  ['a chip that was never seen: nobody knows when they were', [], 5],
  ['none are new', [[0, 5]], 5, 0],
  ['two are new', [[0, 5]], 7, 2],
  [
    'some of them were seen more than a day ago',
    [
      [0, 5],
      [1, 9],
    ],
    10,
    1,
  ],
  [
    'those of a step count when it was seen',
    [
      [0, 5],
      [12, 6],
    ],
    7,
    2,
  ],
  ['the driver was loaded anew, and has counted one', [[10, 5]], 1, 1],
  ['the driver was loaded anew, and has counted none', [[10, 5]], 0, 0],
])('%s', (_, seen, count, ofDay) => {
  const history = { c1: seen.map(([hour, before]) => ({ at: hour * HOUR, count: before })) };
  expect(errorsOfDay(history, 'c1', count, 30 * HOUR)).toBe(ofDay);
});

test('a look is noted where it says something new, and few are kept', () => {
  let history = afterLook({}, seeing(0), 1);
  expect(history).toEqual({ c1: [{ at: 1, count: 0 }] });
  expect(afterLook(history, seeing(0), 2)).toBe(history);
  expect(afterLook(history, [{ ...seeing(0)[0], errors: { unread: 'npu-smi hangs' } } as ChipReadings], 2)).toBe(
    history,
  );
  for (let count = 1; count < 20; count += 1) history = afterLook(history, seeing(count), count + 1);
  expect(history['c1']?.map((one) => one.count)).toEqual([12, 13, 14, 15, 16, 17, 18, 19]);
});

test('it stands in the work root, and one that is damaged begins anew', async () => {
  const root = join(await scratchFolder(), 'work');
  expect(await readErrorHistory(root)).toEqual({});
  await noteErrors(root, seeing(3), 5);
  expect(await readErrorHistory(root)).toEqual({ c1: [{ at: 5, count: 3 }] });
  await writeFile(join(root, 'npu-errors.json'), '{"c1": 3}');
  expect(await readErrorHistory(root)).toEqual({});
});
