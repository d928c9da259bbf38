/** An event of a run as a line for a person. */
import type { RunEvent } from '../client/index.js';
import { oneLine } from '../plan/one-line.js';
import { duration, percent, restoredFrom } from '../plan/numbers.js';

type Progress = Extract<RunEvent, { type: 'progress' }>;

export function showEvent(event: Exclude<RunEvent, Progress>): string {
  switch (event.type) {
    case 'stage-started':
      return line('>', event.stage, ['started', onHosts(event.hosts), event.note]);
    case 'stage-done':
      return line('*', event.stage, [`done in ${duration(event.seconds)}`, onHosts(event.hosts), event.note]);
    case 'stage-reused':
      return line('=', event.stage, ['reused', event.note]);
    case 'stage-failed':
      return line('!', event.stage, ['failed', onHosts(event.hosts), event.note]);
    case 'stage-stopped':
      return line('!', event.stage, ['stopped', onHosts(event.hosts), event.note]);
    case 'incident':
      return audit('!', event, [
        `${event.failure} on ${foreign(event.host)}: ${foreign(event.message)}`,
        foreign(event.decision),
        `${String(event.iterationsLost)} iterations lost`,
        ...(event.secondsToDetect === undefined ? [] : [`found after ${duration(event.secondsToDetect)}`]),
        ...(event.secondsToDecide === undefined ? [] : [`decided in ${duration(event.secondsToDecide)}`]),
        ...(event.evidence === undefined ? [] : [`evidence in ${event.evidence}`]),
      ]);
    case 'recovered':
      return audit('*', { at: event.at + event.secondsToNewIteration * 1000, generation: event.generation }, [
        `the ${event.failure} on ${foreign(event.host)} is made good`,
        `${String(event.iterationsLost)} iterations trained again, new ones after ${duration(event.secondsToNewIteration)}`,
        event.restored === undefined ? '' : restoredFrom(event.restored),
      ]);
    case 'handover':
      return event.isHeard
        ? audit('*', event, [`${foreign(event.who)}: ${event.what}`, 'its successor goes on', 'nothing lost'])
        : audit('.', event, [`${foreign(event.who)}: ${event.what}`, 'its work is asked for again']);
    case 'retry':
      return line('>', 'train', [foreign(event.note)]);
    case 'waiting':
      return `. waiting: ${foreign(event.for)}`;
    case 'outcome':
      return `${event.outcome === 'promoted' ? '*' : '!'} ${event.outcome}: ${event.message}`;
  }
}

/** When, in which gang; then who and what, why, and what it cost. */
function audit(
  sign: string,
  { at, generation }: { readonly at: number; readonly generation: number },
  parts: readonly string[],
): string {
  return line(sign, 'train', [
    `${clock(at)} generation ${String(generation)}: ${parts.filter((part) => part !== '').join('; ')}`,
  ]);
}

/** By the terminal's own clock. */
function clock(epochMs: number): string {
  const at = new Date(epochMs);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}

/** What trainers print must not steer the terminal. */
function foreign(text: string): string {
  return oneLine(text, 300);
}

const BAR_WIDTH = 24;

/** Without a terminal: one plain line. `columns` is the terminal's width, to which every line is cut; a gang has a second one. */
export function showProgress(event: Progress, columns?: number): readonly string[] {
  const { stage, host, hosts, generation, done, total, message } = event;
  const name = `  ${stage.padEnd(8)}`;
  const facts = factsOf(event).join('  ');
  if (columns === undefined) return [`${name} ${[facts, `${message} (${host})`].filter(Boolean).join('  ')}`];
  const share = done === undefined || total === undefined || total === 0 ? undefined : Math.min(1, done / total);
  const width = Math.max(20, columns - 1);
  const first = [name, ...(share === undefined ? [] : [bar(share), percent(share).padStart(7)]), facts].join(' ');
  const who = generation === undefined ? host : `generation ${String(generation)} on ${(hosts ?? [host]).join(', ')}`;
  return generation === undefined
    ? [`${first}  ${message} (${host})`.slice(0, width)]
    : [first.slice(0, width), `${' '.repeat(name.length)} ${who}: ${message}`.slice(0, width)];
}

function factsOf({ stage, done, total, loss, perSecond, etaSeconds }: Progress): readonly string[] {
  return [
    done === undefined ? undefined : showCount(done, total),
    loss === undefined ? undefined : `loss ${loss.toPrecision(4)}`,
    perSecond === undefined ? undefined : showRate(perSecond, stage, total),
    etaSeconds === undefined ? undefined : `${duration(etaSeconds)} left`,
  ].filter((fact) => fact !== undefined);
}

/** Only counts of bytes are so long. */
function showRate(perSecond: number, stage: string, total = 0): string {
  if (stage === 'train') return `${(1 / perSecond).toPrecision(3)} s/iteration`;
  return total > LONG_COUNT ? `${(perSecond / 1e6).toFixed(1)} MB/s` : `${perSecond.toFixed(0)}/s`;
}

/** Bytes of a transfer say less than their share. */
const LONG_COUNT = 100_000;

function showCount(done: number, total: number | undefined): string {
  if (total === undefined) return String(done);
  return total > LONG_COUNT ? percent(done / total) : `${String(done)}/${String(total)}`;
}

function bar(share: number): string {
  const full = Math.round(share * BAR_WIDTH);
  return `[${'#'.repeat(full)}${'-'.repeat(BAR_WIDTH - full)}]`;
}

function onHosts(hosts: readonly string[]): string {
  return hosts.length === 0 ? '' : `on ${hosts.join(', ')}`;
}

function line(sign: string, stage: string, parts: readonly string[]): string {
  return `${sign} ${stage.padEnd(8)} ${parts.filter((part) => part !== '').join(', ')}`;
}
