/** When a schedule fires: cron expressions, intervals and times of the day, from the words of a user to those of Temporal. */
import type { CalendarSpec, ScheduleSpec } from '@temporalio/client';
import { ScheduleRefusedError } from './errors.js';

export interface Timetable {
  /** Five fields: minute, hour, day of the month, month, day of the week; or `@hourly`, `@daily`, `@weekly`, `@monthly`. */
  readonly cron?: readonly string[];
  /** Intervals, as `30s`, `15m`, `6h` or `1d`. */
  readonly every?: readonly string[];
  /** Times of the day, as `03:30`, `mon-fri 03:30`, `sat,sun 04:00` or, for days of the month, `1,15 03:30`. */
  readonly at?: readonly string[];
  /** IANA name of the zone of `cron` and `at`; left out, UTC. */
  readonly timeZone?: string;
}

/** Throws ScheduleRefusedError with everything that is wrong. */
export function scheduleSpec({ cron = [], every = [], at = [], timeZone }: Timetable): ScheduleSpec {
  const wrong: string[] = [];
  const read = <T>(what: string, text: string, parse: (text: string) => T | undefined, remedy: string): T[] => {
    const value = parse(text);
    if (value === undefined) wrong.push(`${what} "${text}" cannot be read: ${remedy}`);
    return value === undefined ? [] : [value];
  };
  if (cron.length + every.length + at.length === 0)
    wrong.push('The schedule has no time at which it fires: give a cron expression, an interval or a time of the day.');
  const cronExpressions = cron.flatMap((text) => read('The cron expression', text, readCron, CRON_REMEDY));
  const intervals = every.flatMap((text) => read('The interval', text, durationMs, DURATION_REMEDY));
  const calendars = at.flatMap((text) => read('The time', text, readTime, TIME_REMEDY));
  if (timeZone !== undefined && !isTimeZone(timeZone))
    wrong.push(`The time zone "${timeZone}" is not known: use a name of the IANA database, for example Europe/Berlin.`);
  if (wrong.length > 0) throw new ScheduleRefusedError(wrong.join('\n'));
  return {
    cronExpressions,
    calendars,
    intervals: intervals.map((ms) => ({ every: ms })),
    ...(timeZone === undefined ? {} : { timezone: timeZone }),
  };
}

const CRON_REMEDY = 'write five fields (minute, hour, day of the month, month, day of the week), as in "30 3 * * 1-5".';
const DURATION_REMEDY = 'write a whole number with s, m, h or d, as in "6h".';
const TIME_REMEDY = 'write "03:30", "mon-fri 03:30" or, for days of the month, "1,15 03:30".';

/** The server reads the fields; here only what it would take for something else (a zone, an interval, a comment) is refused. */
function readCron(text: string): string | undefined {
  return /^(@(hourly|daily|weekly|monthly|yearly)|[\w*/,-]+( +[\w*/,-]+){4})$/.test(text) ? text : undefined;
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `15m`, `6h`, `1d`; undefined for anything else, and for nothing. */
export function durationMs(text: string): number | undefined {
  const [, count = '', unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const ms = Number(count) * (UNIT_MS[unit] ?? 0);
  return ms > 0 ? ms : undefined;
}

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
const DAY_NAMES = ['SUNDAY', 'MONDAY', 'TUESDAY', 'WEDNESDAY', 'THURSDAY', 'FRIDAY', 'SATURDAY'] as const;
const LAST_DAY_OF_MONTH = 31;

function readTime(text: string): CalendarSpec | undefined {
  const [, days, hour = '', minute = ''] = /^(?:(\S+) +)?(\d{1,2}):(\d{2})$/.exec(text) ?? [];
  if (hour === '' || Number(hour) > 23 || Number(minute) > 59) return undefined;
  const time = { hour: Number(hour), minute: Number(minute), comment: text };
  if (days === undefined) return time;
  if (/^\d/.test(days)) {
    const dayOfMonth = readList(days, (name) => (/^\d{1,2}$/.test(name) ? Number(name) : -1), LAST_DAY_OF_MONTH);
    return dayOfMonth === undefined || dayOfMonth.includes(0) ? undefined : { ...time, dayOfMonth };
  }
  const week = readList(days, (name) => DAYS.indexOf(name as (typeof DAYS)[number]), DAYS.length - 1, true);
  return week === undefined ? undefined : { ...time, dayOfWeek: week.flatMap((day) => DAY_NAMES[day] ?? []) };
}

/** `a,c-e` as numbers in ascending order; `fri-mon` goes round the end where the days do. */
function readList(
  text: string,
  valueOf: (name: string) => number,
  last: number,
  isRound = false,
): number[] | undefined {
  const values = new Set<number>();
  for (const part of text.split(',')) {
    const [from = -1, to = from, ...more] = part.split('-').map(valueOf);
    if ([from, to].some((value) => value < 0 || value > last) || more.length > 0) return undefined;
    if (from > to && !isRound) return undefined;
    for (let value = from; value !== to; value = value === last ? 0 : value + 1) values.add(value);
    values.add(to);
  }
  return [...values].sort((a, b) => a - b);
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
