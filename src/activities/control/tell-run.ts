/**
 * Takes a gang's news to its run's workflow, and its incidents into the store. A signal of the client costs the gang no event, one of its
 * own would cost five.
 */
import type { Client } from '@temporalio/client';
import type { ControlActivities } from '../../contract/activities.js';
import type { GangNews } from '../../contract/gang.js';
import { SIGNALS } from '../../contract/messages.js';
import { runWorkflowId } from '../../contract/names.js';
import { recordIncidents } from '../../records/incidents.js';
import { orFail } from '../fail.js';
import { reporting } from '../progress.js';
import type { ControlDeps } from './deps.js';

const LIMIT_MS = 5_000;

export function createTellRun({ client, store }: ControlDeps): Pick<ControlActivities, 'tellRun'> {
  return {
    tellRun: ({ runId, news }) => orFail(() => reporting('control', () => takeNews({ client, store }, runId, news))),
  };
}

/** Fails only when the store does not take an incident: a record is not left out because a page is late. */
export async function takeNews(
  { client, store }: Pick<ControlDeps, 'client' | 'store'>,
  runId: string,
  news: GangNews,
): Promise<void> {
  await recordIncidents(store, runId, news.incidents ?? []);
  await tellRun(client, runId, news);
}

/** A run that has ended needs no news, and a server that is away will have the next. */
export async function tellRun(client: Client, runId: string, news: GangNews): Promise<void> {
  await client.connection
    .withDeadline(Date.now() + LIMIT_MS, () =>
      client.workflow.getHandle(runWorkflowId(runId)).signal(SIGNALS.gangMoved, news),
    )
    .catch(() => undefined);
}
