/** Runs a stage that needs no lease on any live host; one that does not take it up, or fails it for its own reasons, is passed over. */
import { ApplicationFailure, isCancellation } from '@temporalio/workflow';
import type { IoActivities } from '../contract/activities.js';
import { control, onIo } from './activities.js';
import { failureFacts } from './failure.js';
import { HOST_STAGE } from './options.js';

/** More hosts than this failing one stage says that the stage is at fault, not the hosts. */
const HOSTS_TO_TRY = 4;

/** Failures that another host may not have: it was silent, or it ran into something three times. */
const ANOTHER_HOST_MAY = ['Silent', 'NotPickedUp', 'TimedOut', 'CommandFailed', 'SourceNotFound'];

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
  for (;;) {
    const { pickHost } = control(where.cluster, `${where.what} · which host`);
    const host = await pickHost({ cluster: where.cluster, runtime: where.runtime, except: tried });
    try {
      return await start(onIo(where.cluster, host, where.what, HOST_STAGE), host);
    } catch (error) {
      if (isCancellation(error)) throw error;
      const { type, message } = failureFacts(error);
      tried.push(host);
      if (!ANOTHER_HOST_MAY.includes(type) || tried.length >= HOSTS_TO_TRY)
        throw ApplicationFailure.nonRetryable(`${where.what} failed on ${tried.join(', ')}: ${message}`, type);
    }
  }
}
