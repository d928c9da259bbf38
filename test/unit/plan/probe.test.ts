/** Who is lost, when nobody can be called lost, and who keeps a hanging gang waiting. */
import { describe, expect, test } from 'vitest';
import { judgeProbe, stacksSentence, suspect, type ProbeTurn, type SeenRank } from '../../../src/plan/probe.js';

/** `10`: node 0 has answered, node 1 has not. `+`: other hosts are heard. */
const turn = (text: string): ProbeTurn => ({
  answered: Array.from(text.replace('+', ''), (sign) => sign === '1'),
  othersLive: text.endsWith('+'),
});
const turns = (text: string): readonly ProbeTurn[] => text.split(' ').map(turn);

describe('hosts', () => {
  test.each([
    ['11', []],
    ['10', [1]],
    ['011', [0]],
    ['0101', [0, 2]],
    // Nobody answered, then all do: the control plane was away.
    ['00 11', []],
    // Others are heard all the time, so it is these that are gone.
    ['00+ 00+ 00+', [0, 1]],
    ['0+ 0+ 0+', [0]],
    ['00 01 01', [0]],
  ])('after %s these are lost: %j', (text, lost) => {
    expect(judgeProbe(turns(text))).toEqual({ kind: 'known', lost });
  });

  test.each([['00'], ['00+'], ['00+ 00+'], ['00 00 00 00'], ['0'], ['00 01']])(
    'after %s nobody is lost yet: all are asked again',
    (text) => {
      expect(judgeProbe(turns(text))).toMatchObject({ kind: 'ask again' });
    },
  );

  test('a silence of all ends after about ten minutes, in few turns', () => {
    let waited = 0;
    for (let count = 1; ; count += 1) {
      const verdict = judgeProbe(Array.from({ length: count }, () => turn('00')));
      if (verdict.kind !== 'ask again') {
        expect(verdict).toEqual({ kind: 'all silent' });
        expect(count).toBeLessThan(20);
        break;
      }
      waited += verdict.pauseSeconds + 8;
    }
    expect(waited).toBeGreaterThan(550);
    expect(waited).toBeLessThan(800);
  });
});

describe('a gang that hangs', () => {
  const rank = (nodeRank: number, state: string, stacks = 'py-spy'): SeenRank => ({
    ...{ nodeRank, rank: nodeRank, state, stacks },
  });
  test.each<[string, readonly SeenRank[], number | undefined]>([
    ['the one node with a stopped rank', [rank(0, 'sleeping'), rank(1, 'stopped')], 1],
    ['the one node that is stuck in a driver', [rank(0, 'in a driver'), rank(1, 'running')], 0],
    ['nobody when all wait', [rank(0, 'sleeping'), rank(1, 'sleeping')], undefined],
    ['nobody when two stand still', [rank(0, 'stopped'), rank(1, 'in a driver')], undefined],
    ['nobody when nothing is seen', [], undefined],
  ])('is kept waiting by %s', (_, ranks, node) => {
    expect(suspect(ranks)).toBe(node);
  });

  test('names who stands still, and what there is of stacks', () => {
    expect(
      stacksSentence([rank(0, 'sleeping'), rank(1, 'stopped', 'none: py-spy is not installed; it is stopped')]),
    ).toBe("Rank 1 is stopped. Stacks of 1 of 2 ranks are in the run's logs.");
    const many = Array.from({ length: 9 }, (_, node) => rank(node, 'in a driver'));
    expect(stacksSentence(many)).toContain('rank 3 is in a driver and 5 more. Stacks of 9 of 9');
  });
});
