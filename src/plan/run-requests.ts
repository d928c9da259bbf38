/** What may be asked of a run while it goes, and how it says who asked: one sentence each, the same in refusals, pages and lists. */
import { utcTime } from './numbers.js';

/** Who asked for something, why and when (epoch milliseconds). */
interface Asked {
  readonly by: string;
  readonly why: string;
  readonly at: number;
}
/** What was asked of the run and holds. */
export interface Requests {
  readonly stopped?: Asked;
  readonly paused?: Asked;
}

/** Half a sentence: `paused by ada@desk since 2026-11-25 18:38:49 UTC: the room is too warm`. */
export function sayPaused({ by, at, why }: Asked): string {
  return `paused by ${by} since ${utcTime(at)} UTC: ${why}`;
}

export function sayStopped({ by, at, why }: Asked): string {
  return `stopped by ${by} at ${utcTime(at)} UTC: ${why}`;
}

/** Undefined when the run may be paused. A second pause is refused, so that nobody takes somebody else's for his own. */
export function refusePause({ stopped, paused }: Requests, runId: string): string | undefined {
  if (stopped !== undefined) return `The run "${runId}" cannot be paused: it is being ${sayStopped(stopped)}.`;
  if (paused === undefined) return undefined;
  return `The run "${runId}" is already ${sayPaused(paused)}. "anneal resume ${runId}" lets it go on.`;
}

/** Undefined when there is a pause to end. */
export function refuseResume({ stopped, paused }: Requests, runId: string): string | undefined {
  if (stopped !== undefined) return `The run "${runId}" cannot be resumed: it is being ${sayStopped(stopped)}.`;
  return paused === undefined ? `The run "${runId}" is not paused, so there is nothing to resume.` : undefined;
}
