/**
 * The host pool as a pure reducer: hosts, leases and the queue of requests. A request gets all its hosts at once or none,
 * first come first served, so that no gang holds hosts while it waits for more.
 */
import type { HostFacts, HostGrant, HostRequest, HostView, LeaseOwner } from './hosts.js';
import { place } from './placement.js';

export interface Pool {
  readonly hosts: readonly HostView[];
  readonly queue: readonly HostRequest[];
}

export type PoolEvent =
  | { readonly event: 'registered'; readonly facts: HostFacts }
  | { readonly event: 'requested'; readonly request: HostRequest }
  /** The owner gives all its hosts back, and its place in the queue if it still waits. */
  | { readonly event: 'released'; readonly owner: LeaseOwner }
  | { readonly event: 'seen'; readonly live: readonly string[]; readonly lost: readonly string[] };

/** What the pool has to tell: grants, and to those that still wait, why. */
export interface PoolAnswers {
  readonly pool: Pool;
  readonly grants: readonly { readonly owner: LeaseOwner; readonly grant: HostGrant }[];
  readonly waiting: readonly { readonly owner: LeaseOwner; readonly reason: string }[];
}

export function reducePool(pool: Pool, event: PoolEvent): Pool {
  switch (event.event) {
    case 'registered':
      return { ...pool, hosts: withHost(pool.hosts, event.facts) };
    case 'requested':
      return isKnown(pool, event.request.owner) ? pool : { ...pool, queue: [...pool.queue, event.request] };
    case 'released':
      return {
        hosts: pool.hosts.map((host) => (isOwnedBy(host, event.owner) ? { ...host, owner: null } : host)),
        queue: pool.queue.filter((request) => !isSameOwner(request.owner, event.owner)),
      };
    case 'seen':
      return {
        ...pool,
        hosts: pool.hosts.map((host) => {
          if (event.live.includes(host.facts.name)) return { ...host, live: true };
          if (event.lost.includes(host.facts.name)) return { ...host, live: false };
          return host;
        }),
      };
  }
}

/** Grants from the head of the queue until a request must wait; those behind it wait too, or they would starve it. */
export function grantHosts(pool: Pool): PoolAnswers {
  let { hosts, queue } = pool;
  const grants: { owner: LeaseOwner; grant: HostGrant }[] = [];
  for (let head = queue[0]; head !== undefined; head = queue[0]) {
    const request = head;
    const placed = place(hosts, request);
    if ('reason' in placed) {
      const waiting = queue.map(({ owner }, index) => ({
        owner,
        reason:
          index === 0 ? placed.reason : `Waits behind ${String(index)} other ${index === 1 ? 'request' : 'requests'}.`,
      }));
      return { pool: { hosts, queue }, grants, waiting };
    }
    hosts = hosts.map((host) =>
      placed.hosts.includes(host.facts.name) ? { ...host, owner: request.owner, fence: host.fence + 1 } : host,
    );
    grants.push({ owner: request.owner, grant: grantOf(hosts, request.owner) });
    queue = queue.slice(1);
  }
  return { pool: { hosts, queue }, grants, waiting: [] };
}

/** The leases that an owner holds, in the order of host names: that of node ranks. Empty when it holds none. */
export function grantOf(hosts: readonly HostView[], owner: LeaseOwner): HostGrant {
  const leases = hosts.filter((host) => isOwnedBy(host, owner)).map(({ facts, fence }) => ({ host: facts, fence }));
  return { generation: owner.generation, leases };
}

/** Whether an owner waits or holds already: requests are idempotent by owner. */
function isKnown(pool: Pool, owner: LeaseOwner): boolean {
  return (
    pool.queue.some((request) => isSameOwner(request.owner, owner)) || pool.hosts.some((host) => isOwnedBy(host, owner))
  );
}

function withHost(hosts: readonly HostView[], facts: HostFacts): readonly HostView[] {
  const known = hosts.find((host) => host.facts.name === facts.name);
  const host: HostView = {
    facts,
    live: true,
    fence: Math.max(known?.fence ?? 0, facts.fence),
    owner: known?.owner ?? null,
  };
  return [...hosts.filter((other) => other.facts.name !== facts.name), host].sort((a, b) =>
    a.facts.name < b.facts.name ? -1 : 1,
  );
}

function isOwnedBy(host: HostView, owner: LeaseOwner): boolean {
  return host.owner !== null && isSameOwner(host.owner, owner);
}

export function isSameOwner(a: LeaseOwner, b: LeaseOwner): boolean {
  return a.workflowId === b.workflowId && a.firstRunId === b.firstRunId && a.generation === b.generation;
}
