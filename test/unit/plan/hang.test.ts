/** How long a trainer of each phase may make no progress, and which node watches. */
import { expect, test } from 'vitest';
import { quietLimitSeconds, type TrainerPhase } from '../../../src/plan/hang.js';

const HALF_HOUR = 1800;
const watched = (phase: TrainerPhase, nodeRank: number, isReporting: boolean, secondsPerIteration?: number) => ({
  ...{ phase, nodeRank, isReporting, secondsPerIteration },
});

test.each<[TrainerPhase, number, boolean, number | undefined, number | undefined]>([
  // The reporting node hears nothing before the first iteration.
  ['starting', 3, true, undefined, 3 * HALF_HOUR],
  ['training', 3, true, 0.2, 120],
  ['training', 3, true, 12, 120],
  ['training', 3, true, 60, 600],
  ['saving', 3, true, 60, HALF_HOUR],
  ['saving', 3, true, 600, 6000],
  ['done', 3, true, 60, HALF_HOUR],
  // One node alone is both.
  ['starting', 0, true, undefined, HALF_HOUR],
  ['first iteration', 0, true, undefined, HALF_HOUR],
  ['training', 0, true, 60, 600],
  // Who hears no iterations would take silence for a hang.
  ['starting', 0, false, undefined, undefined],
  ['saving', 0, false, undefined, undefined],
  ['training', 1, false, undefined, undefined],
])('%s on node %d (reporting: %s) at %s s an iteration: %s s', (phase, nodeRank, isReporting, pace, limit) => {
  expect(quietLimitSeconds(watched(phase, nodeRank, isReporting, pace))).toBe(limit);
});

test.each<[TrainerPhase, number]>([
  ['starting', 1 + 2 + 3],
  ['training', 4],
  ['saving', 5],
])("the spec's limits outrank what was measured: %s", (phase, limit) => {
  const limits = { startSeconds: 1, restoreSeconds: 2, firstIterationSeconds: 3, iterationSeconds: 4, saveSeconds: 5 };
  expect(quietLimitSeconds(watched(phase, 2, true, 100), limits)).toBe(limit);
});
