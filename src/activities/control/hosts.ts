/** Liveness of hosts and owners: the only way by which either enters the pool's workflow. */
import { Context } from '@temporalio/activity';
import type { ControlActivities, HostChanges } from '../../contract/activities.js';
import { QUERIES } from '../../contract/messages.js';
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
        const hosts = await poolOf(deps, cluster);
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
    const hosts = await poolOf(deps, cluster);
    const alive = await liveAgents(deps, cluster);
    const changed = (host: HostView, live: boolean): boolean =>
      host.live !== live && (alive.has(host.facts.name) || hasJustStarted(host)) === live;
    const live = hosts.filter((host) => changed(host, true)).map(({ facts }) => facts.name);
    const lost = hosts.filter((host) => changed(host, false)).map(({ facts }) => facts.name);
    const ended = await endedOwners(deps, hosts);
    if (live.length + lost.length + ended.length > 0) return { live, lost, ended };
    await context.sleep(LOOK_MS);
  }
  return { live: [], lost: [], ended: [] };
}

/** A worker is listed only after its first beat; until then its registration says that it lives. */
function hasJustStarted({ facts }: HostView): boolean {
  return Date.now() - Date.parse(facts.agentStartedAt) < SILENT_AFTER_MS;
}

async function poolOf({ client }: ControlDeps, cluster: string): Promise<readonly HostView[]> {
  return client.workflow.getHandle(poolWorkflowId(cluster)).query<readonly HostView[]>(QUERIES.hosts);
}

/** Owners of leases whose workflow has closed, or was started anew under the same id. */
async function endedOwners({ client }: ControlDeps, hosts: readonly HostView[]): Promise<readonly LeaseOwner[]> {
  const owners = new Map<string, LeaseOwner>();
  for (const { owner } of hosts)
    if (owner !== null) owners.set(`${owner.workflowId} ${owner.firstRunId} ${String(owner.generation)}`, owner);
  const ended: LeaseOwner[] = [];
  for (const owner of owners.values()) {
    const described = await client.workflow.getHandle(owner.workflowId).describe();
    const firstRunId = described.raw.workflowExecutionInfo?.firstRunId;
    if (described.status.name !== 'RUNNING' || (firstRunId !== undefined && firstRunId !== owner.firstRunId))
      ended.push(owner);
  }
  return ended;
}
