/** A pool of made-up hosts and the events that happen to it, for tests of its reducer. */
import type { HostFacts, HostRequest, HostView, LeaseOwner, Pool } from '../../src/plan/hosts.js';
import { reducePool, type PoolEvent } from '../../src/plan/leases.js';
import { grantHosts, type PoolAnswers } from '../../src/plan/queue.js';

export const EMPTY: Pool = { hosts: [], queue: [], joinedAt: 0 };
export const HOUR = 60 * 60 * 1000;

export const facts = (name: string, change: Partial<HostFacts> = {}): HostFacts => ({
  name,
  address: '127.0.0.1',
  workRootId: `root-of-${name}`,
  machineId: 'm',
  bootId: 'b',
  npus: 8,
  runtime: 'ascend',
  agentPid: 1,
  agentStartedAt: '2026-01-01T00:00:00.000Z',
  version: '0',
  fence: 0,
  held: null,
  ...change,
});
export const owner = (workflowId: string, generation = 1, firstRunId = 'first'): LeaseOwner => ({
  workflowId,
  firstRunId,
  generation,
});
export const registered = (name: string, change: Partial<HostFacts> = {}, at = 0): PoolEvent => ({
  event: 'registered',
  facts: facts(name, change),
  at,
});
/** Hosts that are free: they have registered and were proven empty. */
export const free = (...names: string[]): PoolEvent[] =>
  names.flatMap((name) => [registered(name), { event: 'vacated', host: name, fence: 1 }]);
export const request = (of: LeaseOwner, hosts: number, change: Partial<HostRequest> = {}): PoolEvent => ({
  event: 'requested',
  request: { owner: of, hosts, npusPerHost: 8, runtime: 'ascend', hasBegun: false, ...change },
});
export const released = (
  of: LeaseOwner,
  at = 0,
  failures: readonly (readonly [host: string, failure: string])[] = [],
): PoolEvent => ({
  event: 'released',
  release: { owner: of, faults: failures.map(([host, failure]) => ({ host, failure, message: 'why' })) },
  at,
});
export const seen = (live: readonly string[], lost: readonly string[] = []): PoolEvent => ({
  event: 'seen',
  live,
  lost,
});

export class Scene {
  answers: PoolAnswers = { pool: EMPTY, grants: [], waiting: [] };

  /** The events of one turn of the pool, then what it grants. */
  turn(...events: readonly PoolEvent[]): this {
    this.answers = grantHosts(events.reduce((pool, event) => reducePool(pool, event), this.answers.pool));
    return this;
  }

  /** Every host that is to be proven empty has been. */
  vacated(): this {
    return this.turn(
      ...this.answers.pool.hosts
        .filter(({ vacating }) => vacating !== null)
        .map(({ facts: { name }, fence }): PoolEvent => ({ event: 'vacated', host: name, fence })),
    );
  }

  host(name: string): HostView {
    const host = this.answers.pool.hosts.find((one) => one.facts.name === name);
    if (host === undefined) throw new Error(`The pool has no host ${name}.`);
    return host;
  }

  /** What the last turn granted: `workflow: host fence, …`. */
  get granted(): string[] {
    return this.answers.grants.map(
      ({ owner: { workflowId }, leases }) =>
        `${workflowId}: ${leases.map(({ host, fence }) => `${host.name} ${String(fence)}`).join(', ')}`,
    );
  }

  get reasons(): string[] {
    return this.answers.waiting.map(({ reason }) => reason);
  }
}
