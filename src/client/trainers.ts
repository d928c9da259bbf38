/** Which process trains on a host: the pool does not know, but the activity that observes the trainer says it with every beat. */
import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import type { HostView } from '../plan/hosts.js';
import { isTrainProgress, limited, wordsOf } from './look.js';

/** A host as the pool knows it, and the trainer on it. */
export interface HostListing extends HostView {
  /** Of the trainer's launcher, torchrun; left out while none runs or none has been heard of. */
  readonly trainerPid?: number;
}

export async function withTrainers(client: Client, hosts: readonly HostView[]): Promise<readonly HostListing[]> {
  const owners = new Set(hosts.flatMap(({ owner }) => (owner === null ? [] : [owner.workflowId])));
  const found = await Promise.all([...owners].map((workflowId) => trainersOf(client, workflowId)));
  const pids = new Map(found.flat());
  return hosts.map((host) => {
    const trainerPid = host.owner === null ? undefined : pids.get(host.facts.name);
    return trainerPid === undefined ? host : { ...host, trainerPid };
  });
}

/** Host and pid of each trainer of a gang that is observed at this moment. */
async function trainersOf(client: Client, workflowId: string): Promise<readonly (readonly [string, number])[]> {
  try {
    const description = await limited(client, () => client.workflow.getHandle(workflowId).describe());
    const said = wordsOf(description).map(({ details }) => details);
    return said.filter(isTrainProgress).flatMap(({ host, pid }) => (pid === undefined ? [] : [[host, pid] as const]));
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return [];
    throw error;
  }
}
