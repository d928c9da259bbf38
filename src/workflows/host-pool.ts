/** Entity workflow, one per cluster: owns the hosts, lends them as whole gangs, and takes back what ended owners left. */
import {
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  getExternalWorkflowHandle,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { HostChanges } from '../contract/activities.js';
import { QUERIES, SIGNALS, type HostPoolInput } from '../contract/messages.js';
import type { HostFacts, HostGrant, HostRequest, HostView, LeaseOwner } from '../plan/hosts.js';
import { grantHosts, grantOf, isSameOwner, reducePool, type Pool, type PoolEvent } from '../plan/leases.js';
import { watching } from './activities.js';
import { poolDetails } from './view.js';

const registerHost = defineSignal<[HostFacts]>(SIGNALS.registerHost);
const requestHosts = defineSignal<[HostRequest]>(SIGNALS.requestHosts);
const releaseHosts = defineSignal<[LeaseOwner]>(SIGNALS.releaseHosts);
const hostsGranted = defineSignal<[HostGrant]>(SIGNALS.hostsGranted);
const hostsAwaited = defineSignal<[string]>(SIGNALS.hostsAwaited);
const hostsQuery = defineQuery<readonly HostView[]>(QUERIES.hosts);

export async function hostPool({ cluster, hosts, queue }: HostPoolInput): Promise<void> {
  let pool: Pool = { hosts, queue };
  const events: PoolEvent[] = [];
  let changes: HostChanges | undefined;
  const told = new Map<string, string>();

  setHandler(hostsQuery, () => pool.hosts);
  setHandler(registerHost, (facts) => void events.push({ event: 'registered', facts }));
  setHandler(requestHosts, (request) => void events.push({ event: 'requested', request }));
  setHandler(releaseHosts, (owner) => void events.push({ event: 'released', owner }));

  const watch = (): void => {
    void watching(cluster, 'which hosts live, which owners have ended')
      .watchHosts({ cluster })
      .then((seen) => (changes = seen));
  };
  watch();

  // Bounded by history: the pool begins a new one long before the server's limit, between two events.
  while (!workflowInfo().continueAsNewSuggested || events.length > 0) {
    await condition(() => events.length > 0 || changes !== undefined || workflowInfo().continueAsNewSuggested);
    if (changes !== undefined) {
      const { live, lost, ended } = changes;
      events.push({ event: 'seen', live, lost }, ...ended.map((owner) => ({ event: 'released' as const, owner })));
      changes = undefined;
      watch();
    }
    const batch = events.splice(0);
    const repeated = batch.flatMap((event) => (event.event === 'requested' ? [event.request.owner] : []));
    const before = pool;
    pool = batch.reduce(reducePool, pool);
    const answers = grantHosts(pool);
    pool = answers.pool;
    setCurrentDetails(poolDetails(pool));

    for (const { owner, grant } of answers.grants) await tell(owner, (to) => to.signal(hostsGranted, grant));
    // A request that arrives twice is answered twice: the first answer may have been lost with its workflow's reset.
    for (const owner of repeated.filter((asker) => before.hosts.some((host) => holds(host, asker))))
      await tell(owner, (to) => to.signal(hostsGranted, grantOf(pool.hosts, owner)));
    for (const { owner, reason } of answers.waiting) {
      const key = `${owner.workflowId} ${owner.firstRunId} ${String(owner.generation)}`;
      if (told.get(key) === reason) continue;
      told.set(key, reason);
      await tell(owner, (to) => to.signal(hostsAwaited, reason));
    }
  }
  await continueAsNew<typeof hostPool>({ cluster, hosts: pool.hosts, queue: pool.queue });

  /** An owner that is gone cannot be told; its lease goes back. */
  async function tell(
    owner: LeaseOwner,
    say: (to: ReturnType<typeof getExternalWorkflowHandle>) => Promise<void>,
  ): Promise<void> {
    try {
      await say(getExternalWorkflowHandle(owner.workflowId));
    } catch {
      events.push({ event: 'released', owner });
    }
  }
}

function holds(host: HostView, owner: LeaseOwner): boolean {
  return host.owner !== null && isSameOwner(host.owner, owner);
}
