/** The agent: one per host, for life under its lock; two workers, one for the NPUs and one for staging, stopping and looking. */
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Client } from '@temporalio/client';
import { Worker, type NativeConnection } from '@temporalio/worker';
import { createHostActivities } from '../activities/host/index.js';
import type { HostDeps } from '../activities/host/deps.js';
import { HostDoctor, lookNowAndThen } from '../activities/host/host-doctor.js';
import { agentLockFile, attemptsFolder } from '../activities/host/work-folders.js';
import { agentIdentity, ioQueue, npuQueue } from '../contract/names.js';
import type { HostFacts } from '../plan/hosts.js';
import { placesOf } from '../preflight/places.js';
import { takeAgentLock } from '../process/host-lock.js';
import type { ObjectStore } from '../storage/object-store.js';
import { openStoreToWrite } from '../storage/open-store.js';
import type { AgentConfig } from './config.js';
import { hostEnvironment } from './host-environment.js';
import { endOpenAttempts, OpenAttempt } from './open-attempts.js';
import { stopOrphan } from './orphan.js';
import { AgentRefusedError, register, stayRegistered } from './registration.js';
import { connect, installRuntime, SHUTDOWN_SIGNALS } from './runtime.js';

/** Shipped with the agent: `trainer/` beside `dist/`. */
const TOOLS_HOME = fileURLToPath(new URL('../../trainer', import.meta.url));
/** The lease gives exclusivity; the spare slot keeps an attempt that is just ending from blocking the next one. */
const NPU_SLOTS = 2;
const IO_SLOTS = 8;

/** Resolves when the agent has been asked to end and has; trainers live on. Throws when another agent of this name lives. */
export async function runAgent(config: AgentConfig, version: string): Promise<void> {
  await mkdir(config.workRoot, { recursive: true });
  const lock = await takeAgentLock(agentLockFile(config.workRoot), config.name);
  if (lock.kind === 'busy') throw new AgentRefusedError(lock.message);
  const ending = new AbortController();
  const end = (): void => {
    ending.abort();
  };
  // Workers listen by themselves, but only once they run.
  for (const signal of SHUTDOWN_SIGNALS) process.once(signal, end);
  // Another agent may hold the host from then on, so this one ends; trainers live on.
  lock.lock.lost.addEventListener('abort', end);
  try {
    // Seconds, in which what an agent before this one has left open must not wait.
    const reading = hostEnvironment(config, process.env);
    reading.catch(() => undefined);
    installRuntime(config);
    const store = await openStoreToWrite(config.store);
    const { connection, client } = await connect(config.temporal);
    try {
      await endOpenAttempts(attemptsFolder(config.workRoot), client);
      await stopOrphan(config, client);
      // A host that cannot run anything does not offer itself.
      const environment = await reading;
      const doctor = new HostDoctor(placesOf(config, environment['PATH'] ?? ''));
      const startedAt = new Date().toISOString();
      const registering = { config, version, client, startedAt, signal: ending.signal, health: () => doctor.health };
      // Before any work is taken up: what it does next is for the agent that the pool knows under this name.
      const registration = await register(registering);
      const own = { environment, doctor };
      const workers = await createWorkers(config, registration.facts, store, own, connection, client);
      const working = Promise.all(workers.map((one) => one.run())).finally(end);
      const shutDown = (): void => {
        for (const one of workers) if (one.getState() === 'RUNNING') one.shutdown();
      };
      ending.signal.addEventListener('abort', shutDown);
      if (ending.signal.aborted) shutDown();
      const looking = lookNowAndThen(config.workRoot, doctor, ending.signal);
      const refused = await stayRegistered(registering, registration);
      end();
      await Promise.all([working, looking]);
      if (refused !== undefined) throw refused;
    } catch (error) {
      // Asked to end while it still waited for the pool.
      if (error !== ending.signal.reason) throw error;
    } finally {
      await connection.close();
    }
  } finally {
    for (const signal of SHUTDOWN_SIGNALS) process.off(signal, end);
    await lock.lock.release();
  }
}

async function createWorkers(
  config: AgentConfig,
  facts: HostFacts,
  store: ObjectStore,
  { doctor, environment }: { readonly doctor: HostDoctor; readonly environment: HostDeps['environment'] },
  connection: NativeConnection,
  client: Client,
): Promise<readonly Worker[]> {
  const deps: HostDeps = {
    cluster: config.cluster,
    facts,
    client,
    store,
    workRoot: config.workRoot,
    runtimeBin: config.runtimeBin,
    trainerHome: config.trainerHome,
    toolsHome: TOOLS_HOME,
    environment,
    leaseTtlSeconds: config.leaseTtlSeconds,
    graceSeconds: config.graceSeconds,
  };
  const { io, npu } = createHostActivities(deps, doctor);
  const workers: Worker[] = [];
  const isEnding = (): boolean => workers.some((worker) => worker.getState() !== 'RUNNING');
  const common = {
    connection,
    namespace: config.temporal.namespace,
    identity: agentIdentity(config.cluster, config.name, process.pid),
    // A cancel arrives with the answer to a beat: seconds, also when the heartbeat's limit is lenient.
    maxHeartbeatThrottleInterval: '2 seconds',
    interceptors: { activity: [() => ({ inbound: new OpenAttempt(attemptsFolder(config.workRoot), isEnding) })] },
  };
  workers.push(
    await Worker.create({
      ...common,
      taskQueue: npuQueue(config.cluster, config.name),
      activities: { ...npu },
      maxConcurrentActivityTaskExecutions: NPU_SLOTS,
      shutdownGraceTime: 0, // detaching takes milliseconds, and the trainer does not notice
    }),
    await Worker.create({
      ...common,
      taskQueue: ioQueue(config.cluster, config.name),
      activities: { ...io },
      maxConcurrentActivityTaskExecutions: IO_SLOTS,
      shutdownGraceTime: '5 seconds', // short duties end well; long ones go on from their resume point elsewhere
    }),
  );
  return workers;
}
