/** From two looks at a run to what happened between them. */
import { describe, expect, test } from 'vitest';
import { eventsBetween, remember, type Snapshot } from '../../../src/client/events.js';
import { RateWindow } from '../../../src/client/rate.js';
import type { StageState, StageStatus } from '../../../src/contract/messages.js';
import type { TrainProgress } from '../../../src/contract/activities.js';
import { STAGE_NAMES } from '../../../src/plan/plan.js';

const order: readonly StageStatus[] = ['waiting', 'running', 'done'];

function snapshot(
  statuses: readonly StageStatus[],
  rest: Partial<Snapshot> & { outcome?: Snapshot['state']['outcome']; note?: string } = {},
): Snapshot {
  const { outcome = 'running', note = '', ...more } = rest;
  const stages = STAGE_NAMES.map((stage, index): StageState => {
    const status = statuses[index] ?? 'waiting';
    const times =
      order.indexOf(status) < 1 ? {} : { startedAt: 1_000, ...(status === 'done' ? { endedAt: 4_500 } : {}) };
    return { stage, status, hosts: ['host-a'], note: status === 'running' ? note : '', ...times };
  });
  return { state: { runId: 'r', name: 'r', cluster: 'c', stages, iterations: 300, outcome }, stages: {}, ...more };
}

const training: TrainProgress = {
  host: 'host-b',
  phase: 'training',
  generation: 1,
  iteration: 20,
  iterations: 300,
  loss: 0.5,
  at: 0,
  quietSeconds: 0,
  shippedIteration: 0,
};
const quiet = { note: '', warnings: [], pace: null, handovers: [] } as const;
const types = (before: Snapshot | undefined, after: Snapshot): string[] =>
  eventsBetween(before, after).map((event) => ('stage' in event ? `${event.type} ${event.stage}` : event.type));

describe('eventsBetween', () => {
  test('a first look tells all that the run has been through', () => {
    expect(types(undefined, snapshot(['done', 'reused', 'running']))).toEqual([
      'stage-started fetch',
      'stage-done fetch',
      'stage-reused convert',
      'stage-started prepare',
    ]);
  });

  test('a stage that was stopped says so, and a retry where it begins, once', () => {
    expect(types(snapshot(['running']), snapshot(['stopped'], { outcome: 'stopped' }))).toEqual([
      'stage-stopped fetch',
    ]);
    const look = snapshot(['done', 'done', 'done', 'running']);
    const told = (note: string): Snapshot => ({ ...look, state: { ...look.state, retry: { of: 'before', note } } });
    expect(eventsBetween(look, told(''))).toEqual([]);
    expect(eventsBetween(told(''), told('goes on'))).toEqual([{ type: 'retry', of: 'before', note: 'goes on' }]);
    expect(eventsBetween(told('goes on'), told('goes on'))).toEqual([]);
  });

  test('nothing new gives no event', () => {
    const same = snapshot(['done', 'running']);
    expect(eventsBetween(same, structuredClone(same))).toEqual([]);
  });

  test('a stage that began and ended between two looks gives both events', () => {
    expect(types(snapshot(['running']), snapshot(['done', 'done', 'running']))).toEqual([
      'stage-done fetch',
      'stage-started convert',
      'stage-done convert',
      'stage-started prepare',
    ]);
  });

  test('a done stage says how long it took', () => {
    expect(eventsBetween(snapshot(['running']), snapshot(['done']))).toMatchObject([
      { type: 'stage-done', seconds: 3.5 },
    ]);
  });

  test('a failed stage is told with its note', () => {
    const after = snapshot(['done', 'failed'], { outcome: 'failed' });
    expect(types(snapshot(['done', 'running']), after)).toEqual(['stage-failed convert']);
  });

  test('progress of the training comes once for each iteration, and again after a roll-back', () => {
    const at = (iteration: number, generation = 1): Snapshot =>
      snapshot(['done', 'done', 'done', 'running'], { training: { ...training, iteration, generation } });
    expect(eventsBetween(at(20), at(21))).toMatchObject([
      { type: 'progress', stage: 'train', done: 21, total: 300, loss: 0.5, host: 'host-b' },
    ]);
    expect(eventsBetween(at(21), at(21))).toEqual([]);
    expect(types(at(21, 1), at(21, 2))).toEqual(['progress train']);
  });

  test('an older number of a node that does not report iterations is no progress, also when the other is heard again', () => {
    const at = (change: Partial<TrainProgress>): Snapshot =>
      snapshot(['done', 'done', 'done', 'running'], { training: { ...training, ...change } });
    const silent = at({ host: 'host-a', iteration: 0, phase: 'saving' });
    expect(eventsBetween(at({ iteration: 97 }), silent)).toEqual([]);
    expect(eventsBetween(remember(at({ iteration: 97 }), silent), at({ iteration: 97 }))).toEqual([]);
    expect(eventsBetween(remember(at({ iteration: 97 }), silent), at({ iteration: 98 }))).toMatchObject([{ done: 98 }]);
  });

  test('progress of a shorter stage is that of the stage that runs', () => {
    const after = snapshot(['running'], {
      stages: { fetch: { host: 'host-a', message: 'reads', done: 5, total: 10 } },
    });
    expect(eventsBetween(snapshot(['running']), after)).toMatchObject([
      { type: 'progress', stage: 'fetch', done: 5, total: 10, message: 'reads' },
    ]);
  });

  test('two stages that run side by side each tell their own progress', () => {
    const words = (message: string) => ({ host: 'host-a', message });
    const after = snapshot(['done', 'running', 'running'], { stages: { convert: words('c'), prepare: words('p') } });
    const before = snapshot(['done', 'running', 'running'], { stages: { convert: words('c') } });
    expect(eventsBetween(before, after)).toEqual([
      { type: 'progress', stage: 'prepare', host: 'host-a', message: 'p' },
    ]);
  });

  test('each incident is told once', () => {
    const incident = {
      at: 1,
      generation: 1,
      host: 'host-a',
      failure: 'TrainerFailed',
      message: 'm',
      decision: 'd',
      iterationsLost: 7,
    };
    const gang = {
      generation: 2,
      hosts: [],
      committedIteration: 0,
      iterations: 300,
      phase: 'training',
      incidents: [incident],
      ...quiet,
    } as const;
    const before = snapshot(['done', 'done', 'done', 'running'], { gang: { ...gang, incidents: [] } });
    const after = { ...before, gang };
    expect(eventsBetween(before, after)).toMatchObject([{ type: 'incident', iterationsLost: 7 }]);
    expect(eventsBetween(after, after)).toEqual([]);
  });

  test('the end of an incident and a handover are told when they are known, each once', () => {
    const base = { generation: 2, hosts: [], committedIteration: 0, iterations: 300, phase: 'training' } as const;
    const incident = {
      at: 1_000,
      generation: 1,
      host: 'h',
      failure: 'f',
      message: 'm',
      decision: 'd',
      iterationsLost: 7,
    };
    const handover = { at: 5_000, generation: 2, who: 'host-a', what: 'w', isHeard: false };
    const at = (gang: Partial<NonNullable<Snapshot['gang']>>): Snapshot =>
      snapshot(['done', 'done', 'done', 'running'], { gang: { ...base, ...quiet, incidents: [], ...gang } });
    const broken = at({ incidents: [incident] });
    const asked = at({ incidents: [incident], handovers: [handover] });
    const heard = at({
      incidents: [{ ...incident, secondsToNewIteration: 9 }],
      handovers: [{ ...handover, isHeard: true }],
    });
    expect(eventsBetween(at({}), broken)).toEqual([{ type: 'incident', ...incident }]);
    expect(eventsBetween(broken, asked)).toEqual([{ type: 'handover', ...handover }]);
    expect(eventsBetween(asked, heard)).toEqual([
      { type: 'handover', ...handover, isHeard: true },
      { type: 'recovered', ...incident, secondsToNewIteration: 9 },
    ]);
    expect(eventsBetween(heard, heard)).toEqual([]);
    expect(eventsBetween(at({}), heard).map(({ type }) => type)).toEqual(['incident', 'handover', 'recovered']);
  });

  test('waiting is told when its reason changes, not at every look', () => {
    const gang = {
      generation: 1,
      hosts: [],
      committedIteration: 0,
      iterations: 300,
      phase: 'waiting for hosts',
      incidents: [],
      ...quiet,
    } as const;
    const waiting = (note: string): Snapshot => snapshot(['done', 'done', 'done', 'running'], { gang, note });
    expect(eventsBetween(undefined, waiting('2 of 3 hosts')).at(-1)).toEqual({
      type: 'waiting',
      for: 'train: 2 of 3 hosts',
    });
    expect(eventsBetween(waiting('2 of 3 hosts'), waiting('2 of 3 hosts'))).toEqual([]);
    expect(types(waiting('2 of 3 hosts'), waiting('1 of 3 hosts'))).toEqual(['waiting']);
    const paused = { gang: { ...gang, phase: 'paused', note: 'paused by ada' } } as const;
    expect(eventsBetween(waiting('1 of 3 hosts'), snapshot(['done', 'done', 'done', 'running'], paused))).toEqual([
      { type: 'waiting', for: 'train: paused by ada' },
    ]);
  });
});

describe('RateWindow', () => {
  test('knows nothing from one look, and the rest from the pace of several', () => {
    const rate = new RateWindow();
    expect(rate.take(0, 100, 0)).toEqual({});
    expect(rate.take(10, 100, 5_000)).toEqual({ perSecond: 2, etaSeconds: 45 });
  });

  test('begins anew after a roll-back instead of counting backwards', () => {
    const rate = new RateWindow();
    rate.take(80, 100, 0);
    rate.take(90, 100, 1_000);
    expect(rate.take(40, 100, 2_000)).toEqual({});
    expect(rate.take(50, 100, 3_000).etaSeconds).toBeCloseTo(5);
  });

  test('follows a change of pace within its window', () => {
    const rate = new RateWindow();
    for (let done = 0; done <= 100; done += 1) rate.take(done, 1_000, done * 10_000);
    let eta: number | undefined;
    for (let done = 101; done <= 140; done += 1)
      eta = rate.take(done, 1_000, 1_000_000 + (done - 100) * 1_000).etaSeconds;
    expect(eta).toBeCloseTo(860);
  });
});
