/**
 * The queue for hosts: a request gets all its hosts at once or none, so that no gang holds hosts while it waits for more; and
 * nothing overtakes the head, or small gangs would starve a large one.
 */
import { isOwnedBy, type HostGrant, type HostRequest, type HostView, type LeaseOwner, type Pool } from './hosts.js';
import { place } from './placement.js';

export interface Waiting {
  readonly owner: LeaseOwner;
  /** 1 is the head. */
  readonly place: number;
  readonly reason: string;
}

/** What the pool has to tell: grants, and to those that still wait, why. */
export interface PoolAnswers {
  readonly pool: Pool;
  readonly grants: readonly HostGrant[];
  readonly waiting: readonly Waiting[];
}

/** First come, first served among those that have begun, and after them among those that have not. */
export function enqueue(queue: readonly HostRequest[], request: HostRequest): readonly HostRequest[] {
  const firstNew = queue.findIndex(({ hasBegun }) => !hasBegun);
  return request.hasBegun && firstNew >= 0 ? queue.toSpliced(firstNew, 0, request) : [...queue, request];
}

/** Grants from the head of the queue until a request must wait; those behind it wait too. */
export function grantHosts(pool: Pool): PoolAnswers {
  let { hosts, queue } = pool;
  const grants: HostGrant[] = [];
  for (let head = queue[0]; head !== undefined; head = queue[0]) {
    const { owner } = head;
    const placed = place(hosts, head);
    if ('reason' in placed) return { pool: { ...pool, hosts, queue }, grants, waiting: waitingOf(hosts, queue) };
    hosts = hosts.map((host) =>
      placed.hosts.includes(host.facts.name) ? { ...host, owner, fence: host.fence + 1 } : host,
    );
    grants.push(grantOf(hosts, owner));
    queue = queue.slice(1);
  }
  return { pool: { ...pool, hosts, queue }, grants, waiting: [] };
}

/** The leases that an owner holds, in the order of host names: that of node ranks. Empty when it holds none. */
export function grantOf(hosts: readonly HostView[], owner: LeaseOwner): HostGrant {
  const leases = hosts.filter((host) => isOwnedBy(host, owner)).map(({ facts, fence }) => ({ host: facts, fence }));
  return { owner, leases };
}

/** Who waits, in the order of the queue, and why. */
export function waitingOf(hosts: readonly HostView[], queue: readonly HostRequest[]): readonly Waiting[] {
  return queue.map((request, index) => {
    if (index > 0) {
      const before = `${String(index)} other ${index === 1 ? 'request' : 'requests'}`;
      return { owner: request.owner, place: index + 1, reason: `Waits behind ${before}.` };
    }
    const placed = place(hosts, request);
    return {
      owner: request.owner,
      place: 1,
      reason: 'reason' in placed ? placed.reason : 'Is about to get its hosts.',
    };
  });
}

/**
 * Whether a waiting owner is told again. The head hears every change; others when they have come half the way, since telling a
 * long queue of every step would cost more than the square of its length.
 */
export function isNews(told: Waiting | undefined, now: Waiting): boolean {
  if (told === undefined) return true;
  return now.place === 1 ? told.reason !== now.reason : now.place <= told.place / 2;
}
