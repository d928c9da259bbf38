/** Entity workflow, one per cluster: owns the hosts, lends them as whole gangs, and takes back and proves empty what was lent. */
import {
  ApplicationFailure,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  getExternalWorkflowHandle,
  isCancellation,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import {
  QUERIES,
  SIGNALS,
  UPDATES,
  type CordonHost,
  type HostLook,
  type HostPoolInput,
  type PoolState,
  type Registration,
} from '../contract/messages.js';
import {
  isOwnedBy,
  type HostBlame,
  type HostDrain,
  type HostFacts,
  type HostGrant,
  type HostRelease,
  type HostRequest,
  type HostView,
  type LeaseOwner,
  type Pool,
} from '../plan/hosts.js';
import { drainsOf, mustVacate, reducePool, refuseRegistration, refuseUnknown, type PoolEvent } from '../plan/leases.js';
import { grantHosts, grantsAgain, isNews, waitingOf, type Waiting } from '../plan/queue.js';
import { onIo, watching } from './activities.js';
import { failureFacts } from './failure.js';
import { STOP } from './options.js';
import { poolDetails } from './view.js';

const registerHost = defineUpdate<Registration, [HostFacts]>(UPDATES.registerHost);
const hostLooked = defineUpdate<undefined, [HostLook]>(UPDATES.hostLooked);
const cordonHost = defineUpdate<HostView, [CordonHost]>(UPDATES.cordonHost);
const drainHost = defineUpdate<HostView, [CordonHost]>(UPDATES.drainHost);
const uncordonHost = defineUpdate<HostView, [string]>(UPDATES.uncordonHost);
const requestHosts = defineSignal<[HostRequest]>(SIGNALS.requestHosts);
const releaseHosts = defineSignal<[HostRelease]>(SIGNALS.releaseHosts);
const blameHost = defineSignal<[HostBlame]>(SIGNALS.blameHost);
const hostsGranted = defineSignal<[HostGrant]>(SIGNALS.hostsGranted);
const hostsAwaited = defineSignal<[string]>(SIGNALS.hostsAwaited);
const hostDrained = defineSignal<[HostDrain]>(SIGNALS.hostDrained);
const poolQuery = defineQuery<PoolState>(QUERIES.pool);

/** A host that could not be proven empty is tried again so soon, then ever more seldom, and at once when its agent has been started anew. */
const VACATE_AGAIN_MS = { first: 5_000, most: 120_000 };
/** The server's own limit is far away; this many are replayed in a second. */
const LONG_HISTORY = 10_000;

export async function hostPool({ cluster, pool: carried }: HostPoolInput): Promise<void> {
  let pool: Pool = carried ?? { hosts: [], queue: [], joinedAt: Date.now() };
  /** Whether something has happened since the last turn; what was carried over is looked at once. */
  let hasChanged = true;
  const askedAgain: LeaseOwner[] = [];
  const told = new Map<string, Waiting>();
  /** Leases whose owners know that they are to end; after a continue-as-new they are told again, which changes nothing. */
  const toldToEnd = new Set<string>();
  const beingVacated = new Set<string>();

  const apply = (event: PoolEvent): void => {
    pool = reducePool(pool, event);
    hasChanged = true;
  };
  const refuse = (sentence: string | undefined, type: string): void => {
    if (sentence !== undefined) throw ApplicationFailure.nonRetryable(sentence, type);
  };
  setHandler(poolQuery, () => ({
    hosts: pool.hosts,
    waiting: waitingOf(pool.hosts, pool.queue),
    joinedAt: pool.joinedAt,
  }));
  setHandler(
    registerHost,
    (facts) => {
      apply({ event: 'registered', facts, at: Date.now() });
      return { poolId: workflowInfo().firstExecutionRunId };
    },
    { validator: (facts: HostFacts) => refuse(refuseRegistration(pool, facts), 'HostNameTaken') },
  );
  setHandler(
    hostLooked,
    (look) => {
      apply({ event: 'looked at', ...look });
    },
    { validator: ({ host }: HostLook) => refuse(refuseUnknown(pool, host), 'HostUnknown') },
  );
  for (const [update, drains] of [[cordonHost, {}] as const, [drainHost, { drains: true as const }] as const])
    setHandler(
      update,
      ({ host, reason }) => {
        apply({ event: 'cordoned', host, reason, at: Date.now(), ...drains });
        return hostOf(host);
      },
      { validator: ({ host }: CordonHost) => refuse(refuseUnknown(pool, host), 'HostUnknown') },
    );
  setHandler(
    uncordonHost,
    (host) => {
      apply({ event: 'uncordoned', host });
      return hostOf(host);
    },
    { validator: (host: string) => refuse(refuseUnknown(pool, host), 'HostUnknown') },
  );
  setHandler(requestHosts, (request) => {
    // A request that arrives twice is answered twice: the first answer may have been lost with its workflow's reset.
    if (pool.hosts.some((host) => isOwnedBy(host, request.owner))) askedAgain.push(request.owner);
    apply({ event: 'requested', request });
  });
  setHandler(blameHost, (blame) => apply({ event: 'blamed', blame, at: Date.now() }));
  setHandler(releaseHosts, (release) => apply({ event: 'released', release, at: Date.now() }));
  watch().catch(unlessEnding);

  // Bounded by history: all that the pool is, is carried over. Vacating that is under way begins again, which is harmless.
  while (!isLong() || askedAgain.length > 0) {
    await condition(() => hasChanged || isLong());
    hasChanged = false;
    const answers = grantHosts(reducePool(pool, { event: 'time passed', at: Date.now() }));
    pool = answers.pool;
    for (const host of pool.hosts)
      if (mustVacate(host) && !beingVacated.has(host.facts.name))
        vacate(host.facts.name, host.fence).catch(unlessEnding);
    setCurrentDetails(poolDetails(pool));

    const repeated = grantsAgain(pool.hosts, askedAgain.splice(0));
    const news = answers.waiting.filter((waiting) => isNews(told.get(keyOf(waiting.owner)), waiting));
    for (const { owner } of [...answers.grants, ...repeated]) told.delete(keyOf(owner));
    for (const waiting of news) told.set(keyOf(waiting.owner), waiting);
    const drains = drainsOf(pool).filter(({ drain }) => !toldToEnd.has(leaseOf(drain)));
    for (const { drain } of drains) toldToEnd.add(leaseOf(drain));
    await Promise.all([
      ...drains.map(({ owner, drain }) => tell(owner, (to) => to.signal(hostDrained, drain))),
      ...[...answers.grants, ...repeated].map((grant) => tell(grant.owner, (to) => to.signal(hostsGranted, grant))),
      ...news.map(({ owner, reason }) => tell(owner, (to) => to.signal(hostsAwaited, reason))),
    ]);
  }
  await continueAsNew<typeof hostPool>({ cluster, pool });

  /** Liveness of hosts and the ends of owners come in here, and nowhere else. */
  async function watch(): Promise<void> {
    // Each turn is minutes long, or brings a change; the history's length bounds their number.
    for (;;) {
      try {
        const { watchHosts } = watching(cluster, 'which hosts live, which owners have ended');
        const { live, lost, ended } = await watchHosts({ cluster });
        apply({ event: 'seen', live, lost });
        for (const owner of ended) apply({ event: 'released', release: { owner, faults: [] }, at: Date.now() });
      } catch (error) {
        if (isCancellation(error)) throw error;
        await sleep('10 seconds');
      }
    }
  }

  async function vacate(host: string, fence: number): Promise<void> {
    beingVacated.add(host);
    const { agentStartedAt } = hostOf(host).facts;
    // A host that falls silent is begun with again when it is heard of.
    const isOther = (): boolean =>
      !hostOf(host).live || hostOf(host).fence !== fence || hostOf(host).facts.agentStartedAt !== agentStartedAt;
    try {
      // Bounded by the history's length, by which the pool begins anew.
      for (let wait = VACATE_AGAIN_MS.first; ; wait = Math.min(2 * wait, VACATE_AGAIN_MS.most)) {
        try {
          await onIo(cluster, host, `prove empty under fence ${String(fence)}`, STOP).vacateHost({ fence });
          apply({ event: 'vacated', host, fence });
          return;
        } catch (error) {
          if (isCancellation(error)) throw error;
          const { type: failure, message: why } = failureFacts(error);
          apply({ event: 'not vacated', host, fence, failure, why, at: Date.now() });
          if (await condition(isOther, wait)) return;
        }
      }
    } finally {
      beingVacated.delete(host);
      hasChanged = true;
    }
  }

  /** Hosts stay in the pool once they are known, and nothing asks for one that is not. */
  function hostOf(name: string): HostView {
    const host = pool.hosts.find(({ facts }) => facts.name === name);
    if (host === undefined) throw ApplicationFailure.nonRetryable(`The pool has no host "${name}".`, 'HostUnknown');
    return host;
  }

  /** An owner that is gone cannot be told; its lease goes back. */
  async function tell(
    owner: LeaseOwner,
    say: (to: ReturnType<typeof getExternalWorkflowHandle>) => Promise<void>,
  ): Promise<void> {
    try {
      await say(getExternalWorkflowHandle(owner.workflowId));
    } catch (error) {
      if (isCancellation(error)) throw error;
      apply({ event: 'released', release: { owner, faults: [] }, at: Date.now() });
    }
  }
}

/** A pool that is cancelled ends all that it has under way. */
function unlessEnding(error: unknown): void {
  if (!isCancellation(error)) throw error;
}

function isLong(): boolean {
  const { continueAsNewSuggested, historyLength } = workflowInfo();
  return continueAsNewSuggested || historyLength > LONG_HISTORY;
}

function leaseOf({ host, fence }: HostDrain): string {
  return `${host} ${String(fence)}`;
}

function keyOf({ workflowId, firstRunId, generation }: LeaseOwner): string {
  return `${workflowId} ${firstRunId} ${String(generation)}`;
}
