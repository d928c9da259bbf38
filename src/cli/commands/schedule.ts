/** `anneal schedule …`: create, look at and steer the schedules of the cluster. */
import type {
  Overlap,
  RetrainListing,
  ScheduleListing,
  ScheduleOptions,
  ScheduleView,
  Timetable,
} from '../../client/index.js';
import { textTable } from '../../report/table.js';
import { EXIT_CODES } from '../exit-codes.js';
import { note, print, printJson } from '../output.js';
import { requirePlan } from '../spec-file.js';
import { withAnneal, type WhereFlags } from '../where.js';

export interface ScheduleFlags extends WhereFlags {
  readonly json?: boolean;
}
export interface CreateFlags extends ScheduleFlags, Timetable {
  readonly from: 'base' | 'promoted';
  readonly overlap: Overlap;
  readonly catchUp: string;
  readonly pauseOnFailure?: boolean;
  readonly paused?: boolean;
}

export async function create(name: string, fileName: string, flags: CreateFlags): Promise<number> {
  const { spec } = await requirePlan(fileName);
  return withAnneal(flags, async ({ schedules }) => {
    const { cron, every, at, timeZone, from, overlap, catchUp, pauseOnFailure = false, paused = false } = flags;
    const timetable = { ...{ cron, every, at, timeZone } } as Timetable;
    const options: ScheduleOptions = { ...timetable, from, overlap, catchUp, pauseOnFailure, paused };
    await schedules.create(name, spec, options);
    const view = await schedules.show(name);
    if (flags.json) printJson(view);
    else {
      print(`${name} is created: retrains ${view.model} ${showTimetable(view.timetable)}.`);
      print(paused ? `  it is paused: anneal schedule resume ${name}` : `  next: ${view.next[0] ?? 'never'}`);
    }
    return EXIT_CODES.ok.code;
  });
}

export async function list(flags: ScheduleFlags): Promise<number> {
  return withAnneal(flags, async ({ schedules, place }) => {
    const listed = await schedules.list();
    if (flags.json) printJson(listed);
    else if (listed.length === 0)
      note(`No schedules in cluster "${place.cluster}" yet. Create one: anneal schedule create NAME SPEC --every 1d`);
    else print(showSchedules(listed));
    return EXIT_CODES.ok.code;
  });
}

export async function show(name: string, flags: ScheduleFlags): Promise<number> {
  return withAnneal(flags, async ({ schedules }) => {
    const view = await schedules.show(name);
    if (flags.json) printJson(view);
    else print(showSchedule(view));
    return EXIT_CODES.ok.code;
  });
}

export async function pause(name: string, flags: ScheduleFlags & { readonly why: string }): Promise<number> {
  return withAnneal(flags, async ({ schedules }) => {
    await schedules.pause(name, flags.why);
    print(`${name} is paused: it fires no more. A retrain of it that runs goes on.`);
    return EXIT_CODES.ok.code;
  });
}

export async function resume(name: string, flags: ScheduleFlags & { readonly why: string }): Promise<number> {
  return withAnneal(flags, async ({ schedules }) => {
    await schedules.resume(name, flags.why);
    print(`${name} is resumed; next: ${(await schedules.show(name)).next[0] ?? 'never'}`);
    return EXIT_CODES.ok.code;
  });
}

export async function trigger(name: string, flags: ScheduleFlags): Promise<number> {
  return withAnneal(flags, async ({ schedules }) => {
    await schedules.trigger(name);
    print(`${name} is triggered. What comes of it: anneal schedule show ${name}`);
    return EXIT_CODES.ok.code;
  });
}

export async function remove(name: string, flags: ScheduleFlags): Promise<number> {
  return withAnneal(flags, async ({ schedules }) => {
    await schedules.delete(name);
    print(`${name} is deleted. A retrain of it that runs goes on; its promotions stay.`);
    return EXIT_CODES.ok.code;
  });
}

function showSchedules(listed: readonly ScheduleListing[]): string {
  const rows = listed.map(({ name, model, timetable, paused, note: why, next }) => [
    name,
    model,
    showTimetable(timetable),
    paused ? `paused (${why})` : minute(next[0]),
  ]);
  return textTable(['SCHEDULE', 'MODEL', 'FIRES', 'NEXT (UTC)'], rows);
}

export function showSchedule(view: ScheduleView): string {
  const { name, model, timetable, spec, from, overlap, catchUpSeconds, pauseOnFailure, missed, skipped } = view;
  const facts: readonly (readonly [string, string])[] = [
    ['fires', showTimetable(timetable)],
    ['retrains', `${model}, by the spec ${spec.name}, from the ${from === 'promoted' ? 'promoted' : 'base'} model`],
    ['state', view.paused ? `paused (${view.note})` : 'active'],
    ['next (UTC)', view.next.slice(0, 3).map(minute).join(', ') || 'never'],
    ['overlap', `${overlap}; ${String(skipped)} firings skipped since one still ran`],
    ['catch-up', `${String(catchUpSeconds)} s; ${String(missed)} firings missed`],
    ['on failure', pauseOnFailure ? 'pauses' : 'goes on'],
  ];
  return [
    name,
    ...facts.map(([what, value]) => `  ${what.padEnd(10)}  ${value}`),
    '',
    view.retrains.length === 0 ? 'It has not fired yet.' : showRetrains(view.retrains),
  ].join('\n');
}

function showRetrains(retrains: readonly RetrainListing[]): string {
  const rows = retrains.map(({ startedAt, endedAt, outcome, runId }) => [
    startedAt.slice(0, 19).replace('T', ' '),
    endedAt === null ? '-' : `${String(Math.round((Date.parse(endedAt) - Date.parse(startedAt)) / 1000))} s`,
    outcome,
    runId === '' ? '-' : runId,
  ]);
  return textTable(['FIRED (UTC)', 'TOOK', 'OUTCOME', 'RUN'], rows);
}

export function showTimetable({ cron = [], every = [], at = [], timeZone }: Timetable): string {
  const times = [
    ...cron.map((text) => `cron ${text}`),
    ...every.map((text) => `every ${text}`),
    ...at.map((text) => `at ${text}`),
  ];
  return [times.join(', '), ...(timeZone === undefined ? [] : [`(${timeZone})`])].join(' ');
}

function minute(time: string | undefined): string {
  return time === undefined ? 'never' : time.slice(0, 19).replace('T', ' ');
}
