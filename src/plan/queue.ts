/**
 * The queue for hosts: a request gets all its hosts at once or none, so that no gang holds hosts while it waits for more; and
 * nothing overtakes the head, or small gangs would starve a large one.
 */
import { isOwnedBy, type HostGrant, type HostRequest, type HostView, type LeaseOwner, type Pool } from './hosts.js';
import { place } from './placement.js';
import type { Priority } from '../spec/run.js';

export interface Waiting {
  readonly owner: LeaseOwner;
  /** 1 is the head. */
  readonly place: number;
  readonly priority: Priority;
  readonly reason: string;
}

/** What the pool has to tell: grants, and to those that still wait, why. */
export interface PoolAnswers {
  readonly pool: Pool;
  readonly grants: readonly HostGrant[];
  readonly waiting: readonly Waiting[];
}

/** Within a priority those that have begun come first; among equals, first come, first served. */
export function enqueue(queue: readonly HostRequest[], request: HostRequest): readonly HostRequest[] {
  const firstBehind = queue.findIndex((waiting) => rankOf(waiting) > rankOf(request));
  return firstBehind < 0 ? [...queue, request] : queue.toSpliced(firstBehind, 0, request);
}

const PRIORITY_RANKS: Readonly<Record<Priority, number>> = { high: 0, normal: 1, low: 2 };

/** Lower goes first. */
function rankOf({ priority = 'normal', hasBegun }: HostRequest): number {
  return 2 * PRIORITY_RANKS[priority] + (hasBegun ? 0 : 1);
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

/** For those who have asked again, and hold hosts still: who has given them back meanwhile may be asking anew, and would take none for its grant. */
export function grantsAgain(hosts: readonly HostView[], owners: readonly LeaseOwner[]): readonly HostGrant[] {
  return owners.map((owner) => grantOf(hosts, owner)).filter(({ leases }) => leases.length > 0);
}

/** The leases that an owner holds, in the order of host names: that of node ranks. Empty when it holds none. */
function grantOf(hosts: readonly HostView[], owner: LeaseOwner): HostGrant {
  const leases = hosts.filter((host) => isOwnedBy(host, owner)).map(({ facts, fence }) => ({ host: facts, fence }));
  return { owner, leases };
}

function isMoreUrgent({ priority: a = 'normal' }: HostRequest, { priority: b = 'normal' }: HostRequest): boolean {
  return PRIORITY_RANKS[a] < PRIORITY_RANKS[b];
}

/** Who waits, in the order of the queue, and why. */
export function waitingOf(hosts: readonly HostView[], queue: readonly HostRequest[]): readonly Waiting[] {
  return queue.map((request, index) => {
    const { priority = 'normal' } = request;
    if (index > 0) {
      const before = `${String(index)} other ${index === 1 ? 'request' : 'requests'}`;
      const urgent = queue.slice(0, index).filter((other) => isMoreUrgent(other, request)).length;
      const why = urgent === 0 ? '' : `, ${String(urgent)} of them of a higher priority than ${priority}`;
      return { owner: request.owner, place: index + 1, priority, reason: `Waits behind ${before}${why}.` };
    }
    const placed = place(hosts, request);
    return {
      owner: request.owner,
      place: 1,
      priority,
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
