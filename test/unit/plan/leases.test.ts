/** The host pool: whole gangs or none, in order; nothing granted that was not proven empty; fences that only rise. */
import { describe, expect, test } from 'vitest';
import { hostStatus } from '../../../src/plan/hosts.js';
import { drainsOf, mustVacate, refuseRegistration } from '../../../src/plan/leases.js';
import { grantsAgain, isNews } from '../../../src/plan/queue.js';
import { facts, free, owner, registered, released, request, Scene, seen } from '../../support/pool-events.js';

const x = owner('x');
const y = owner('y');

describe('a request', () => {
  test('gets all its hosts in the order of their names, each with its next fence number', () => {
    expect(new Scene().turn(...free('c', 'a', 'b'), request(x, 2)).granted).toEqual(['x: a 2, b 2']);
  });

  test('gets none while one is missing, and is told how many there are', () => {
    const scene = new Scene().turn(...free('a', 'b'), request(x, 3));
    expect(scene.granted).toEqual([]);
    expect(scene.answers.pool.hosts.every((host) => host.owner === null)).toBe(true);
    expect(scene.reasons).toEqual(['Waits for 3 hosts with 8 ascend NPUs each: 2 free, 0 leased, 0 silent.']);
  });

  test('waits behind an earlier one that waits, so that a large gang is not starved by small ones', () => {
    const scene = new Scene().turn(...free('a', 'b'), request(x, 3), request(y, 1), request(owner('z'), 1));
    expect(scene.granted).toEqual([]);
    expect(scene.reasons.slice(1)).toEqual(['Waits behind 1 other request.', 'Waits behind 2 other requests.']);
  });

  test('of a gang that has begun goes before those that have not, and behind those that have', () => {
    const begun = { hasBegun: true };
    const scene = new Scene()
      .turn(request(owner('new-1'), 1), request(owner('begun-1'), 1, begun))
      .turn(request(owner('new-2'), 1), request(owner('begun-2'), 1, begun));
    const order = ['begun-1', 'begun-2', 'new-1', 'new-2'];
    expect(scene.answers.waiting.map((waiting) => waiting.owner.workflowId)).toEqual(order);
  });

  test('goes by its priority, and by its turn within one; who is overtaken is told so', () => {
    const urgent = { priority: 'high' } as const;
    const scene = new Scene().turn(
      ...[request(x, 1), request(y, 1, { priority: 'low', hasBegun: true }), request(owner('high-1'), 1, urgent)],
      ...[request(owner('z'), 1), request(owner('high-2'), 1, urgent)],
    );
    expect(scene.answers.waiting.map((waiting) => waiting.owner.workflowId)).toEqual([
      ...['high-1', 'high-2', 'x', 'z', 'y'],
    ]);
    expect(scene.reasons[2]).toBe('Waits behind 2 other requests, 2 of them of a higher priority than normal.');
    expect(scene.reasons[4]).toBe('Waits behind 4 other requests, 4 of them of a higher priority than low.');
  });

  test('that arrives twice is queued and granted once', () => {
    const scene = new Scene().turn(...free('a', 'b'), request(x, 1));
    expect(scene.turn(request(x, 1)).granted).toEqual([]);
    expect(scene.answers.pool.queue).toEqual([]);
    expect(new Scene().turn(request(x, 1), request(x, 1)).answers.pool.queue).toHaveLength(1);
  });

  test('that arrives again is answered with the same leases, and not when they were given back meanwhile', () => {
    const scene = new Scene().turn(...free('a', 'b'), request(x, 2));
    const again = () => grantsAgain(scene.answers.pool.hosts, [x, y]);
    expect(again()).toEqual(scene.answers.grants);
    scene.turn(released(x), request(x, 2));
    expect(again()).toEqual([]);
  });

  test.each([
    ['of another runtime', { runtime: 'cpu' as const }],
    ['with too few NPUs', { npusPerHost: 16 }],
  ])('does not get a host %s', (_, change) => {
    expect(new Scene().turn(...free('a'), request(x, 1, change)).granted).toEqual([]);
  });

  test.each([
    ['another generation of the same gang: it was reset', owner('x', 2)],
    ['another workflow of the same id: it was started anew', owner('x', 1, 'second')],
  ])('ends what was held under its id by %s', (_, next) => {
    const scene = new Scene().turn(...free('a'), request(x, 1)).turn(request(next, 1));
    expect(scene.granted).toEqual([]);
    expect(hostStatus(scene.host('a'))).toBe('vacating');
    expect(scene.vacated().granted).toEqual(['x: a 4']);
    expect(scene.host('a').owner).toEqual(next);
  });

  test('that was released before its turn is forgotten', () => {
    const scene = new Scene().turn(request(x, 1), released(x), ...free('a'));
    expect(scene.granted).toEqual([]);
    expect(scene.answers.pool.queue).toEqual([]);
  });
});

describe('a host', () => {
  test('that drains: its owner is asked, under its lease, until it gives it back', () => {
    const scene = new Scene().turn(...free('a', 'b'), request(x, 2));
    scene.turn({ event: 'cordoned', host: 'a', reason: 'fan', at: 0, drains: true });
    expect(drainsOf(scene.answers.pool)).toEqual([{ owner: x, drain: { host: 'a', fence: 2, reason: 'fan' } }]);
    expect(hostStatus(scene.host('a'))).toBe('draining');
    scene.turn(released(x), request(owner('x', 2), 2));
    expect(drainsOf(scene.answers.pool)).toEqual([]);
    expect(scene.vacated().granted).toEqual([]);
    expect(hostStatus(scene.host('a'))).toBe('cordoned');
  });

  test('that is new is proven empty before it is granted', () => {
    const scene = new Scene().turn(registered('a'), request(x, 1));
    expect(scene.granted).toEqual([]);
    expect(scene.reasons[0]).toContain('1 vacating');
    expect(scene.vacated().granted).toEqual(['x: a 2']);
  });

  test('that is given back is free only when it was proven empty under a fence of its own', () => {
    const scene = new Scene().turn(...free('a'), request(x, 1)).turn(released(x), request(y, 1));
    expect([scene.granted, scene.host('a').fence, hostStatus(scene.host('a'))]).toEqual([[], 3, 'vacating']);
    // An answer to the question of an earlier vacating proves nothing now.
    expect(scene.turn({ event: 'vacated', host: 'a', fence: 1 }).granted).toEqual([]);
    expect(scene.turn({ event: 'vacated', host: 'a', fence: 3 }).granted).toEqual(['y: a 4']);
  });

  test('that is given back while it is silent is vacated when it is heard of, and not before', () => {
    const scene = new Scene()
      .turn(...free('a'), request(x, 1))
      .turn(seen([], ['a']))
      .turn(released(x));
    expect(mustVacate(scene.host('a'))).toBe(false);
    expect(mustVacate(scene.turn(seen(['a'])).host('a'))).toBe(true);
  });

  test('that cannot be proven empty stays out and says why', () => {
    const dirty = { event: 'not vacated', host: 'a', fence: 1, failure: 'HostDirty', why: 'pid 7', at: 0 } as const;
    const scene = new Scene().turn(registered('a')).turn(dirty, request(x, 1));
    expect(scene.granted).toEqual([]);
    expect(scene.host('a').vacating).toEqual({ why: 'pid 7', heldBy: null, failure: 'HostDirty' });
    expect(mustVacate(scene.host('a'))).toBe(true);
    // Looking again and finding the same dirt is no second fault.
    expect(scene.turn(dirty, dirty).host('a').faults).toHaveLength(1);
  });

  test('is given back only by the generation that holds it', () => {
    const scene = new Scene().turn(...free('a'), request(x, 1)).turn(released(owner('x', 2)));
    expect(scene.host('a').owner).toEqual(x);
  });

  test('that is silent is not granted, and is again when it is heard of', () => {
    const scene = new Scene().turn(...free('a'), seen([], ['a']), request(x, 1));
    expect(scene.granted).toEqual([]);
    expect(scene.turn(seen(['a'])).granted).toEqual(['x: a 2']);
  });

  test('whose agent restarts keeps its lease and its fence', () => {
    const scene = new Scene().turn(...free('a'), request(x, 1)).turn(seen([], ['a']));
    const again = scene.turn(registered('a', { agentPid: 2, fence: 2, held: x })).host('a');
    expect(again).toMatchObject({ facts: { agentPid: 2 }, live: true, fence: 2, owner: x, vacating: null });
  });

  test('that goes by a new work root is proven empty again', () => {
    const scene = new Scene().turn(...free('a')).turn(seen([], ['a']), registered('a', { workRootId: 'other' }));
    expect(hostStatus(scene.host('a'))).toBe('vacating');
  });

  test('that is cordoned is not granted; who holds it keeps it', () => {
    const cordon = { event: 'cordoned', host: 'a', reason: 'fan', at: 5 } as const;
    const scene = new Scene().turn(...free('a'), request(x, 1)).turn(cordon);
    expect(scene.host('a').owner).toEqual(x);
    scene.turn(released(x), request(y, 1)).vacated();
    expect([scene.granted, scene.reasons[0]]).toEqual([
      [],
      'Waits for 1 host with 8 ascend NPUs each: 0 free, 0 leased, 0 silent, 1 cordoned.',
    ]);
    expect(scene.turn({ event: 'uncordoned', host: 'a' }).granted).toEqual(['y: a 4']);
  });
});

describe('a pool that was started anew', () => {
  test('goes on above the fence that a host remembers', () => {
    const scene = new Scene().turn(registered('a', { fence: 7 }), request(x, 1)).vacated();
    expect(scene.granted).toEqual(['x: a 9']);
  });

  test('grants nothing that an agent reports as held, until its owner is over', () => {
    const scene = new Scene().turn(registered('a', { fence: 7, held: x }), request(y, 1));
    expect([scene.granted, scene.host('a').fence]).toEqual([[], 7]);
    expect(scene.turn(released(x)).granted).toEqual([]);
    expect(scene.vacated().granted).toEqual(['y: a 9']);
  });

  test.each([
    ['waits for its next one', [request(owner('x', 2), 2)]],
    ['holds its next one', [registered('b', { fence: 4, held: owner('x', 2) })]],
  ])('takes back what is still held by a generation of a gang that %s, whichever it hears of first', (_, known) => {
    const late = registered('a', { fence: 7, held: x });
    for (const events of [
      [...known, late],
      [late, ...known],
    ]) {
      const scene = new Scene().turn(...events);
      expect([scene.host('a').owner, scene.host('a').fence, mustVacate(scene.host('a'))]).toEqual([null, 8, true]);
    }
  });

  test('does not take one gang for another of its workflow id, which may be the newer one', () => {
    const other = owner('x', 2, 'second');
    const scene = new Scene().turn(registered('a', { held: other }), registered('b', { held: x }));
    expect([scene.host('a').owner, scene.host('b').owner]).toEqual([other, x]);
  });
});

describe('an agent', () => {
  const pool = new Scene().turn(...free('a')).answers.pool;

  test('on another work root is refused while one of its name lives, with a sentence that names that one', () => {
    expect(refuseRegistration(pool, facts('a', { workRootId: 'other' }))).toBe(
      'The host name "a" is taken: an agent with another work root lives under it (machine m, address 127.0.0.1, pid 1). Give this agent another name, or stop that one and start this one half a minute later.',
    );
  });

  test('is welcome on the same work root, under a new name, and in the place of one that is silent', () => {
    expect(refuseRegistration(pool, facts('a', { agentPid: 2 }))).toBeUndefined();
    expect(refuseRegistration(pool, facts('b'))).toBeUndefined();
    const silent = new Scene().turn(...free('a'), seen([], ['a'])).answers.pool;
    expect(refuseRegistration(silent, facts('a', { workRootId: 'other' }))).toBeUndefined();
  });
});

test.each([
  ['first', undefined, 5, true],
  ['a step further', 5, 4, false],
  ['half the way', 5, 2, true],
  ['at the head', 2, 1, true],
])('a waiting owner is told when it is %s', (_, before, place, isTold) => {
  const told =
    before === undefined ? undefined : { owner: x, place: before, priority: 'normal' as const, reason: 'old' };
  expect(isNews(told, { owner: x, place, priority: 'normal', reason: 'new' })).toBe(isTold);
});
