/** A trainer whose run was terminated while its agent was down: nobody asks for it any more, so the next agent ends it. */
import type { Client } from '@temporalio/client';
import { hasEnded } from '../activities/host/acknowledged-beats.js';
import { hostLockFile } from '../activities/host/work-folders.js';
import { trainWorkflowId } from '../contract/names.js';
import { readLockHolder } from '../process/host-lock.js';
import { findTrainer } from '../process/supervisor.js';
import { requestStop } from '../process/trainer-files.js';
import type { AgentConfig } from './config.js';

/** The host's lock names the one trainer that can be here. It is asked as by a cancel: it may save first. */
export async function stopOrphan({ workRoot, graceSeconds }: AgentConfig, client: Client): Promise<void> {
  const holder = await readLockHolder(hostLockFile(workRoot));
  const runId = holder?.marker['ANNEAL_RUN_ID'];
  if (holder === undefined || runId === undefined) return;
  if ((await findTrainer(holder.directory)).state !== 'running') return;
  if (await hasEnded(client, { workflowId: trainWorkflowId(runId) }))
    await requestStop(holder.directory, { graceMs: graceSeconds * 1000 });
}
