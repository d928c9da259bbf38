/** The words for a schedule's times, and what is said of those that cannot be read. */
import { describe, expect, test } from 'vitest';
import { OVERLAPS } from '../../../src/cli/schedule-commands.js';
import { OVERLAP_NAMES, ScheduleRefusedError } from '../../../src/client/index.js';
import { durationMs, scheduleSpec, type Timetable } from '../../../src/client/timetable.js';

describe('times of the day', () => {
  test.each([
    ['03:30', { hour: 3, minute: 30 }],
    ['mon-fri 03:30', { hour: 3, minute: 30, dayOfWeek: ['MONDAY', 'TUESDAY', 'WEDNESDAY', 'THURSDAY', 'FRIDAY'] }],
    ['sat,sun 4:00', { hour: 4, minute: 0, dayOfWeek: ['SUNDAY', 'SATURDAY'] }],
    ['fri-mon 04:00', { hour: 4, minute: 0, dayOfWeek: ['SUNDAY', 'MONDAY', 'FRIDAY', 'SATURDAY'] }],
    ['1,15 23:59', { hour: 23, minute: 59, dayOfMonth: [1, 15] }],
    ['1-3,31 00:00', { hour: 0, minute: 0, dayOfMonth: [1, 2, 3, 31] }],
  ])('%s', (text, expected) => {
    expect(scheduleSpec({ at: [text] }).calendars).toEqual([{ ...expected, comment: text }]);
  });
});

test.each([
  ['30s', 30_000],
  ['15m', 900_000],
  ['6h', 21_600_000],
  ['1d', 86_400_000],
  ['0m', undefined],
  ['5', undefined],
  ['1.5h', undefined],
  ['-1h', undefined],
  ['1w', undefined],
  ['', undefined],
])('the duration %s', (text, expected) => {
  expect(durationMs(text)).toBe(expected);
});

test('cron, intervals and zone go through to Temporal', () => {
  const timetable: Timetable = { cron: ['30 3 * * MON-FRI', '@daily'], every: ['6h'], timeZone: 'Europe/Berlin' };
  expect(scheduleSpec(timetable)).toEqual({
    cronExpressions: ['30 3 * * MON-FRI', '@daily'],
    calendars: [],
    intervals: [{ every: 21_600_000 }],
    timezone: 'Europe/Berlin',
  });
});

test.each<readonly [Timetable, RegExp]>([
  [{}, /no time at which it fires/],
  [{ cron: ['30 3 * *'] }, /cron expression "30 3 \* \*" cannot be read: write five fields/],
  [{ cron: ['CRON_TZ=UTC 30 3 * * *'] }, /cannot be read/],
  [{ cron: ['@every 5m'] }, /cannot be read/],
  [{ every: ['6 hours'] }, /interval "6 hours" cannot be read: write a whole number with s, m, h or d/],
  [{ at: ['25:00'] }, /time "25:00" cannot be read/],
  [{ at: ['monday 03:30'] }, /cannot be read/],
  [{ at: ['0 03:30'] }, /cannot be read/],
  [{ at: ['32 03:30'] }, /cannot be read/],
  [{ at: ['5-3 03:30'] }, /cannot be read/],
  [{ at: ['03:60'] }, /cannot be read/],
  [{ at: ['03:30'], timeZone: 'Berlin' }, /time zone "Berlin" is not known/],
])('%j is refused', (timetable, expected) => {
  expect(() => scheduleSpec(timetable)).toThrow(ScheduleRefusedError);
  expect(() => scheduleSpec(timetable)).toThrow(expected);
});

test('everything that is wrong is said at once', () => {
  const wrong = (): unknown => scheduleSpec({ cron: ['x'], every: ['y'], at: ['z'], timeZone: 'nowhere' });
  expect(wrong).toThrow(/"x".*\n.*"y".*\n.*"z".*\n.*"nowhere"/);
});

test('the command offers the overlap policies of the SDK', () => {
  expect(OVERLAPS).toEqual(OVERLAP_NAMES);
});
