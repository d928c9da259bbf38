/** What a run reads is the fold of its facts. */
import { expect, test } from 'vitest';
import { foldRunLog, lastCommit, tooOld, type RunFact } from '../../../src/plan/run-log.js';

const open = (generation: number): RunFact => ({ fact: 'open', generation, fromIteration: 0, hosts: [] });
const commit = (generation: number, iteration: number): RunFact => ({
  fact: 'commit',
  generation,
  iteration,
  checkpoint: { prefix: 'p', manifestKey: 'm', digest: 'd' },
});
const drop = (generation: number, iteration: number): RunFact => ({
  fact: 'drop',
  generation,
  iteration,
  reason: 'damaged',
  why: 'A byte is flipped.',
});

test.each<[string, readonly RunFact[], [number, number] | undefined]>([
  ['nothing', [], undefined],
  ['a gang that saved nothing', [open(1)], undefined],
  ['the last commit', [open(1), commit(1, 10), commit(1, 20)], [1, 20]],
  [
    'the newest generation, though its iteration returned',
    [open(1), commit(1, 20), drop(1, 20), open(2), commit(2, 20)],
    [2, 20],
  ],
  ['the commit before a dropped one', [open(1), commit(1, 10), commit(1, 20), drop(1, 20)], [1, 10]],
  [
    'a drop of one generation leaves the same iteration of another',
    [open(1), commit(1, 10), open(2), commit(2, 10), drop(1, 10)],
    [2, 10],
  ],
])('training goes on from %s', (_, facts, expected) => {
  const last = lastCommit(foldRunLog(facts));
  expect(last && [last.generation, last.iteration]).toEqual(expected);
});

test('every fact takes a number, and a generation never returns', () => {
  const log = foldRunLog([open(1), commit(1, 10), open(2), drop(1, 10)]);
  expect(log.nextNumber).toBe(5);
  expect(log.generation).toBe(2);
});

test.each<[string, number, readonly RunFact[], readonly number[]]>([
  ['nothing', 2, [open(1)], []],
  ['no commit while there are no more than are kept', 2, [commit(1, 10), commit(1, 20)], []],
  ['the one that a new commit makes too old', 2, [commit(1, 10), commit(1, 20), commit(1, 30)], [10]],
  ['all that an earlier writer could not drop', 1, [commit(1, 10), commit(1, 20), commit(1, 30)], [10, 20]],
  ['no commit before a damaged one, which does not count', 2, [commit(1, 10), commit(1, 20), drop(1, 20)], []],
  ['an old generation before a new one, whatever their iterations', 1, [commit(1, 20), commit(2, 20)], [20]],
  ['never the last one', 0, [commit(1, 10)], []],
])('too old is %s', (_, keep, facts, expected) => {
  expect(tooOld(foldRunLog(facts), keep).map(({ iteration }) => iteration)).toEqual(expected);
});
