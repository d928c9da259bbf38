/** What both processes share: the SDK's runtime and the connection. */
import { Client } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime } from '@temporalio/worker';

/** Liveness of hosts is judged by these beats: `SILENT_AFTER_MS` in activities/control/live-agents.ts is 2.5 of them. */
const WORKER_HEARTBEAT = '5 seconds';

export const SHUTDOWN_SIGNALS = ['SIGINT', 'SIGTERM'] as const;

export interface Connected {
  readonly connection: NativeConnection;
  readonly client: Client;
}

/** Call once per process, before any worker. */
export function installRuntime(): void {
  Runtime.install({
    // State changes of the SDK's parts are no news to an operator; what fails is.
    logger: new DefaultLogger('WARN'),
    workerHeartbeatInterval: WORKER_HEARTBEAT,
    shutdownSignals: [...SHUTDOWN_SIGNALS],
  });
}

/** One native connection carries the workers and the client: after a server restart it is back seconds before grpc-js is. */
export async function connect({
  address,
  namespace,
}: {
  readonly address: string;
  readonly namespace: string;
}): Promise<Connected> {
  const connection = await NativeConnection.connect({ address });
  return { connection, client: new Client({ connection, namespace }) };
}
