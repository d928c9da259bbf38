/** Where a run goes back to after a loss that is no number, when it ends, and when a host is to blame. */
import { expect, test } from 'vitest';
import { judgeCommit, judgeDivergence, suspectsOf, type Divergence } from '../../../src/plan/divergence.js';
import type { Commit } from '../../../src/plan/run-log.js';

const commit = (iteration: number, generation = 1): Commit => ({
  ...{ iteration, generation, checkpoint: { prefix: 'p/', manifestKey: 'p.json', digest: String(iteration) } },
});
const bad = (iteration: number, nodes: readonly number[] = [0], hosts = ['a', 'b'], generation = 1): Divergence => ({
  ...{ generation, hosts, facts: { iteration, loss: 'nan', gradNorm: 'inf', lossBefore: '1.5', nodes } },
});

test.each([
  [
    'the last commit stands before it',
    bad(25),
    [10, 20],
    [],
    'Goes back to iteration 20 if all its numbers are finite.',
  ],
  ['it was saved at the bad iteration', bad(20), [10, 20], [20], 'Goes back to iteration 10 if'],
  ['it was saved amid the bad ones', bad(15), [10, 20, 30], [20, 30], 'Drops what was saved at iteration 20, 30. Goes'],
  ['nothing was saved before it', bad(5), [10], [10], 'Starts from the converted model'],
  ['nothing was saved', bad(5), [], [], 'Starts from the converted model'],
])('the first time, when %s', (_, now, commits, dropped, sentence) => {
  const verdict = judgeDivergence(
    now,
    undefined,
    commits.map((one) => commit(one)),
  );
  expect(verdict).toMatchObject({ decision: 'before the bad iteration', drop: dropped.map((one) => commit(one)) });
  expect(verdict.why).toContain(sentence);
});

test.each([
  ['one node', [1], ['b'], 'Leaves out b, where it began, if other hosts are free.'],
  ['both', [0, 1], ['a', 'b'], 'Leaves out a, b, where'],
])('leaves out the hosts where it began: %s', (_, nodes, suspects, sentence) => {
  expect(suspectsOf(bad(5, nodes))).toEqual(suspects);
  expect(judgeDivergence(bad(5, nodes), undefined, []).why).toContain(sentence);
});

test('leaves out nobody when nobody can tell where it began', () => {
  expect(judgeDivergence(bad(5, []), undefined, []).why).not.toContain('Leaves out');
});

test.each([
  ['on the same hosts', bad(15, [0], ['a', 'b'], 2), 'if you suspect one, `anneal hosts cordon HOST`'],
  ['without the host where it began', bad(15, [1], ['c', 'b'], 2), 'happened without a, so no host is to blame'],
  ['at another iteration, though still before progress', bad(13, [0], ['a', 'b'], 2), 'of iteration 13'],
])('the same again, %s: ends with both losses, hosts and what to do', (_, now, sentence) => {
  const verdict = judgeDivergence(now, bad(15), [commit(10)]);
  expect(verdict).toMatchObject({ decision: 'give up', type: 'LossDiverged' });
  expect(verdict.why).toContain(sentence);
  expect(verdict.why).toContain(
    'loss nan and gradient norm inf of iteration 15 (loss 1.5 before it) in generation 1 on a, b, which began on a; loss nan',
  );
  expect(verdict.why).toContain(`in generation 2 on ${now.hosts.join(', ')}, which began on`);
  expect(verdict.why).toContain('Lower training.learningRate');
});

test.each([
  ['before the bad iteration says nothing', bad(15), 14, ['c', 'b'], undefined],
  ['past it, without the host, blames that', bad(15), 20, ['c', 'b'], 'a'],
  ['of the bad iteration itself, too', bad(15), 15, ['c', 'b'], 'a'],
  ['past it on the same host blames nobody', bad(15), 20, ['a', 'b'], null],
  ['when two hosts had made it blames nobody', bad(15, [0, 1]), 20, ['c', 'd'], null],
  ['when nobody knows where it began blames nobody', bad(15, []), 20, ['c', 'd'], null],
])('a commit %s', (_, open, iteration, hosts, expected) => {
  const found = judgeCommit(open, { iteration, hosts });
  expect(found === undefined ? undefined : (found.blame?.host ?? null)).toBe(expected);
});

test('blame says what the host made, and who got past it', () => {
  expect(judgeCommit(bad(15), { iteration: 20, hosts: ['c', 'b'] })?.blame).toEqual({
    ...{ host: 'a', failure: 'LossDiverged' },
    message:
      'it made the loss nan and gradient norm inf of iteration 15 (loss 1.5 before it) in generation 1; c, b got past that.',
  });
});
