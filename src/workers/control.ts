/** The control worker: runs the workflows and the light activities. Stateless; any number may run. */
import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { createControlActivities } from '../activities/control/index.js';
import { controlQueue } from '../contract/names.js';
import { openStoreToWrite } from '../storage/open-store.js';
import type { ControlConfig } from './config.js';
import { connect, installRuntime } from './runtime.js';

/** Made by `npm run build`; bundling at each start would take seconds and 130 MB more. */
const WORKFLOW_BUNDLE = fileURLToPath(new URL('../workflow-bundle.js', import.meta.url));

/** A training keeps two for as long as it goes, which wait most of the time; the SDK's hundred would be full with fifty trainings. */
const SLOTS = 1_000;

/** Resolves when the worker has been asked to end and has. */
export async function runControlWorker(config: ControlConfig): Promise<void> {
  installRuntime(config);
  const store = await openStoreToWrite(config.store);
  const { connection, client } = await connect(config.temporal);
  const { namespace } = config.temporal;
  try {
    const worker = await Worker.create({
      connection,
      namespace,
      taskQueue: controlQueue(config.cluster),
      workflowBundle: { codePath: WORKFLOW_BUNDLE },
      activities: createControlActivities({ cluster: config.cluster, namespace, client, store, timing: config.timing }),
      identity: `control/${config.cluster}@${String(process.pid)}`,
      maxConcurrentActivityTaskExecutions: SLOTS,
      maxHeartbeatThrottleInterval: '2 seconds', // watchers are replaced after 10 s of silence
      // Watching activities are cancelled at once at a shutdown and go on elsewhere.
      shutdownForceTime: '10 seconds',
    });
    await worker.run();
  } finally {
    await connection.close();
  }
}
