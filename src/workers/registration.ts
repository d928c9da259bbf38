/**
 * How an agent makes itself known to the pool, and stays known: the pool answers, or refuses with a sentence. An agent that was
 * frozen, or whose pool has been replaced, says again that it is there and what it holds.
 */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import {
  WithStartWorkflowOperation,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  type Client,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { Runtime } from '@temporalio/worker';
import { readFence } from '../activities/host/fence.js';
import { trainersFolder, workRootIdFile } from '../activities/host/work-folders.js';
import { UPDATES, WORKFLOW_TYPES, type HostLook, type Registration } from '../contract/messages.js';
import { controlQueue, poolWorkflowId } from '../contract/names.js';
import type { HostFacts, HostHealth, LeaseOwner } from '../plan/hosts.js';
import { bootId } from '../process/proc.js';
import { findTrainer } from '../process/supervisor.js';
import { createFile, listTrainers, trainerDir } from '../process/trainer-files.js';
import { monotonicSeconds, pause } from '../process/wait.js';
import type { AgentConfig } from './config.js';

/** Another agent lives under this host's name or on its work root: its sentence names it. */
export class AgentRefusedError extends Error {
  override readonly name = 'AgentRefusedError';
}

/** A pool that does not answer is asked again: the control worker may just be starting, and takes ten updates at a time. */
const ASK_AGAIN_MS = 1_000;
const LOOK_MS = 10_000;
/** So long without an answer, frozen or cut off, the pool takes the host for silent (`SILENT_AFTER_MS`), and may have given its name away. */
const AWAY_SECONDS = 20;

export interface Registering {
  readonly config: AgentConfig;
  readonly version: string;
  readonly startedAt: string;
  readonly client: Client;
  readonly signal: AbortSignal;
  /** What the last look at the host has found. */
  readonly health: () => HostHealth | undefined;
}

/** Resolves when the pool knows the host; throws AgentRefusedError, or the signal's reason. */
export async function register({
  client,
  signal,
  ...of
}: Registering): Promise<Registration & { readonly facts: HostFacts }> {
  let said = '';
  // Bounded by the signal alone: an agent has nothing else to do before the pool knows it.
  for (;;) {
    signal.throwIfAborted();
    const facts = await factsOf(of);
    try {
      const told = await client.withAbortSignal(signal, () => tellPool(client, of.config.cluster, facts));
      return { ...told, facts };
    } catch (error) {
      const cause = error instanceof WorkflowUpdateFailedError ? error.cause : undefined;
      if (cause instanceof ApplicationFailure && cause.type === 'HostNameTaken')
        throw new AgentRefusedError(cause.message);
      signal.throwIfAborted();
      const why = error instanceof Error ? error.message : String(error);
      // Once for each reason: a starting cluster takes seconds, and a wrong namespace or right never passes.
      if (why !== said)
        Runtime.instance().logger.warn(
          `Host ${of.config.name} is not known to the pool of cluster ${of.config.cluster} yet (${why}); it asks again every second.`,
        );
      said = why;
    }
    await pause(ASK_AGAIN_MS, signal);
  }
}

/** Watches until the signal is aborted, or until the pool has given the name to another agent, which it returns as an error. */
export async function stayRegistered(
  registering: Registering,
  registration: Registration,
): Promise<AgentRefusedError | undefined> {
  const { client, config, signal, health } = registering;
  let { poolId } = registration;
  let told: HostHealth | undefined;
  try {
    for (let heardAt = monotonicSeconds(); ;) {
      await pause(LOOK_MS, signal);
      const found = await lookForPool(client, config.cluster);
      if (found === undefined) continue;
      const wasAway = monotonicSeconds() - heardAt > AWAY_SECONDS;
      const isAnother = found.poolId !== poolId;
      if (wasAway || isAnother) ({ poolId } = await register(registering));
      if (isAnother) told = undefined;
      const now = health();
      if (now !== undefined && now !== told && (await tellHealth(client, config, now))) told = now;
      heardAt = monotonicSeconds();
    }
  } catch (error) {
    if (error instanceof AgentRefusedError) return error;
    if (error !== signal.reason) throw error;
    return undefined;
  }
}

/** Starts the pool if it is not there: whoever comes first. */
async function tellPool(client: Client, cluster: string, facts: HostFacts): Promise<Registration> {
  return client.workflow.executeUpdateWithStart<never, Registration, [HostFacts]>(UPDATES.registerHost, {
    args: [facts],
    startWorkflowOperation: new WithStartWorkflowOperation(WORKFLOW_TYPES.hostPool, {
      workflowId: poolWorkflowId(cluster),
      taskQueue: controlQueue(cluster),
      args: [{ cluster }],
      workflowIdConflictPolicy: 'USE_EXISTING',
      staticSummary: `hosts of ${cluster}`,
    }) as never,
  });
}

/** Whether it was heard; a pool that does not answer is told at the next look. */
async function tellHealth(client: Client, { cluster, name }: AgentConfig, health: HostHealth): Promise<boolean> {
  const pool = client.workflow.getHandle(poolWorkflowId(cluster));
  const look: HostLook = { host: name, health };
  return client
    .withDeadline(Date.now() + LOOK_MS, () => pool.executeUpdate(UPDATES.hostLooked, { args: [look] }))
    .then(
      () => true,
      () => false,
    );
}

/** The first run id of the pool, if one runs; undefined when the server does not answer, which says nothing about the pool. */
async function lookForPool(client: Client, cluster: string): Promise<{ readonly poolId?: string } | undefined> {
  const pool = client.workflow.getHandle(poolWorkflowId(cluster));
  try {
    const { raw, status } = await client.withDeadline(Date.now() + LOOK_MS, () => pool.describe());
    const poolId = raw.workflowExecutionInfo?.firstRunId;
    return status.name === 'RUNNING' && typeof poolId === 'string' ? { poolId } : {};
  } catch (error) {
    return error instanceof WorkflowNotFoundError ? {} : undefined;
  }
}

async function factsOf({
  config,
  version,
  startedAt,
}: Pick<Registering, 'config' | 'version' | 'startedAt'>): Promise<HostFacts> {
  const { name, address, npus, runtime, workRoot } = config;
  const machineId = await readFile('/etc/machine-id', 'utf8').catch(() => '');
  const { fence, lease } = await readFence(workRoot);
  return {
    ...{ name, address, npus, runtime, version, fence },
    workRootId: await workRootId(workRoot),
    machineId: machineId.trim(),
    bootId: bootId(),
    agentPid: process.pid,
    agentStartedAt: startedAt,
    held: lease !== null && (await isTraining(workRoot, lease)) ? lease.owner : null,
  };
}

/** Whether a trainer of the host's last lease lives. */
async function isTraining(
  workRoot: string,
  { runId, owner: { generation } }: { readonly runId: string; readonly owner: LeaseOwner },
): Promise<boolean> {
  const trainers = trainersFolder(workRoot);
  for (const trainer of await listTrainers(trainers))
    if (trainer.runId === runId && trainer.generation === generation) {
      if ((await findTrainer(trainerDir(trainers, trainer))).state === 'running') return true;
    }
  return false;
}

async function workRootId(workRoot: string): Promise<string> {
  await createFile(workRootIdFile(workRoot), randomUUID());
  return readFile(workRootIdFile(workRoot), 'utf8');
}
