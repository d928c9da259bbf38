/**
 * The host pool as a pure reducer: hosts and leases. A host goes round: free, leased, vacating, free; nothing is granted that
 * was not proven empty since its last lease, and its fence number rises with each step that could meet late work.
 */
import { blame, forgetOld, noteFault } from './host-faults.js';
import {
  isOwnedBy,
  isSameOwner,
  type Pool,
  type HostBlame,
  type HostDrain,
  type HostFacts,
  type HostHealth,
  type HostRelease,
  type HostRequest,
  type HostView,
  type LeaseOwner,
} from './hosts.js';
import { enqueue } from './queue.js';

/** Times are epoch milliseconds by the pool's clock. */
export type PoolEvent =
  | { readonly event: 'registered'; readonly facts: HostFacts; readonly at: number }
  | { readonly event: 'looked at'; readonly host: string; readonly health: HostHealth }
  | { readonly event: 'requested'; readonly request: HostRequest }
  /** The owner gives all its hosts back, and its place in the queue if it still waits. */
  | { readonly event: 'released'; readonly release: HostRelease; readonly at: number }
  | { readonly event: 'seen'; readonly live: readonly string[]; readonly lost: readonly string[] }
  | { readonly event: 'vacated'; readonly host: string; readonly fence: number }
  | {
      readonly event: 'not vacated';
      readonly host: string;
      readonly fence: number;
      readonly failure: string;
      readonly why: string;
      readonly at: number;
    }
  | {
      readonly event: 'cordoned';
      readonly host: string;
      readonly reason: string;
      readonly at: number;
      readonly drains?: true;
    }
  | { readonly event: 'blamed'; readonly blame: HostBlame; readonly at: number }
  | { readonly event: 'uncordoned'; readonly host: string }
  | { readonly event: 'time passed'; readonly at: number };

export function reducePool(pool: Pool, event: PoolEvent): Pool {
  switch (event.event) {
    case 'registered':
      return withHost(pool, event.facts, event.at);
    case 'looked at':
      return mapHosts(pool, (host) => (host.facts.name === event.host ? { ...host, health: event.health } : host));
    case 'requested':
      return request(pool, event.request);
    case 'released':
      return release(pool, event.release, event.at);
    case 'seen':
      return mapHosts(pool, (host) => {
        if (event.live.includes(host.facts.name)) return { ...host, live: true };
        return event.lost.includes(host.facts.name) ? { ...host, live: false } : host;
      });
    case 'vacated':
      return mapHosts(pool, (host) => (isVacating(host, event) ? { ...host, vacating: null } : host));
    case 'not vacated':
      return notVacated(pool, event);
    case 'cordoned':
      return mapHosts(pool, (host) =>
        host.facts.name === event.host
          ? {
              ...host,
              cordon: {
                ...{ reason: event.reason, since: event.at, until: null, metBy: null },
                ...(event.drains && { drains: event.drains }),
              },
            }
          : host,
      );
    case 'blamed':
      return { ...pool, hosts: blame(pool.hosts, event.blame.fault, event.blame.metBy, event.at) };
    case 'uncordoned':
      return mapHosts(pool, (host) => (host.facts.name === event.host ? { ...host, cordon: null, faults: [] } : host));
    case 'time passed':
      return { ...pool, hosts: forgetOld(pool.hosts, event.at) };
  }
}

/** Why an agent may not register: another one lives under its name. Undefined when it may. */
export function refuseRegistration({ hosts }: Pool, facts: HostFacts): string | undefined {
  const known = hosts.find((host) => host.facts.name === facts.name);
  if (known?.live !== true || known.facts.workRootId === facts.workRootId) return undefined;
  const { address, machineId, agentPid } = known.facts;
  return `The host name "${facts.name}" is taken: an agent with another work root lives under it (machine ${machineId || 'unknown'}, address ${address}, pid ${String(agentPid)}). Give this agent another name, or stop that one and start this one half a minute later.`;
}

export function refuseUnknown({ hosts }: Pool, name: string): string | undefined {
  if (hosts.some(({ facts }) => facts.name === name)) return undefined;
  const names = hosts.map(({ facts }) => facts.name);
  const list = names.length === 0 ? 'none' : names.slice(0, 20).join(', ') + (names.length > 20 ? ', …' : '');
  return `No host "${name}" has registered with this cluster. Known are: ${list}.`;
}

/** Whom to ask for which host: who holds one that drains. */
export function drainsOf({ hosts }: Pool): readonly { readonly owner: LeaseOwner; readonly drain: HostDrain }[] {
  return hosts.flatMap(({ facts, owner, fence, cordon }) =>
    owner !== null && cordon?.drains === true
      ? [{ owner, drain: { host: facts.name, fence, reason: cordon.reason } }]
      : [],
  );
}

/** A host to begin with proving empty: nobody holds it, and its agent is there to do it. */
export function mustVacate({ live, vacating }: HostView): boolean {
  return live && vacating !== null;
}

function withHost(pool: Pool, facts: HostFacts, at: number): Pool {
  const known = pool.hosts.find((host) => host.facts.name === facts.name);
  const fence = Math.max(known?.fence ?? 0, facts.fence);
  const host =
    known === undefined ? newHost(pool, facts, fence) : knownHost({ ...known, facts, fence, live: true }, known.facts);
  const others = pool.hosts.filter((other) => other !== known);
  const hosts = [...others.map((other) => unlessOver(other, (owner) => isBefore(owner, host.owner))), host];
  return {
    ...pool,
    hosts: hosts.sort((a, b) => (a.facts.name < b.facts.name ? -1 : 1)),
    joinedAt: known === undefined ? at : pool.joinedAt,
  };
}

/**
 * This pool has not seen what ran there before: whoever still holds it keeps it, else it is proven empty first. A gang that is known to be
 * further than the generation that the host tells of has given that one up, to a pool that did not know the host.
 */
function newHost({ hosts, queue }: Pool, facts: HostFacts, fence: number): HostView {
  const host: HostView = { facts, live: true, fence, owner: facts.held, vacating: null, cordon: null, faults: [] };
  if (facts.held === null) return vacate(host, 'New to the pool.');
  return unlessOver(host, (held) => [...hosts, ...queue].some(({ owner }) => isBefore(held, owner)));
}

/** Of one gang, whose generations only rise. */
function isBefore(a: LeaseOwner, b: LeaseOwner | null): boolean {
  return a.workflowId === b?.workflowId && a.firstRunId === b.firstRunId && a.generation < b.generation;
}

function knownHost(host: HostView, before: HostFacts): HostView {
  if (host.owner !== null || host.vacating !== null) return host;
  if (host.facts.workRootId !== before.workRootId) return vacate(host, 'Another work root goes by its name.');
  return host.facts.held === null ? host : vacate(host, 'A trainer runs there that nobody has leased it for.');
}

/**
 * Idempotent by owner. A workflow has one lease at a time, so whatever else was asked for or is held under its id is over: the
 * workflow was reset, or another one was started in its place.
 */
function request(pool: Pool, asked: HostRequest): Pool {
  const { owner } = asked;
  const isOver = (other: LeaseOwner): boolean => other.workflowId === owner.workflowId && !isSameOwner(other, owner);
  const others = mapHosts(pool, (host) => unlessOver(host, isOver));
  const queue = others.queue.filter((waiting) => !isOver(waiting.owner));
  const isKnown =
    queue.some((waiting) => isSameOwner(waiting.owner, owner)) || others.hosts.some((host) => isOwnedBy(host, owner));
  return { ...others, queue: isKnown ? queue : enqueue(queue, asked) };
}

function release(pool: Pool, { owner, faults }: HostRelease, at: number): Pool {
  const held = pool.hosts.filter((host) => isOwnedBy(host, owner)).map(({ facts }) => facts.name);
  const noted = faults
    .filter(({ host }) => held.includes(host))
    .reduce(
      (hosts, { host, failure, message }) => noteFault(hosts, host, { failure, message, at, metBy: owner.workflowId }),
      pool.hosts,
    );
  return {
    ...pool,
    hosts: noted.map((host) => (isOwnedBy(host, owner) ? vacate(host, `${nameOf(owner)} is over.`) : host)),
    queue: pool.queue.filter((waiting) => !isSameOwner(waiting.owner, owner)),
  };
}

/** Under a fence number of its own, so that late work of the lease that is over is refused before anything is stopped. */
function vacate(host: HostView, why: string): HostView {
  const heldBy = host.owner?.workflowId ?? host.vacating?.heldBy ?? null;
  return { ...host, owner: null, fence: host.fence + 1, vacating: { why, heldBy, failure: null } };
}

function unlessOver(host: HostView, isOver: (owner: LeaseOwner) => boolean): HostView {
  const { owner } = host;
  return owner !== null && isOver(owner) ? vacate(host, `${nameOf(owner)} was replaced.`) : host;
}

/** A host that cannot be proven empty stays out; only dirt that is new counts as a fault, not each look at it. */
function notVacated(pool: Pool, event: Extract<PoolEvent, { event: 'not vacated' }>): Pool {
  const { host: name, failure, why, at } = event;
  const host = pool.hosts.find((one) => isVacating(one, event));
  if (host === undefined) return pool;
  const heldBy = host.vacating?.heldBy ?? null;
  const isNewDirt = failure === 'HostDirty' && host.vacating?.failure !== failure;
  const hosts = isNewDirt ? noteFault(pool.hosts, name, { failure, message: why, at, metBy: heldBy }) : pool.hosts;
  return mapHosts({ ...pool, hosts }, (one) =>
    isVacating(one, event) ? { ...one, vacating: { why, heldBy, failure } } : one,
  );
}

/** An answer to an older question says nothing about the host as it is now. */
function isVacating(host: HostView, { host: name, fence }: { readonly host: string; readonly fence: number }): boolean {
  return host.facts.name === name && host.vacating !== null && host.fence === fence;
}

function mapHosts(pool: Pool, change: (host: HostView) => HostView): Pool {
  return { ...pool, hosts: pool.hosts.map(change) };
}

function nameOf({ workflowId, generation }: LeaseOwner): string {
  return `The lease of ${workflowId}, generation ${String(generation)},`;
}
