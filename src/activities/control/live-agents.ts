/** Which agents live, by the heartbeats that workers send to the server. */
import { ioQueue } from '../../contract/names.js';
import type { ControlDeps } from './deps.js';

/** Agents beat every 5 s (`WORKER_HEARTBEAT` in workers/runtime.ts); two and a half missed beats are silence. */
export const SILENT_AFTER_MS = 13_000;

/** Names of hosts whose `io` worker was heard of lately. Dead workers stay listed as running, so only their age counts. */
export async function liveAgents({ client, namespace }: ControlDeps, cluster: string): Promise<ReadonlySet<string>> {
  const prefix = ioQueue(cluster, '');
  const since = new Date(Date.now() - SILENT_AFTER_MS).toISOString();
  const alive = new Set<string>();
  let nextPageToken: Uint8Array | undefined;
  // Bounded by the server's registry; 1,000 a page covers the largest cluster in a few turns.
  do {
    const page = await client.workflowService.listWorkers({
      namespace,
      query: `TaskQueue STARTS_WITH '${prefix}' AND WorkerStatus = 'Running' AND HeartbeatTime > '${since}'`,
      pageSize: 1000,
      ...(nextPageToken === undefined ? {} : { nextPageToken }),
    });
    for (const { workerHeartbeat } of page.workersInfo) {
      const queue = workerHeartbeat?.taskQueue;
      if (typeof queue === 'string' && queue.startsWith(prefix)) alive.add(queue.slice(prefix.length));
    }
    nextPageToken = page.nextPageToken.length > 0 ? page.nextPageToken : undefined;
  } while (nextPageToken !== undefined);
  return alive;
}
