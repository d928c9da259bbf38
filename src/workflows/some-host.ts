/** Runs a stage that needs no lease on any live host; one that does not take it up, or fails it for its own reasons, is passed over. */
import { ApplicationFailure, isCancellation } from '@temporalio/workflow';
import type { IoActivities } from '../contract/activities.js';
import { control, onIo } from './activities.js';
import { failureFacts } from './failure.js';
import { HOST_STAGE } from './options.js';

/** A stage that failed so many times is at fault itself, not its hosts. */
const TRIES = 4;

/** Failures of a host: another one may not have them, and on the only one a second try may go well. */
const HOST_FAILURES = ['Silent', 'NotPickedUp', 'TimedOut', 'CommandFailed'];
/** A folder that is not on this host may be on another; looking twice on the same one finds nothing new. */
const PLACE_FAILURES = ['SourceNotFound'];

export interface SomeHost {
  readonly cluster: string;
  readonly runtime: 'cpu' | 'ascend';
  /** What is done, for the summaries in the Temporal UI. */
  readonly what: string;
}

export async function onSomeHost<Result>(
  where: SomeHost,
  start: (io: IoActivities, host: string) => Promise<Result>,
): Promise<Result> {
  const tried: string[] = [];
  for (let tries = 1; ; tries += 1) {
    const { pickHost } = control(where.cluster, `${where.what} · which host`);
    const question = { cluster: where.cluster, runtime: where.runtime };
    // When every host was tried once, each gets a second chance.
    const host = (await pickHost({ ...question, except: tried })) ?? tried[(tries - 1) % tried.length] ?? '';
    try {
      return await start(onIo(where.cluster, host, where.what, HOST_STAGE), host);
    } catch (error) {
      if (isCancellation(error)) throw error;
      const { type, message } = failureFacts(error);
      const again = HOST_FAILURES.includes(type) || (PLACE_FAILURES.includes(type) && !tried.includes(host));
      if (!again || tries === TRIES)
        throw ApplicationFailure.nonRetryable(`${where.what} failed on ${host}: ${message}`, type);
      if (!tried.includes(host)) tried.push(host);
    }
  }
}
