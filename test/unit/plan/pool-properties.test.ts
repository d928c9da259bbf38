/** Whatever happens in whatever order: the promises of the pool, held against random histories. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LeaseOwner, Pool } from '../../../src/plan/hosts.js';
import { reducePool, type PoolEvent } from '../../../src/plan/leases.js';
import { grantHosts } from '../../../src/plan/queue.js';
import { EMPTY, owner, registered, released, request, seen } from '../../support/pool-events.js';

const HOSTS = ['a', 'b', 'c', 'd', 'e'];
const host = fc.constantFrom(...HOSTS);
const anOwner = fc
  .tuple(fc.constantFrom('u', 'v', 'w', 'x'), fc.integer({ min: 1, max: 3 }), fc.constantFrom('first', 'second'))
  .map(([id, generation, run]) => owner(id, generation, run));

/** Who held hosts of a pool that was terminated: its gangs run on, and ask for nothing while they do. */
const ofBefore = fc.constantFrom(owner('before-1'), owner('before-1', 2), owner('before-2'));

/** A vacating is answered rightly, with the fence of the moment, or late, with any. */
type Step = PoolEvent | { readonly event: 'proven'; readonly host: string };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: host.map((name): Step => registered(name)) },
  fc.tuple(host, fc.nat(9), fc.option(ofBefore)).map(([name, fence, held]): Step => registered(name, { fence, held })),
  {
    weight: 4,
    arbitrary: fc
      .tuple(anOwner, fc.integer({ min: 1, max: 4 }), fc.boolean(), fc.constantFrom('high', 'normal', 'low'))
      .map(([of, hosts, hasBegun, priority]): Step => request(of, hosts, { hasBegun, priority })),
  },
  { weight: 3, arbitrary: fc.oneof(anOwner, ofBefore).map((of): Step => released(of)) },
  fc.tuple(anOwner, host).map(([of, name]): Step => released(of, 0, [[name, 'HostLost']])),
  { weight: 6, arbitrary: host.map((name): Step => ({ event: 'proven', host: name })) },
  fc.tuple(host, fc.nat(9)).map(([name, fence]): Step => ({ event: 'vacated', host: name, fence })),
  fc.tuple(fc.subarray(HOSTS), fc.subarray(HOSTS)).map(([live, lost]): Step => seen(live, lost)),
  host.map((name): Step => ({ event: 'cordoned', host: name, reason: 'r', at: 0 })),
  host.map((name): Step => ({ event: 'uncordoned', host: name })),
);

const ORDER = ['high', 'normal', 'low'].flatMap((priority) => [`${priority} begun`, `${priority} new`]);

const keyOf = (of: LeaseOwner): string => `${of.workflowId} ${of.firstRunId} ${String(of.generation)}`;

/** What the pool cannot know: who was granted how much, which hosts were proven empty since, and what fences were given out. */
class Witness {
  readonly empty = new Set<string>();
  readonly fences = new Map<string, number>();
  readonly granted = new Map<string, number>();

  check(before: Pool, event: PoolEvent): Pool {
    const reduced = reducePool(before, event);
    this.#noteProof(before, event);
    const { pool, grants, waiting } = grantHosts(reduced);

    for (const { owner: of, leases } of grants) {
      const asked = reduced.queue.find((waits) => keyOf(waits.owner) === keyOf(of));
      expect(leases, 'all that was asked for').toHaveLength(asked?.hosts ?? -1);
      this.granted.set(keyOf(of), leases.length);
      for (const {
        host: { name },
        fence,
      } of leases) {
        expect(this.empty.has(name), `${name} was proven empty since its last lease`).toBe(true);
        expect(fence, `the fence of ${name} rises`).toBeGreaterThan(this.fences.get(name) ?? 0);
        this.fences.set(name, fence);
        this.empty.delete(name);
        const then = reduced.hosts.find(({ facts }) => facts.name === name);
        expect(then).toMatchObject({ live: true, owner: null, vacating: null });
        expect(fence, `a late vacating of ${name} is refused`).toBeGreaterThan(then?.fence ?? 0);
        expect(then?.cordon?.until, `${name} has no operator's cordon`).not.toBeNull();
      }
    }
    // Grants are a prefix of the queue, and the queue is in order.
    expect(grants.map((grant) => keyOf(grant.owner))).toEqual(
      reduced.queue.slice(0, grants.length).map((waits) => keyOf(waits.owner)),
    );
    expect(waiting).toHaveLength(pool.queue.length);
    const order = pool.queue.map(({ hasBegun, priority }) => `${priority ?? ''} ${hasBegun ? 'begun' : 'new'}`);
    const ranks = order.map((word) => ORDER.indexOf(word));
    expect(ranks, 'by priority, and within one those that have begun').toEqual(ranks.toSorted((a, b) => a - b));
    this.#checkOwners(pool);
    return pool;
  }

  #noteProof(before: Pool, event: PoolEvent): void {
    if (event.event !== 'vacated') return;
    const then = before.hosts.find(({ facts }) => facts.name === event.host);
    if (then !== undefined && then.vacating !== null && then.fence === event.fence) this.empty.add(event.host);
  }

  #checkOwners(pool: Pool): void {
    const held = new Map<string, number>();
    const ids = new Map<string, Set<string>>();
    for (const { owner: of } of pool.hosts)
      if (of !== null) {
        held.set(keyOf(of), (held.get(keyOf(of)) ?? 0) + 1);
        ids.set(of.workflowId, (ids.get(of.workflowId) ?? new Set()).add(keyOf(of)));
      }
    for (const [id, keys] of ids) expect([id, ...keys], 'a workflow has one lease').toHaveLength(2);
    for (const [key, hosts] of held)
      if (this.granted.has(key)) expect(hosts, `${key} has all that it was granted`).toBe(this.granted.get(key));
    for (const waits of pool.queue)
      expect(held.has(keyOf(waits.owner)), 'nobody holds hosts and waits for more').toBe(false);
    const queued = pool.queue.map((waits) => waits.owner.workflowId);
    expect(new Set(queued).size, 'a workflow waits once').toBe(queued.length);
  }
}

test('no host with two owners, none granted that was not proven empty, all or none, in order, under rising fences', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), (steps) => {
      const witness = new Witness();
      let pool: Pool = EMPTY;
      for (const one of steps) {
        const of = one.event === 'proven' ? pool.hosts.find(({ facts }) => facts.name === one.host) : undefined;
        if (one.event !== 'proven') pool = witness.check(pool, one);
        else if (of !== undefined) pool = witness.check(pool, { event: 'vacated', host: one.host, fence: of.fence });
      }
    }),
    { numRuns: 400 },
  );
});
