/** The schedules of `npm run chaos`: the same seed is the same schedule, and between them they leave no fault and no moment out. */
import { expect, test } from 'vitest';
import { describeFault, FAULT_KINDS, ITERATIONS, scheduleOf } from '../../support/chaos/schedule.js';

const SCHEDULES = Array.from({ length: 400 }, (_, seed) => scheduleOf(seed));

test('the same seed draws the same schedule, and another one another', () => {
  expect(SCHEDULES.map(({ seed }) => scheduleOf(seed))).toEqual(SCHEDULES);
  const texts = SCHEDULES.map(({ hosts, strikes }) => JSON.stringify({ hosts, strikes }));
  expect(new Set(texts).size).toBeGreaterThan(390);
});

test('every kind of fault is drawn, at every moment that there is, at every node, for both sizes of a gang', () => {
  const strikes = SCHEDULES.flatMap((schedule) => schedule.strikes);
  const faults = strikes.flatMap((strike) => strike.faults);
  expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(FAULT_KINDS));
  expect([...new Set(strikes.map(({ moment }) => moment))].sort()).toEqual([
    'commit made',
    'iteration reached',
    'last iteration done',
    'manifest written',
    'part sent',
    'publish half done',
    'save begun',
    'saved, not shipped',
    'shipped, not committed',
    'stage-in begun',
  ]);
  expect(new Set(strikes.map(({ node }) => node))).toEqual(new Set([0, 1, 2]));
  expect(new Set(SCHEDULES.map(({ hosts }) => hosts))).toEqual(new Set([2, 3]));
  expect(new Set(SCHEDULES.map((schedule) => schedule.strikes.flatMap((one) => one.faults).length))).toEqual(
    new Set([1, 2, 3, 4]),
  );
  expect(strikes.some((strike) => strike.faults.length > 1)).toBe(true);
});

test('what a strike has broken commits something before the next one, unless that is at the restore', () => {
  for (const { hosts, strikes } of SCHEDULES) {
    expect(strikes.every(({ node }) => node < hosts)).toBe(true);
    for (const [index, { after, moment, faults }] of strikes.entries()) {
      expect(after).toBeGreaterThan(0);
      expect(after).toBeLessThanOrEqual(ITERATIONS);
      const before = strikes[index - 1];
      if (before === undefined) continue;
      if (moment !== 'stage-in begun') {
        expect(after).toBeGreaterThan(before.after);
        continue;
      }
      expect(before.moment).not.toBe('stage-in begun');
      expect(faults.some(({ kind }) => /rank|torchrun|supervisor|disk/.test(kind))).toBe(false);
      if (faults[0]?.kind === 'corrupt commit') expect(before.faults[0]?.kind).toBe('kill host');
    }
  }
});

test('a fault is told with the seconds that it lasts, if it lasts', () => {
  expect(describeFault({ kind: 'freeze rank', seconds: 7 })).toBe('freeze rank 7 s');
  expect(describeFault({ kind: 'kill rank', seconds: 7 })).toBe('kill rank');
});
