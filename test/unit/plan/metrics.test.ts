/** The loss record as a fold: each iteration stands exactly once, and what was rolled back says by which generation. */
import { expect, test } from 'vitest';
import { foldMetrics, gapsIn, standingRows, type Measurement } from '../../../src/plan/metrics.js';
import type { RunFact } from '../../../src/plan/run-log.js';

const open = (generation: number, fromIteration: number): RunFact => ({
  ...{ fact: 'open', generation, fromIteration, hosts: [] },
});
const commit = (generation: number, iteration: number): RunFact => ({
  ...{ fact: 'commit', generation, iteration, checkpoint: { prefix: 'p', manifestKey: 'm', digest: 'd' } },
});

/** The loss tells which generation has measured it: 1.041 is iteration 41 of generation 1. */
const measured = (generation: number, iteration: number): Measurement => ({
  iteration,
  loss: generation + iteration / 1000,
  ...{ gradNorm: 1, learningRate: 0.003, consumedSamples: iteration * 64, seconds: 0.1, at: iteration },
});
const ran = (generation: number, first: number, last: number) => ({
  generation,
  measured: Array.from({ length: last - first + 1 }, (_, index) => measured(generation, first + index)),
});

/** `g1 1-40, g1 41-47 by 2`: the record as runs of rows. */
function told(rows: ReturnType<typeof foldMetrics>): string[] {
  const runs: { generation: number; by: number | undefined; first: number; last: number }[] = [];
  for (const { generation, iteration, rolledBackBy: by } of rows) {
    const run = runs.at(-1);
    if (run?.generation === generation && run.by === by && run.last === iteration - 1) run.last = iteration;
    else runs.push({ generation, by, first: iteration, last: iteration });
  }
  return runs.map(
    ({ generation, by, first, last }) => `g${generation} ${first}-${last}${by === undefined ? '' : ` by ${by}`}`,
  );
}

test.each<[string, RunFact[], ReturnType<typeof ran>[], string[]]>([
  ['nothing was opened', [], [], []],
  ['one generation', [open(1, 0), commit(1, 20)], [ran(1, 1, 20)], ['g1 1-20']],
  [
    'a roll-back to a commit',
    [open(1, 0), commit(1, 40), open(2, 40)],
    [ran(1, 1, 47), ran(2, 41, 80)],
    ['g1 1-40', 'g1 41-47 by 2', 'g2 41-80'],
  ],
  ['a roll-back to nothing', [open(1, 0), open(2, 0)], [ran(1, 1, 7), ran(2, 1, 9)], ['g1 1-7 by 2', 'g2 1-9']],
  [
    'nothing lost, since the last iteration was committed',
    [open(1, 0), commit(1, 40), open(2, 40)],
    [ran(1, 1, 40), ran(2, 41, 60)],
    ['g1 1-40', 'g2 41-60'],
  ],
  [
    'one commit back: two generations are rolled back by the third',
    [open(1, 0), open(2, 40), open(3, 20)],
    [ran(1, 1, 47), ran(2, 41, 45), ran(3, 21, 60)],
    ['g1 1-20', 'g1 21-40 by 3', 'g1 41-47 by 2', 'g2 41-45 by 3', 'g3 21-60'],
  ],
  [
    'a generation that never trained still rolls back',
    [open(1, 0), open(2, 40)],
    [ran(1, 1, 47)],
    ['g1 1-40', 'g1 41-47 by 2'],
  ],
  [
    'a generation between that measured nothing',
    [open(1, 0), open(2, 40), open(3, 40)],
    [ran(1, 1, 47), ran(3, 41, 50)],
    ['g1 1-40', 'g1 41-47 by 2', 'g3 41-50'],
  ],
  ['what no fact accounts for', [open(1, 0)], [ran(1, 1, 5), ran(2, 3, 9)], ['g1 1-5']],
  [
    'an iteration at or below where its generation began',
    [open(1, 0), open(2, 4)],
    [ran(1, 1, 4), ran(2, 3, 6)],
    ['g1 1-4', 'g2 5-6'],
  ],
])('%s', (_, facts, generations, expected) => {
  expect(told(foldMetrics(facts, generations))).toEqual(expected);
});

test('the order in which facts of generations and measurements come does not matter', () => {
  const facts = [open(2, 3), open(1, 0)];
  const shuffled = [ran(2, 4, 6), { generation: 1, measured: ran(1, 1, 5).measured.toReversed() }];
  expect(told(foldMetrics(facts, shuffled))).toEqual(['g1 1-3', 'g1 4-5 by 2', 'g2 4-6']);
});

test('a line that is there twice counts once, as it was first', () => {
  const twice = [measured(1, 1), { ...measured(1, 1), loss: 9 }, measured(1, 2)];
  expect(foldMetrics([open(1, 0)], [{ generation: 1, measured: twice }]).map(({ loss }) => loss)).toEqual([
    1.001, 1.002,
  ]);
});

/** A generator with a seed: the same histories in each run of the test. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

test('over random histories of roll-backs the record is that of a model which forgets at each roll-back', () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const next = random(seed);
    const facts: RunFact[] = [];
    const generations: ReturnType<typeof ran>[] = [];
    /** Which generation trained each iteration last. */
    const model = new Map<number, number>();
    let reached = 0;
    const count = 1 + Math.floor(next() * 6);
    for (let generation = 1; generation <= count; generation += 1) {
      const from = Math.floor(next() * (reached + 1));
      const to = from + Math.floor(next() * 20);
      facts.push(open(generation, from));
      generations.push(ran(generation, from + 1, to));
      for (const iteration of [...model.keys()]) if (iteration > from) model.delete(iteration);
      for (let iteration = from + 1; iteration <= to; iteration += 1) model.set(iteration, generation);
      reached = to;
    }
    const rows = foldMetrics(facts, generations);
    const standing = standingRows(rows).map(({ iteration, generation }) => [iteration, generation]);
    expect(standing, `seed ${seed}`).toEqual([...model].sort(([a], [b]) => a - b));
    expect(standing.map(([iteration]) => iteration)).toEqual(Array.from({ length: reached }, (_, index) => index + 1));
    expect(gapsIn(rows)).toEqual([]);
    // Every measurement is one row, and only a later generation takes one away.
    const all = generations.flatMap(({ generation, measured: of }) => of.map(({ loss }) => [generation, loss]));
    expect(rows.map(({ generation, loss }) => [generation, loss])).toEqual(all);
    for (const { generation, rolledBackBy } of rows)
      if (rolledBackBy !== undefined) expect(rolledBackBy).toBeGreaterThan(generation);
  }
});

test('a hole is named', () => {
  const { measured: rows } = ran(1, 1, 9);
  const known = rows.filter(({ iteration }) => ![1, 4, 5, 8].includes(iteration));
  expect(gapsIn(foldMetrics([open(1, 0)], [{ generation: 1, measured: known }]))).toEqual([
    [1, 1],
    [4, 5],
    [8, 8],
  ]);
});
