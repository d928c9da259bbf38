/** What `anneal schedule show` and `anneal models show` print. */
import { expect, test } from 'vitest';
import { showPromotions } from '../../../src/cli/commands/models.js';
import { showSchedule } from '../../../src/cli/commands/schedule.js';
import type { Promotion, ScheduleView } from '../../../src/client/index.js';
import { composable } from '../../support/composable.js';

const view: ScheduleView = {
  ...{ name: 'nightly', model: 'digits', paused: false, note: '', from: 'promoted', overlap: 'skip' },
  ...{ catchUpSeconds: 86_400, pauseOnFailure: false, missed: 1, skipped: 2, spec: composable('digits') },
  timetable: { at: ['mon-fri 03:30'], every: ['1d'], timeZone: 'Europe/Berlin' },
  next: ['2026-11-26T02:30:00.000Z', '2026-11-27T02:30:00.000Z'],
  retrains: [
    {
      ...{ workflowId: 'retrain/nightly-2', outcome: 'skipped: unchanged', runId: '' },
      ...{ startedAt: '2026-11-25T02:30:00.000Z', endedAt: '2026-11-25T02:30:02.000Z' },
    },
    {
      ...{ workflowId: 'retrain/nightly-1', outcome: 'running', runId: 'nightly-1' },
      ...{ startedAt: '2026-11-24T02:30:00.000Z', endedAt: null },
    },
  ],
};

test('a schedule with its times, its policies and what came of its firings', () => {
  expect(
    showSchedule(view)
      .split('\n')
      .map((line) => line.trimEnd()),
  ).toEqual([
    'nightly',
    '  fires       every 1d, at mon-fri 03:30 (Europe/Berlin)',
    '  retrains    digits, by the spec test, from the promoted model',
    '  state       active',
    '  next (UTC)  2026-11-26 02:30:00, 2026-11-27 02:30:00',
    '  overlap     skip; 2 firings skipped since one still ran',
    '  catch-up    86400 s; 1 firings missed',
    '  on failure  goes on',
    '',
    'FIRED (UTC)          TOOK  OUTCOME             RUN',
    '2026-11-25 02:30:00  2 s   skipped: unchanged  -',
    '2026-11-24 02:30:00  -     running             nightly-1',
  ]);
});

test('a paused one says why, one that has not fired says so', () => {
  const shown = showSchedule({ ...view, paused: true, note: 'holidays', retrains: [], next: [] });
  expect(shown).toContain('state       paused (holidays)');
  expect(shown).toContain('next (UTC)  never');
  expect(shown).toContain('It has not fired yet.');
});

test('promotions, newest first, each with how it came about', () => {
  const promotion = (number: number, runId: string, rest: Partial<Promotion>): Promotion => ({
    ...{ number, runId, weightsDigest: `${runId}0123456789abcdef`, accuracy: 0.9, ...rest },
    published: { prefix: `artifacts/${runId}/`, manifestKey: '', digest: runId },
    data: { fingerprint: 'f', at: Date.UTC(2026, 10, 25, 2, 30) },
  });
  const shown = showPromotions('digits', [
    promotion(1, 'a', {}),
    promotion(2, 'b', { base: 1 }),
    promotion(3, 'c', { chosen: { request: 'r', why: 'by hand' } }),
    promotion(4, 'a', { chosen: { request: 'r', why: 'worse at sevens', bringsBack: 1 } }),
  ]);
  const [head, , , ...rows] = shown.split('\n').map((line) => line.trimEnd());
  expect(head).toBe('digits: promotion 4 is current, in artifacts/a/');
  expect(rows.map((row) => row.split(/ {2,}/))).toEqual([
    ['4', 'a', '0.9000', '2026-11-25 02:30:00', 'a0123456789a', 'back to 1: worse at sevens'],
    ['3', 'c', '0.9000', '2026-11-25 02:30:00', 'c0123456789a', 'chosen: by hand'],
    ['2', 'b', '0.9000', '2026-11-25 02:30:00', 'b0123456789a', 'retrained, compared with 1'],
    ['1', 'a', '0.9000', '2026-11-25 02:30:00', 'a0123456789a', 'by its run'],
  ]);
});
