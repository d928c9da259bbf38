/** Quarantine: on evidence about the host, the second time within a day, few for one run, and not at the price of standing still. */
import { describe, expect, test } from 'vitest';
import { hostFaults } from '../../../src/plan/host-faults.js';
import { hostStatus } from '../../../src/plan/hosts.js';
import { free, HOUR, owner, released, request, Scene } from '../../support/pool-events.js';

const failure = (type: string) => ({ host: 'a', nodeRank: 0, type, message: 'why' });

/** Runs one gang after the other on the named hosts; each ends with a lost host. */
function lose(scene: Scene, of: string, generation: number, hosts: readonly string[], lost: string, at: number): Scene {
  const by = owner(of, generation);
  scene.turn(request(by, hosts.length));
  expect(scene.granted).toHaveLength(1);
  return scene.turn(released(by, at, [[lost, 'HostLost']])).vacated();
}

test.each([
  ['HostLost', true],
  ['HostDirty', true],
  ['SupervisorLost', true],
  ['HostUnfit', true],
  ['HostBroken', true],
  ['HostSuspect', true],
  ['LinkFailed', false],
  ['HostFull', false],
  ['SetupWrong', false],
  ['GangUnfit', false],
  ['TrainerFailed', false],
  ['OutOfMemory', false],
  ['PeerLost', false],
  ['NotPickedUp', false],
])('%s speaks against the host: %s', (type, isEvidence) => {
  expect(hostFaults([failure(type)])).toEqual(isEvidence ? [{ host: 'a', failure: type, message: 'why' }] : []);
});

test('what several hosts say of themselves at once speaks against none; a lost host does, however many are', () => {
  const said = (host: string, type: string) => ({ host, nodeRank: 0, type, message: 'why' });
  const broken = [said('a', 'HostBroken'), said('b', 'HostBroken'), said('c', 'HostSuspect'), said('d', 'PeerLost')];
  expect(hostFaults(broken).map(({ host }) => host)).toEqual(['c']);
  expect(hostFaults([said('a', 'HostLost'), said('b', 'HostLost')])).toHaveLength(2);
});

describe('a host', () => {
  test('that is at fault twice in a day is set apart for a day, with the reason', () => {
    const scene = new Scene().turn(...free('a', 'b'));
    lose(scene, 'x', 1, ['a', 'b'], 'a', HOUR);
    expect(hostStatus(scene.host('a'))).toBe('free');
    lose(scene, 'x', 2, ['a', 'b'], 'a', 2 * HOUR);
    expect(hostStatus(scene.host('a'))).toBe('quarantined');
    expect(scene.host('a').cordon).toEqual({
      reason: 'At fault 2 times in 24 hours, the last time HostLost: why',
      since: 2 * HOUR,
      until: 26 * HOUR,
      metBy: 'x',
    });
    expect(hostStatus(scene.turn({ event: 'time passed', at: 25 * HOUR }).host('a'))).toBe('quarantined');
    expect(scene.turn({ event: 'time passed', at: 26 * HOUR }).host('a')).toMatchObject({ cordon: null, faults: [] });
  });

  test('that was looked at and found unfit is set apart at once, but no more than two of one run', () => {
    const scene = new Scene().turn(...free('a', 'b', 'c'), request(owner('x'), 3));
    const unfit = ['a', 'b', 'c'].map((host) => [host, 'HostUnfit'] as const);
    scene.turn(released(owner('x'), HOUR, unfit)).vacated();
    expect(['a', 'b', 'c'].map((host) => hostStatus(scene.host(host)))).toEqual(['quarantined', 'quarantined', 'free']);
    expect(scene.host('a').cordon).toMatchObject({ reason: 'Unfit to train: why', until: 25 * HOUR });
  });

  test('whose chip has failed is set apart at once, one that is only suspect the second time', () => {
    const scene = new Scene().turn(...free('a', 'b'), request(owner('x'), 2));
    scene
      .turn(
        released(owner('x'), HOUR, [
          ['a', 'HostBroken'],
          ['b', 'HostSuspect'],
        ]),
      )
      .vacated();
    expect(['a', 'b'].map((host) => hostStatus(scene.host(host)))).toEqual(['quarantined', 'free']);
    scene
      .turn(request(owner('y'), 1))
      .turn(released(owner('y'), 2 * HOUR, [['b', 'HostSuspect']]))
      .vacated();
    expect(hostStatus(scene.host('b'))).toBe('quarantined');
  });

  test('keeps what its agent has found, whatever else becomes of it', () => {
    const health = { since: 1, isFit: false, findings: ['The disk is full.'] };
    const scene = new Scene().turn(...free('a', 'b'), { event: 'looked at', host: 'a', health });
    scene.turn(request(owner('x'), 1)).turn(released(owner('x'), HOUR, [['a', 'HostLost']]));
    expect(scene.host('a').health).toEqual(health);
    expect(scene.host('b').health).toBeUndefined();
  });

  test('is not set apart for two faults that are more than a day apart', () => {
    const scene = new Scene().turn(...free('a'));
    lose(scene, 'x', 1, ['a'], 'a', 0);
    expect(hostStatus(lose(scene, 'x', 2, ['a'], 'a', 24 * HOUR).host('a'))).toBe('free');
  });

  test('that its accuser did not hold is not accused', () => {
    const scene = new Scene().turn(...free('a', 'b'), request(owner('x'), 1));
    expect(scene.turn(released(owner('x'), 0, [['b', 'HostLost']])).host('b').faults).toEqual([]);
  });

  test('in quarantine is passed over, but used when the gang could not be placed without it', () => {
    const scene = new Scene().turn(...free('a', 'b', 'c'));
    for (const generation of [1, 2]) lose(scene, 'x', generation, ['a'], 'a', HOUR);
    expect(scene.turn(request(owner('y'), 2)).granted).toEqual(['y: b 2, c 2']);
    // Waiting for b and c is possible, so the bad host is left alone.
    expect(scene.turn(request(owner('z'), 1)).granted).toEqual([]);
    scene.turn(released(owner('y')), released(owner('z'))).vacated();
    expect(scene.turn(request(owner('w'), 3)).granted[0]).toContain('w: a ');
  });

  test('in quarantine is not passed over for one that cannot be proven empty, which may take for ever', () => {
    const scene = new Scene().turn(...free('a', 'b', 'c'));
    for (const generation of [1, 2]) lose(scene, 'x', generation, ['a'], 'a', HOUR);
    scene.turn(request(owner('y'), 1, { prefer: ['b'] })).turn(released(owner('y')), request(owner('z'), 2));
    expect(scene.granted).toEqual([]);
    const { fence } = scene.host('b');
    scene.turn({ event: 'not vacated', host: 'b', fence, failure: 'HostDirty', why: 'pid 7', at: HOUR });
    expect(scene.granted[0]).toMatch(/^z: a \d+, c \d+$/);
  });
});

test('one run sets no more than two hosts apart, however many it blames', () => {
  const names = ['a', 'b', 'c', 'd'];
  const scene = new Scene().turn(...free(...names));
  let generation = 0;
  for (const name of names)
    for (let times = 0; times < 2; times += 1) {
      generation += 1;
      lose(scene, 'bad-spec', generation, names, name, HOUR);
    }
  expect(names.map((name) => hostStatus(scene.host(name)))).toEqual(['quarantined', 'quarantined', 'free', 'free']);
});

describe('a host that a run has found bad by comparison', () => {
  const blamed = (host: string, metBy: string, at = HOUR) =>
    ({ event: 'blamed', blame: { metBy, fault: { host, failure: 'LossDiverged', message: 'why' } }, at }) as const;

  test('is cordoned with that reason until somebody takes it off', () => {
    const scene = new Scene().turn(...free('a', 'b'), blamed('a', 'x'));
    expect(scene.host('a').cordon).toEqual({ reason: 'LossDiverged: why', since: HOUR, until: null, metBy: 'x' });
    scene.turn({ event: 'time passed', at: 1000 * HOUR });
    expect(hostStatus(scene.host('a'))).toBe('cordoned');
    expect(hostStatus(scene.turn({ event: 'uncordoned', host: 'a' }).host('a'))).toBe('free');
  });

  test('keeps the reason that an operator gave, and a run blames two at most', () => {
    const scene = new Scene().turn(...free('a', 'b', 'c', 'd'));
    scene.turn({ event: 'cordoned', host: 'a', reason: 'fan', at: 0 });
    for (const host of ['a', 'b', 'c', 'd']) scene.turn(blamed(host, 'x'));
    expect(['a', 'b', 'c', 'd'].map((host) => scene.host(host).cordon?.reason)).toEqual([
      ...['fan', 'LossDiverged: why', 'LossDiverged: why', undefined],
    ]);
  });
});
