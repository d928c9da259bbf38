/** Liveness of hosts and owners: the only way by which either enters the pool's workflow. */
import { Context } from '@temporalio/activity';
import { WorkflowNotFoundError } from '@temporalio/client';
import type { ControlActivities, HostChanges } from '../../contract/activities.js';
import { QUERIES, type PoolState } from '../../contract/messages.js';
import { poolWorkflowId } from '../../contract/names.js';
import type { HostView, LeaseOwner } from '../../plan/hosts.js';
import { placeIo } from '../../plan/placement.js';
import { failure, orFail } from '../fail.js';
import type { ControlDeps } from './deps.js';
import { liveAgents, SILENT_AFTER_MS } from './live-agents.js';

/** How often workers and owners are looked at. Agents beat every few seconds, so oftener would see nothing new. */
const LOOK_MS = 2000;
/** A look every two seconds for ten minutes, then the pool's history gets one more activity. */
const LOOKS = 300;

export function createHosts(deps: ControlDeps): Pick<ControlActivities, 'pickHost' | 'watchHosts'> {
  return {
    pickHost: ({ cluster, runtime, except }) =>
      orFail(async () => {
        const { hosts } = await poolOf(deps, cluster);
        const host = placeIo(hosts, runtime, except);
        if (host !== undefined) return host;
        if (placeIo(hosts, runtime, []) !== undefined) return null;
        throw failure(
          'NoHost',
          `Cluster ${cluster} has no live host with the ${runtime} runtime. Start an agent: anneal agent --config agent.yaml.`,
        );
      }),
    watchHosts: ({ cluster }) => orFail(() => watch(deps, cluster)),
  };
}

async function watch(deps: ControlDeps, cluster: string): Promise<HostChanges> {
  const context = Context.current();
  for (let look = 0; look < LOOKS; look += 1) {
    context.heartbeat({ look });
    const { hosts, waiting } = await poolOf(deps, cluster);
    const alive = await liveAgents(deps, cluster);
    const changed = (host: HostView, live: boolean): boolean =>
      host.live !== live && (alive.has(host.facts.name) || hasJustStarted(host)) === live;
    const live = hosts.filter((host) => changed(host, true)).map(({ facts }) => facts.name);
    const lost = hosts.filter((host) => changed(host, false)).map(({ facts }) => facts.name);
    const owners = [...hosts.map(({ owner }) => owner), ...waiting.map(({ owner }) => owner)];
    const ended = await endedOwners(
      deps,
      owners.filter((owner) => owner !== null),
    );
    if (live.length + lost.length + ended.length > 0) return { live, lost, ended };
    await context.sleep(LOOK_MS);
  }
  return { live: [], lost: [], ended: [] };
}

/** A worker is listed only after its first beat; until then its registration says that it lives. */
function hasJustStarted({ facts }: HostView): boolean {
  return Date.now() - Date.parse(facts.agentStartedAt) < SILENT_AFTER_MS;
}

export async function poolOf({ client }: ControlDeps, cluster: string): Promise<PoolState> {
  return client.workflow.getHandle(poolWorkflowId(cluster)).query<PoolState>(QUERIES.pool);
}

/** Owners, of leases or waiting for them, whose workflow has closed, is forgotten, or was started anew under the same id. */
async function endedOwners(deps: ControlDeps, owners: readonly LeaseOwner[]): Promise<readonly LeaseOwner[]> {
  const each = new Map(owners.map((owner) => [JSON.stringify(owner), owner]));
  const ended: LeaseOwner[] = [];
  for (const owner of each.values()) if (await hasEnded(deps, owner)) ended.push(owner);
  return ended;
}

async function hasEnded({ client }: ControlDeps, { workflowId, firstRunId }: LeaseOwner): Promise<boolean> {
  try {
    const { raw, status } = await client.workflow.getHandle(workflowId).describe();
    const first = raw.workflowExecutionInfo?.firstRunId;
    return status.name !== 'RUNNING' || (first !== undefined && first !== firstRunId);
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return true;
    throw error;
  }
}
