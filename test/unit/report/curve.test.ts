/** Curves of block characters: their shape, their width, their marks. */
import { describe, expect, test } from 'vitest';
import { drawCurve } from '../../../src/report/curve.js';

const drawn = (values: readonly number[], width: number, height: number): readonly string[] =>
  drawCurve(values, { width, height }).lines;

test.each<[string, number[], number, number, string[]]>([
  ['one line is a sparkline', [8, 7, 6, 5, 4, 3, 2, 1], 8, 1, ['█▇▆▅▄▃▂▁']],
  ['fewer values than columns take one column each', [2, 1], 80, 1, ['█▁']],
  ['more values than columns: each column is a mean', [4, 4, 2, 2, 0, 0], 3, 1, ['█▅▁']],
  ['with more lines the steps are finer', [3, 2, 1, 0], 4, 2, ['█▃', '██▆▁']],
  ['a flat curve shows', [5, 5, 5], 3, 1, ['▁▁▁']],
  ['what is not finite is left out of its column', [1, Number.NaN, 9, 9], 2, 1, ['▁█']],
  ['a column without a finite value is blank', [1, Number.NaN, Number.POSITIVE_INFINITY, 9], 4, 1, ['▁  █']],
  ['nothing', [], 10, 2, ['', '']],
  ['nothing finite', [Number.NaN], 10, 1, ['']],
])('%s', (_, values, width, height, expected) => {
  expect(drawn(values, width, height)).toEqual(expected);
});

test.each([1, 2, 7, 60, 99, 100, 101, 1000])('%i values never need more columns than there are', (count) => {
  const values = Array.from({ length: count }, (_, index) => Math.sin(index) + index);
  const { lines, range } = drawCurve(values, { width: 60, height: 4 });
  expect(Math.max(...lines.map((line) => line.length))).toBe(Math.min(60, count));
  expect(range?.top).toBeGreaterThanOrEqual(range?.bottom ?? Number.NaN);
});

describe('marks', () => {
  const marks = (values: number, width: number, at: readonly number[]): string =>
    drawCurve(
      Array.from({ length: values }, () => 1),
      { width, height: 1 },
      at.map((index, order) => ({ at: index, label: String(order + 2) })),
    ).marks;

  test.each<[string, number, number, number[], string]>([
    ['none', 10, 10, [], ''],
    ['one column a value', 10, 10, [4], '    ^2'],
    ['more values than columns', 100, 10, [0, 49, 99], '^2  ^3   ^4'],
    ['two in one place: the first is shown', 100, 10, [50, 51], '     ^2'],
    ['the label of a mark is never written over', 10, 10, [4, 5, 6], '    ^2^4'],
  ])('%s', (_, values, width, at, expected) => {
    expect(marks(values, width, at)).toBe(expected);
  });

  test('a mark stands below the column that holds its value', () => {
    for (const values of [7, 60, 61, 200])
      for (let at = 0; at < values; at += 1) {
        const spike = Array.from({ length: values }, (_, index) => (index === at ? 1000 : 0));
        const { lines, marks: line } = drawCurve(spike, { width: 60, height: 1 }, [{ at, label: '2' }]);
        expect([values, at, line.indexOf('^')]).toEqual([values, at, lines[0]?.indexOf('█')]);
      }
  });
});
