/** Runs a stage that needs no lease on any live host; one that does not take it up, or fails it for its own reasons, is passed over. */
import { ApplicationFailure, isCancellation } from '@temporalio/workflow';
import type { IoActivities } from '../contract/activities.js';
import { control, onIo } from './activities.js';
import { failureFacts, type FailureFacts } from './failure.js';
import { HOST_STAGE } from './options.js';

/** A stage that failed so many times is at fault itself, not its hosts. */
const TRIES = 4;

/** Failures of a host: another one may not have them, and on the only one a second try may go well. */
export const HOST_FAILURES: readonly string[] = [
  'Silent',
  'NotPickedUp',
  'TimedOut',
  'CommandFailed',
  'OutOfHostMemory',
  'HostFull',
];
/** A folder that is not on this host may be on another; looking twice on the same one finds nothing new. */
const PLACE_FAILURES: readonly string[] = ['SourceNotFound'];

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
  let failed: FailureFacts | undefined;
  for (let tries = 1; ; tries += 1) {
    const { pickHost } = control(where.cluster, `${where.what} · which host`);
    const fresh = await pickHost({ cluster: where.cluster, runtime: where.runtime, except: tried });
    // When every host was tried once, each gets a second chance, unless it would only look at the same folder again.
    const host = fresh ?? tried[(tries - 1) % tried.length] ?? '';
    if (failed !== undefined && fresh === null && PLACE_FAILURES.includes(failed.type))
      throw giveUp(where, tried, failed);
    try {
      return await start(onIo(where.cluster, host, where.what, HOST_STAGE), host);
    } catch (error) {
      if (isCancellation(error)) throw error;
      failed = failureFacts(error);
      if (fresh !== null) tried.push(host);
      if (![...HOST_FAILURES, ...PLACE_FAILURES].includes(failed.type) || tries === TRIES)
        throw giveUp(where, tried, failed);
    }
  }
}

function giveUp({ what }: SomeHost, tried: readonly string[], { type, message }: FailureFacts): ApplicationFailure {
  return ApplicationFailure.nonRetryable(`${what} failed on ${tried.join(', ')}: ${message}`, type);
}
