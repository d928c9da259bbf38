/** The host pool: whole gangs or none, first come first served, idempotent by owner, fences that only rise. */
import { describe, expect, test } from 'vitest';
import type { HostFacts, HostRequest, LeaseOwner } from '../../../src/plan/hosts.js';
import { grantHosts, reducePool, type Pool, type PoolEvent } from '../../../src/plan/leases.js';

const facts = (name: string, change: Partial<HostFacts> = {}): HostFacts => ({
  name,
  address: '127.0.0.1',
  machineId: 'm',
  bootId: 'b',
  npus: 8,
  runtime: 'ascend',
  agentPid: 1,
  agentStartedAt: '2026-01-01T00:00:00.000Z',
  version: '0',
  fence: 0,
  ...change,
});
const owner = (workflowId: string, generation = 1): LeaseOwner => ({ workflowId, firstRunId: 'first', generation });
const request = (workflowId: string, hosts: number, change: Partial<HostRequest> = {}): PoolEvent => ({
  event: 'requested',
  request: { owner: owner(workflowId), hosts, npusPerHost: 8, runtime: 'ascend', ...change },
});
const registered = (...names: string[]): PoolEvent[] =>
  names.map((name) => ({ event: 'registered', facts: facts(name) }));

function after(...events: readonly PoolEvent[]) {
  return grantHosts(events.reduce<Pool>(reducePool, { hosts: [], queue: [] }));
}
const named = ({ grants }: ReturnType<typeof after>): unknown[] =>
  grants.map((granted) => [
    granted.owner.workflowId,
    granted.grant.leases.map(({ host, fence }) => `${host.name} ${String(fence)}`),
  ]);

describe('a request', () => {
  test('gets all its hosts in the order of their names, each with its next fence number', () => {
    expect(named(after(...registered('c', 'a', 'b'), request('x', 2)))).toEqual([['x', ['a 1', 'b 1']]]);
  });

  test('gets none while one is missing, and is told how many there are', () => {
    const answers = after(...registered('a', 'b'), request('x', 3));
    expect(answers.grants).toEqual([]);
    expect(answers.pool.hosts.every((host) => host.owner === null)).toBe(true);
    expect(answers.waiting.map(({ reason }) => reason)).toEqual([
      'Waits for 3 hosts with 8 ascend NPUs each: 2 free, 0 leased, 0 silent.',
    ]);
  });

  test('waits behind an earlier one that waits, so that a large gang is not starved by small ones', () => {
    const answers = after(...registered('a', 'b'), request('large', 3), request('small', 1));
    expect(answers.grants).toEqual([]);
    expect(answers.waiting.map(({ reason }) => reason)[1]).toBe('Waits behind 1 other request.');
  });

  test('that arrives twice is queued and granted once', () => {
    const once = after(...registered('a', 'b'), request('x', 1));
    const twice = grantHosts(reducePool(once.pool, request('x', 1)));
    expect(twice.grants).toEqual([]);
    expect(twice.pool.queue).toEqual([]);
    expect(after(request('x', 1), request('x', 1)).pool.queue).toHaveLength(1);
  });

  test.each([
    ['of another runtime', { runtime: 'cpu' as const }],
    ['with too few NPUs', { npusPerHost: 16 }],
  ])('does not get a host %s', (_, change) => {
    expect(after(...registered('a'), request('x', 1, change)).grants).toEqual([]);
  });
});

describe('a host', () => {
  test('that is given back has a higher fence in its next lease', () => {
    const first = after(...registered('a'), request('x', 1));
    const second = [{ event: 'released', owner: owner('x') } as const, request('y', 1)].reduce(reducePool, first.pool);
    expect(named(grantHosts(second))).toEqual([['y', ['a 2']]]);
  });

  test('is given back only by the generation that holds it', () => {
    const first = after(...registered('a'), request('x', 1));
    const late = reducePool(first.pool, { event: 'released', owner: owner('x', 2) });
    expect(late.hosts[0]?.owner).toEqual(owner('x'));
  });

  test('that is silent is not granted, and is again when it is heard of', () => {
    const silent: PoolEvent = { event: 'seen', live: [], lost: ['a'] };
    expect(after(...registered('a'), silent, request('x', 1)).grants).toEqual([]);
    const heard: PoolEvent = { event: 'seen', live: ['a'], lost: [] };
    expect(named(after(...registered('a'), silent, request('x', 1), heard))).toEqual([['x', ['a 1']]]);
  });

  test('whose agent restarts keeps its lease and its fence', () => {
    const leased = after(...registered('a'), request('x', 1));
    const again = reducePool(leased.pool, { event: 'registered', facts: facts('a', { agentPid: 2 }) });
    expect(again.hosts).toEqual([{ facts: facts('a', { agentPid: 2 }), live: true, fence: 1, owner: owner('x') }]);
  });
});

test('a pool that was started anew goes on above the fence that a host remembers', () => {
  const remembered: PoolEvent = { event: 'registered', facts: facts('a', { fence: 7 }) };
  expect(named(after(remembered, request('x', 1)))).toEqual([['x', ['a 8']]]);
});

test('a release also takes back the place in the queue', () => {
  const answers = after(request('x', 1), { event: 'released', owner: owner('x') }, ...registered('a'));
  expect(answers.grants).toEqual([]);
  expect(answers.pool.queue).toEqual([]);
});
