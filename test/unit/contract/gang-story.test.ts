/** What a gang's state makes of what is heard. */
import { describe, expect, test } from 'vitest';
import type { TrainProgress } from '../../../src/contract/activities.js';
import type { GangState, GangWords, Incident } from '../../../src/contract/gang.js';
import {
  isOldNews,
  joinWords,
  movedBy,
  newGang,
  withBlame,
  withHandover,
  withHeard,
  withIncident,
  withRestored,
  withWords,
} from '../../../src/contract/gang-story.js';

const incident = (generation: number, at: number): Incident => ({
  ...{ at, generation, host: 'host-b', failure: 'TrainerFailed', message: 'm', decision: 'd', iterationsLost: 1 },
});
const gang = (rest: Partial<GangState> = {}): GangState => ({ ...newGang(300), generation: 3, ...rest });
const words = (rest: Partial<GangWords> = {}): GangWords => ({ iteration: 50, adopted: [], ...rest });
const handover = (who: string, generation = 3) => ({ at: 1, generation, who, what: 'w', isHeard: false });

describe('words of the nodes', () => {
  test('become the pace, at the moment at which they were heard', () => {
    expect(withWords(gang(), words({ loss: 0.5, secondsPerIteration: 2 }), 77)).toEqual({
      pace: { at: 77, iteration: 50, loss: 0.5, secondsPerIteration: 2 },
    });
  });

  test('a new iteration ends the cost of every earlier generation, once', () => {
    const incidents = [{ ...incident(1, 1_000), secondsToNewIteration: 9 }, incident(2, 5_000), incident(3, 6_000)];
    const { incidents: after } = withWords(gang({ incidents }), words({ newIterationAt: 8_500 }), 0);
    expect(after?.map(({ secondsToNewIteration }) => secondsToNewIteration)).toEqual([9, 3.5, undefined]);
  });

  test('a new iteration before the incident is two clocks that differ, and no number', () => {
    expect(
      withWords(gang({ incidents: [incident(2, 5_000)] }), words({ newIterationAt: 4_000 }), 0),
    ).not.toHaveProperty('incidents');
  });

  test('a restore is told of the last incident before it, once', () => {
    const node = (localBytes: number, downloadedBytes: number) => ({
      ...{ localFiles: 1, localBytes, downloadedFiles: 1, downloadedBytes },
    });
    const incidents = [incident(1, 1_000), incident(2, 5_000)];
    const { incidents: after = [] } = withRestored(gang({ incidents }), [node(5, 0), node(0, 7)]);
    expect(after.map(({ restored }) => restored)).toEqual([undefined, { localBytes: 5, downloadedBytes: 7 }]);
    expect(withRestored(gang({ incidents: after }), [node(1, 1)])).toEqual({});
    expect(withRestored(gang({ incidents: [incident(3, 1)] }), [node(1, 1)])).toEqual({});
    expect(withRestored(gang(), [node(1, 1)])).toEqual({});
  });

  test('a host that is blamed is told of the incident that it made', () => {
    const incidents = [incident(1, 1_000), incident(2, 5_000)];
    const { incidents: after } = withBlame(gang({ incidents }), 1, { host: 'a', failure: 'f', message: 'm' });
    expect(after?.map(({ decision }) => decision)).toEqual(['d Other hosts got past it: a is cordoned.', 'd']);
  });

  test('an adopted trainer is heard, of this generation alone', () => {
    const handovers = [handover('host-a', 2), handover('host-a'), handover('host-b')];
    expect(withHeard(gang({ handovers }), ['host-a']).handovers?.map(({ isHeard }) => isHeard)).toEqual([
      false,
      true,
      false,
    ]);
    expect(withHeard(gang({ handovers }), ['host-c'])).toEqual({});
  });

  test('come from the node that has a pace, of the generation that is asked for', () => {
    const node = (host: string, rest: Partial<TrainProgress>): TrainProgress => ({
      ...{
        host,
        phase: 'training',
        generation: 3,
        iteration: 0,
        iterations: 300,
        at: 0,
        quietSeconds: 0,
        shippedIteration: 0,
      },
      ...rest,
    });
    const said = [
      node('host-a', { iteration: 60, adopted: true }),
      node('host-b', { iteration: 55, loss: 0.5, secondsPerIteration: 2, newIterationAt: 9 }),
      node('host-c', { iteration: 99, secondsPerIteration: 1, generation: 2, adopted: true }),
    ];
    expect(joinWords(said, 3)).toEqual({
      iteration: 55,
      loss: 0.5,
      secondsPerIteration: 2,
      newIterationAt: 9,
      adopted: ['host-a'],
    });
    expect(joinWords(said, 4)).toBeUndefined();
  });
});

test('lists keep their last twenty', () => {
  let state = gang();
  for (let generation = 1; generation <= 30; generation += 1)
    state = { ...state, ...withIncident(state, incident(generation, 0)), ...withHandover(state, handover('host-a')) };
  expect(state.incidents.map((one) => one.generation)).toEqual(Array.from({ length: 20 }, (_, index) => index + 11));
  expect(state.handovers).toHaveLength(20);
});

test.each([
  [2, 200, true],
  [3, 99, true],
  [3, 100, false],
  [4, 0, false],
])(
  'news of generation %d at iteration %d, when generation 3 is known to be at 100: old %s',
  (generation, committed, old) => {
    expect(isOldNews(gang({ committedIteration: 100 }), { generation, committedIteration: committed })).toBe(old);
  },
);

test('a drain is an incident of nobody: it costs what was not saved in time, and the time to save and end', () => {
  const drain = { host: 'host-a', why: 'It is drained: fan', at: 1_000 };
  expect(movedBy(drain, gang({ committedIteration: 47 }), 47, 5_000)).toEqual({
    ...{ at: 1_000, generation: 3, host: 'host-a', failure: 'Drained', message: 'It is drained: fan' },
    decision: 'Moves the gang to other hosts; it goes on from iteration 47.',
    ...{ iterationsLost: 0, secondsToDecide: 4 },
  });
  expect(movedBy(drain, gang({ committedIteration: 40 }), 47, 5_000).iterationsLost).toBe(7);
});
