/** What a gang makes of the looks at its hosts: a host's own finding is its own, what all say is nobody's, and what nobody knows is no evidence. */
import { describe, expect, test } from 'vitest';
import {
  CHIP_KIND,
  ERROR_CORRECTION,
  judgePreflight,
  type HostCheck,
  type HostFinding,
  type NodeLook,
} from '../../../src/plan/preflight.js';

const found = (check: string, severity: HostFinding['severity'] = 'refuse'): HostFinding => ({
  ...{ check, severity, sentence: `${check} is bad.`, remedy: `Mend ${check}.` },
});
const look = (findings: readonly HostFinding[] = [], versions: HostCheck['versions'] = {}): HostCheck => ({
  findings,
  versions,
});
const unknown = { unknown: 'nobody answered' };
const gang = (...looks: readonly NodeLook['look'][]): readonly NodeLook[] =>
  looks.map((one, index) => ({ host: 'abcdefghijkl'[index] ?? '?', look: one }));

/** The chips of the first host have no address. */
const withoutAddress = (kind: string): readonly NodeLook[] =>
  gang(look([found('address', 'warn')], { [CHIP_KIND]: kind }), look([], { [CHIP_KIND]: kind }));

const unfit = (nodes: readonly NodeLook[]): readonly string[] =>
  judgePreflight(nodes).unfit.map(({ host, nodeRank, type }) => `${host}${String(nodeRank)} ${type}`);

test.each<[what: string, nodes: readonly NodeLook[], unfit: readonly string[]]>([
  ['nothing speaks against anybody', gang(look(), look()), []],
  ['one host is refused', gang(look(), look([found('link')])), ['b1 HostUnfit']],
  [
    'two of three have the same',
    gang(look([found('link')]), look([found('link')]), look()),
    ['a0 HostUnfit', 'b1 HostUnfit'],
  ],
  [
    'all have the same: it is no host of its own',
    gang(look([found('python')]), look([found('python')])),
    ['a0 GangUnfit', 'b1 GangUnfit'],
  ],
  [
    'all have the same, and one has more',
    gang(look([found('python'), found('link')]), look([found('python')])),
    ['a0 HostUnfit', 'b1 GangUnfit'],
  ],
  ['each has another', gang(look([found('disk')]), look([found('link')])), ['a0 HostUnfit', 'b1 HostUnfit']],
  ['a gang of one has nobody to compare with', gang(look([found('python')])), ['a0 HostUnfit']],
  ['warnings refuse nobody', gang(look([found('clock', 'warn')]), look()), []],
  ['who was not looked at is no evidence', gang(unknown, look()), []],
  [
    'of the others none may be compared with one that is not known',
    gang(unknown, look([found('link')])),
    ['b1 HostUnfit'],
  ],
  ['nobody was looked at', gang(unknown, unknown), []],
  ['a store that all miss is waited for', gang(look([found('store')]), look([found('store')])), []],
  ['a store that the only host misses is waited for', gang(look([found('store')])), []],
  ["a clock that differs on all hosts is the server's", gang(look([found('clock')]), look([found('clock')])), []],
  ["a clock that differs on the only host may be the server's", gang(look([found('clock')])), []],
  ['a clock that differs on one host is its own', gang(look(), look([found('clock')])), ['b1 HostUnfit']],
  ['a store that another reaches is the way of the host', gang(look([found('store')]), look()), ['a0 HostUnfit']],
])('%s', (_, nodes, expected) => {
  expect(unfit(nodes)).toEqual(expected);
});

test('an unfit host says what was found and what to do, and of what all have only what is its own', () => {
  const both = found('python');
  const [first, second] = judgePreflight(gang(look([both, found('link')]), look([both]))).unfit;
  expect(first?.message).toBe('link is bad. Mend link.');
  expect(second?.message).toBe('python is bad. Mend python.');
});

test('warnings are told once for all hosts that have them, and few', () => {
  const clock = found('clock', 'warn');
  expect(judgePreflight(gang(look([clock]), unknown, look([clock]), look([found('store')]))).warnings).toEqual([
    'b: It was not looked at: nobody answered',
    'a, c: clock is bad.',
  ]);
  const many = gang(...Array.from({ length: 12 }, () => look([clock])));
  expect(judgePreflight(many).warnings).toEqual(['a, b, c, d and 8 more: clock is bad.']);
  const all = Array.from({ length: 30 }, (_, index) => found(`check ${String(index)}`, 'warn'));
  expect(judgePreflight(gang(look(all))).warnings).toHaveLength(10);
});

describe('what must be the same on all hosts of a gang', () => {
  const having = (...values: readonly (string | undefined)[]): readonly NodeLook[] =>
    gang(...values.map((CANN) => look([], CANN === undefined ? { torch: '2.7' } : { torch: '2.7', CANN })));

  test.each<[what: string, nodes: readonly NodeLook[], unfit: readonly string[]]>([
    ['is the same', having('8.3', '8.3'), []],
    ['differs on one: it is the odd one', having('8.3', '8.2', '8.3'), ['b1 HostUnfit']],
    [
      'differs, and no more than half agree: it speaks against none',
      having('8.3', '8.2'),
      ['a0 GangUnfit', 'b1 GangUnfit'],
    ],
    ['could not be read on one: no evidence', having('8.3', undefined), []],
    [
      'could not be read on one, and differs on the others',
      having('8.3', undefined, '8.2'),
      ['a0 GangUnfit', 'c2 GangUnfit'],
    ],
    ['differs on a host that was not looked at: nobody knows', gang(look([], { CANN: '8.3' }), unknown), []],
  ])('%s', (_, nodes, expected) => {
    expect(unfit(nodes)).toEqual(expected);
  });

  test('is told with who has which, and what to do', () => {
    const [first] = judgePreflight(having('8.3', '8.2')).unfit;
    expect(first?.message).toBe(
      'CANN must be the same on all hosts of a gang, but is 8.3 on a, 8.2 on b. Make it the same on all hosts.',
    );
  });

  test('a host of another kind is not set apart for it, however many are of the first', () => {
    const kinds = ['910B3', '910B3', 'Ascend910'].map((kind) => look([], { [CHIP_KIND]: kind }));
    expect(unfit(gang(...kinds))).toEqual(['a0 GangUnfit', 'b1 GangUnfit', 'c2 GangUnfit']);
    expect(judgePreflight(gang(...kinds)).unfit[0]?.message).toBe(
      'The kind of chip must be the same on all hosts of a gang, but is 910B3 on a, b, Ascend910 on c. Give hosts of each kind a cluster of their own ("cluster" in the settings of agents and workers).',
    );
  });

  test.each<[what: string, nodes: readonly NodeLook[], unfit: readonly string[]]>([
    ['refuses an A2 among others', withoutAddress('910B3'), ['a0 HostUnfit']],
    ['is no matter to an A2 alone', withoutAddress('910B3').slice(0, 1), []],
    ['is a warning of other chips, which may have another way', withoutAddress('Ascend910'), []],
  ])('a chip without an address %s', (_, nodes, expected) => {
    expect(unfit(nodes)).toEqual(expected);
  });

  test('is told of and refuses nobody where each host agrees on it with its own switch', () => {
    const modes = ['rs', 'rs', 'base'].map((mode) => look([], { [ERROR_CORRECTION]: mode }));
    expect(judgePreflight(gang(...modes))).toEqual({
      unfit: [],
      warnings: [
        'c: The error correction of the ports must be the same on all hosts of a gang, but is rs on a, b, base on c.',
      ],
    });
  });

  test('comes behind what a host has found of itself', () => {
    const nodes = gang(look([found('link')], { CANN: '8.2' }), look([], { CANN: '8.3' }), look([], { CANN: '8.3' }));
    expect(judgePreflight(nodes).unfit).toMatchObject([
      {
        host: 'a',
        type: 'HostUnfit',
        message: expect.stringMatching(/^link is bad\. Mend link\. CANN must/) as string,
      },
    ]);
  });
});
