/** What a loss record says for people. */
import { expect, test } from 'vitest';
import type { IterationMetrics } from '../../../src/plan/metrics.js';
import { showMetrics } from '../../../src/cli/commands/metrics.js';
import { lossCurve, summariseTraining, trainingSentences } from '../../../src/report/training.js';

const row = (generation: number, iteration: number, rolledBackBy?: number): IterationMetrics => ({
  ...{ generation, iteration, loss: 3 - iteration / 40, gradNorm: 1, learningRate: 0.003 },
  ...{ consumedSamples: iteration * 64, seconds: iteration === 1 ? 9 : 0.5, at: 0 },
  ...(rolledBackBy === undefined ? {} : { rolledBackBy }),
});
const span = (generation: number, first: number, last: number, rolledBackBy?: number): IterationMetrics[] =>
  Array.from({ length: last - first + 1 }, (_, index) => row(generation, first + index, rolledBackBy));

const rows = [...span(1, 1, 40), ...span(1, 41, 47, 2), ...span(2, 41, 80)];

test('the summary counts what stands; its speed leaves out the first iteration, which warms up', () => {
  expect(summariseTraining(rows)).toEqual({
    iterations: 80,
    first: { iteration: 1, loss: 3 - 1 / 40 },
    last: { iteration: 80, loss: 1 },
    samplesPerSecond: 128,
    generations: [
      { generation: 1, firstIteration: 1, rolledBack: 7 },
      { generation: 2, firstIteration: 41, rolledBack: 0 },
    ],
    missing: [],
  });
});

test('nothing that stands has no summary, and one iteration no speed', () => {
  expect(summariseTraining(span(1, 1, 3, 2))).toBeUndefined();
  expect(summariseTraining(span(1, 1, 1))?.samplesPerSecond).toBeUndefined();
});

test('sentences for what there is to say', () => {
  const told = (of: readonly IterationMetrics[]) => trainingSentences(summariseTraining(of)!);
  expect(told(rows)).toEqual({
    training: '80 iterations, loss 2.975 at 1 and 1.000 at 80, 128 samples/s',
    rolledBack: '7 iterations of generation 1',
  });
  expect(told([...span(1, 1, 2), ...span(1, 5, 6), ...span(1, 8, 8)]).missing).toBe('iterations 3-4, 7-7');
});

test('the curve stands in the width, with its scale, its iterations and where a generation began', () => {
  const lines = lossCurve(rows, { width: 52, height: 3 }).split('\n');
  expect(lines).toHaveLength(5);
  expect(Math.max(...lines.map((line) => line.length))).toBe(52);
  expect(lines[0]).toMatch(/^ {5}2\.963 \|█/);
  expect(lines[2]).toMatch(/^ {5}1\.01[23] \|█/);
  expect(lines[3]).toBe(`${' '.repeat(12 + 20)}^g2`);
  expect(lines[4]).toBe(`${' '.repeat(12)}1${' '.repeat(37)}80`);
  expect(lossCurve([], { width: 52, height: 3 })).toBe('');
});

test('the command shows a few rows: the first, the last, and both sides of a new generation', () => {
  const shown = showMetrics('digits-1', rows, 80).split('\n');
  expect(shown.slice(0, 2)).toEqual([
    'digits-1: 80 iterations, loss 2.975 at 1 and 1.000 at 80, 128 samples/s',
    'rolled back: 7 iterations of generation 1',
  ]);
  const header = shown.findIndex((line) => line.startsWith('ITERATION'));
  const table = shown.slice(header + 1).map((line) => line.split(/ +/).slice(0, 2).join(' '));
  expect([table[0], table.at(-1)]).toEqual(['1 1', '80 2']);
  expect(table).toEqual(expect.arrayContaining(['40 1', '41 2']));
  expect(table.length).toBeLessThan(18);
  expect(showMetrics('digits-1', span(1, 1, 3, 2), 80)).toBe('digits-1: every iteration so far was rolled back.');
});

test('the incidents stand above the curve, each with what it cost', () => {
  const incident = {
    at: 0,
    generation: 1,
    host: 'host-b',
    failure: 'HostLost',
    message: 'm',
    decision: 'd',
    iterationsLost: 7,
  };
  const shown = showMetrics('digits-1', span(1, 1, 3), 80, [
    { ...incident, secondsToDetect: 8.04, secondsToDecide: 1, secondsToNewIteration: 21.7 },
    { ...incident, generation: 2, host: 'a\nb' },
  ]);
  expect(shown.split('\n').slice(1, 3)).toEqual([
    'incident: generation 1, HostLost on host-b: 7 iterations lost, found after 8.0 s, new iterations after 22 s',
    'incident: generation 2, HostLost on a b: 7 iterations lost',
  ]);
});
