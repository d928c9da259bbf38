/** Which hosts a wish is met by: for stages that need no NPU, and for a run that is too large for the cluster. */
import { describe, expect, test } from 'vitest';
import type { Lease } from '../../../src/plan/hosts.js';
import { place, placeIo, refuseSize, seat } from '../../../src/plan/placement.js';
import { free, owner, registered, released, request, Scene, seen } from '../../support/pool-events.js';

const wish = (hosts: number) => ({ hosts, npusPerHost: 8, runtime: 'ascend' as const });
const cordoned = (host: string) => ({ event: 'cordoned', host, reason: 'fan', at: 0 }) as const;

describe('a run', () => {
  test('may begin on as many hosts as the cluster has, whatever they do at the moment', () => {
    const { pool } = new Scene().turn(
      ...free('a', 'b', 'c'),
      request(owner('x'), 1),
      seen([], ['b']),
      cordoned('c'),
    ).answers;
    expect(refuseSize(pool.hosts, 'lab', wish(3))).toBeUndefined();
    expect(refuseSize(pool.hosts, 'lab', wish(4))).toBe(
      'The run needs 4 hosts with 8 ascend NPUs each; cluster "lab" has 3 (0 free, 1 leased, 1 silent, 1 cordoned). Lay it out on fewer hosts, or start agents on more.',
    );
  });

  test('is refused where no host fits', () => {
    const { pool } = new Scene().turn(registered('a', { npus: 4 }), registered('b', { runtime: 'cpu' })).answers;
    expect(refuseSize(pool.hosts, 'lab', wish(1))).toContain('cluster "lab" has none.');
  });
});

describe('a gang that begins again', () => {
  test.each([
    ['its hosts of before, though others come first by name', { prefer: ['c', 'd'] }, ['c', 'd']],
    ['what is left of them, and others by name', { prefer: ['d', 'gone'] }, ['a', 'd']],
    ['no suspect while there are others', { avoid: ['a'] }, ['b', 'c']],
    ['no suspect, though it was one of its hosts', { prefer: ['a', 'c'], avoid: ['a'] }, ['b', 'c']],
  ])('gets %s', (_, wishes, expected) => {
    const { pool } = new Scene().turn(...free('a', 'b', 'c', 'd')).answers;
    const placed = place(pool.hosts, { ...wish(2), ...wishes });
    expect('hosts' in placed && placed.hosts.toSorted()).toEqual(expected);
  });

  test('waits for a host that is being proven empty, rather than begin on a suspect', () => {
    const { pool } = new Scene().turn(...free('a', 'b'), registered('c')).answers;
    expect(place(pool.hosts, { ...wish(2), avoid: ['a'] })).toEqual({
      reason: 'Waits for c to be proven empty, rather than begin on a.',
    });
    expect(place(pool.hosts, { ...wish(2), avoid: ['c'] })).toEqual({ hosts: ['a', 'b'] });
    expect(place(pool.hosts, wish(2))).toEqual({ hosts: ['a', 'b'] });
  });

  test('waits for a host of before that is being proven empty, rather than begin on a newcomer, unless that host was at fault', () => {
    const scene = new Scene().turn(...free('a', 'b', 'c', 'd'), request(owner('x'), 2));
    const { pool } = scene.turn(released(owner('x'), 0, [['a', 'HostLost']])).answers;
    const again = { ...wish(2), prefer: ['a', 'b'] };
    expect(place(pool.hosts, again)).toEqual({
      reason: 'Waits for b to be proven empty, rather than begin on c, d.',
    });
    expect(place(pool.hosts, wish(2))).toEqual({ hosts: ['c', 'd'] });
    const proven = pool.hosts.map((host) => (host.facts.name === 'b' ? { ...host, vacating: null } : host));
    expect(place(proven, again)).toEqual({ hosts: ['b', 'c'] });
  });

  test('gets a suspect when there is no other', () => {
    const { pool } = new Scene().turn(...free('a', 'b')).answers;
    expect(place(pool.hosts, { ...wish(2), avoid: ['a'] })).toEqual({ hosts: ['b', 'a'] });
  });

  test.each([
    ['by name at first', ['a', 'b'], [], ['a', 'b']],
    ['as before', ['a', 'b'], ['b', 'a'], ['b', 'a']],
    ['who stays keeps its place', ['b', 'c'], ['a', 'b'], ['c', 'b']],
    ['newcomers take the places that are left', ['a', 'd', 'e'], ['c', 'd', 'b'], ['a', 'd', 'e']],
    ['nobody was there before', ['c', 'd'], ['a', 'b'], ['c', 'd']],
  ])('seats: %s', (_, granted, before, expected) => {
    const leases = granted.map((name) => ({ host: { name } }) as Lease);
    expect(seat(leases, before).map(({ host }) => host.name)).toEqual(expected);
  });
});

describe('a stage that needs no NPU', () => {
  test('goes to a free host first, to one that is leased else, never to one that is silent, cordoned or tried', () => {
    const scene = new Scene().turn(...free('a', 'b', 'c', 'd'), request(owner('x'), 1), seen([], ['c']), cordoned('d'));
    const { hosts } = scene.answers.pool;
    expect(placeIo(hosts, 'ascend', [])).toBe('b');
    expect(placeIo(hosts, 'ascend', ['b'])).toBe('a');
    expect(placeIo(hosts, 'ascend', ['a', 'b'])).toBeUndefined();
    expect(placeIo(hosts, 'cpu', [])).toBeUndefined();
  });
});
