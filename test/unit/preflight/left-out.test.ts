/**
 * Each planted fault by the way that a gang goes: what the host says of itself, the comparison with the other hosts, and the pool, where it is set
 * apart with that reason; and what all hosts say speaks against none.
 */
import { describe, expect, test } from 'vitest';
import { hostCheck } from '../../../src/activities/host/host-check.js';
import { hostFaults } from '../../../src/plan/host-faults.js';
import { hostStatus } from '../../../src/plan/hosts.js';
import { judgePreflight, type HostCheck } from '../../../src/plan/preflight.js';
import type { HostReadings } from '../../../src/preflight/host-readings.js';
import { judge } from '../../../src/preflight/judge.js';
import { free, owner, request, Scene } from '../../support/pool-events.js';
import { chip, type Fault, FAULTS, host, unread, versions, with_ } from './planted-faults.js';

describe('a gang leaves out a host', () => {
  const look = (readings: HostReadings): HostCheck => hostCheck(readings, judge(readings));
  const well = look(host());
  const refusing: readonly Fault[] = [
    ...FAULTS.filter(([, severity]) => severity === 'refuse'),
    [
      'driver version',
      'refuse',
      versions({ driver: unread }),
      'The version of the driver could not be read (npu-smi: it said "?").',
    ],
    [
      'address',
      'refuse',
      with_([chip(7, { address: { value: null } })]),
      'The network port of chip 7 has no address, so a gang of several hosts cannot use it.',
    ],
  ];

  test.each(refusing.map(([check, , readings, sentence]) => [check, sentence, readings] as const))(
    'for %s: %s',
    (_, sentence, readings) => {
      const gang = { a: well, sick: look(readings), c: well };
      const { unfit } = judgePreflight(Object.entries(gang).map(([name, one]) => ({ host: name, look: one })));
      expect(unfit).toMatchObject([{ host: 'sick', nodeRank: 1, type: 'HostUnfit' }]);
      // In the pool it is set apart with this sentence.
      const pool = new Scene().turn(...free('a', 'sick', 'c'));
      const by = owner('run', 1);
      pool.turn(request(by, 3));
      const [root] = hostFaults(unfit);
      pool.turn({ event: 'released', release: { owner: by, faults: root === undefined ? [] : [root] }, at: 1 });
      expect(hostStatus(pool.vacated().host('sick'))).toBe('quarantined');
      expect(pool.host('sick').cordon?.reason).toContain(`Unfit to train: ${sentence}`);
      expect(['a', 'c'].map((name) => pool.host(name).cordon)).toEqual([null, null]);
      // What all hosts say speaks against none of them.
      const all = judgePreflight(['a', 'b'].map((name) => ({ host: name, look: look(readings) })));
      expect(hostFaults(all.unfit)).toEqual([]);
    },
  );

  test('for every check but one, of whose values none is known to be wrong', () => {
    const checks = judge(host()).checks.map(({ check }) => check);
    expect(checks.filter((check) => !refusing.some(([one]) => one === check))).toEqual(['fec']);
  });
});
