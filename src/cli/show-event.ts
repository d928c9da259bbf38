/** An event of a run as a line for a person. */
import type { RunEvent } from '../client/index.js';
import { duration, percent } from '../report/numbers.js';

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
    case 'incident':
      return line('!', 'train', [
        `generation ${String(event.generation)}: ${event.failure} on ${event.host}: ${event.message}`,
        event.decision,
        `${String(event.iterationsLost)} iterations lost`,
      ]);
    case 'waiting':
      return `. waiting: ${event.for}`;
    case 'outcome':
      return `${event.outcome === 'promoted' ? '*' : '!'} ${event.outcome}: ${event.message}`;
  }
}

const BAR_WIDTH = 24;

/** `width` is the terminal's, to which the line is cut; left out, there is no bar and no cut. */
export function showProgress(
  { stage, host, done, total, loss, etaSeconds, message }: Progress,
  width?: number,
): string {
  const facts = [
    done === undefined ? undefined : showCount(done, total),
    loss === undefined ? undefined : `loss ${loss.toPrecision(4)}`,
    etaSeconds === undefined ? undefined : `${duration(etaSeconds)} left`,
    `${message} (${host})`,
  ].filter((fact) => fact !== undefined);
  const text = `  ${stage.padEnd(8)} ${facts.join('  ')}`;
  if (width === undefined) return text;
  const share = done === undefined || total === undefined || total === 0 ? undefined : Math.min(1, done / total);
  return (share === undefined ? text : `  ${bar(share)} ${text.trimStart()}`).slice(0, Math.max(20, width - 1));
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
