/** One heartbeat loop for every long activity: beats while the body runs, with what the body last said. */
import { Context } from '@temporalio/activity';
import type { StageProgress } from '../contract/activities.js';

/** Often enough to be seen and to deliver a cancellation soon; the worker throttles what the server need not have. */
const BEAT_MS = 1000;

export interface Reporter {
  /** Replaces the progress that the next beats carry. */
  readonly say: (progress: Omit<StageProgress, 'host'>) => void;
  readonly signal: AbortSignal;
}

/** A timer beats, not the body, so that a body that waits for a disk or a network still lives for the server. */
export async function reporting<Result>(host: string, body: (reporter: Reporter) => Promise<Result>): Promise<Result> {
  const context = Context.current();
  let progress: StageProgress = { host, message: 'begins' };
  const timer = setInterval(() => {
    context.heartbeat(progress);
  }, BEAT_MS);
  try {
    context.heartbeat(progress);
    return await body({ say: (next) => (progress = { host, ...next }), signal: context.cancellationSignal });
  } finally {
    clearInterval(timer);
  }
}
