/** What both processes share: the SDK's runtime and the connection. */
import { Client } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime } from '@temporalio/worker';

/** Liveness of hosts is judged by these beats: `SILENT_AFTER_MS` in activities/control/live-agents.ts is 2.5 of them. */
const WORKER_HEARTBEAT = '5 seconds';

export const SHUTDOWN_SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Names of metrics with `_total` and `_seconds`, and numbers in seconds. */
const AS_PROMETHEUS_HAS_THEM = {
  countersTotalSuffix: true,
  unitSuffix: true,
  useSecondsForDurations: true,
  // All that begin so. The SDK's own buckets end at 10 seconds, where a large model has not begun to load.
  histogramBucketOverrides: { anneal_incident_to: [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600] },
};

export interface Connected {
  readonly connection: NativeConnection;
  readonly client: Client;
}

/** Call once per process, before any worker. `metricsAddress`: where `/metrics` is read; left out, nowhere. */
export function installRuntime({ metricsAddress }: { readonly metricsAddress?: string | undefined }): void {
  // A word that the log cannot take, as on a full disk, must not cost the process: unheard, the error would end it.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  // State changes of the SDK's parts are no news to an operator; what fails is.
  const logger = new DefaultLogger('WARN');
  const options = { logger, workerHeartbeatInterval: WORKER_HEARTBEAT, shutdownSignals: [...SHUTDOWN_SIGNALS] };
  if (metricsAddress === undefined) {
    Runtime.install(options);
    return;
  }
  const prometheus = { bindAddress: metricsAddress, ...AS_PROMETHEUS_HAS_THEM };
  try {
    Runtime.install({ ...options, telemetryOptions: { metrics: { prometheus } } });
  } catch (error) {
    throw new Error(
      `metricsAddress is ${metricsAddress}, and nothing can be served there (${String(error)}). ` +
        'Give this process an address and port of its own, such as 0.0.0.0:9464, or leave it out.',
      { cause: error },
    );
  }
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
