/** The pages of a run, its gang and the pool as Markdown: what they show, and that no foreign text is more than text there. */
import { describe, expect, test } from 'vitest';
import type { GangState } from '../../../src/contract/gang.js';
import { newGang } from '../../../src/contract/gang-story.js';
import type { RunState, StageState } from '../../../src/contract/messages.js';
import { STAGE_NAMES } from '../../../src/plan/plan.js';
import { gangPage } from '../../../src/workflows/gang-page.js';
import { bar, harmless, names } from '../../../src/workflows/page-text.js';
import { runPage } from '../../../src/workflows/run-page.js';
import { poolDetails } from '../../../src/workflows/view.js';

const NOON = Date.UTC(2026, 0, 2, 12, 0, 0);
const FOREIGN = [
  '<img src=x>',
  'a\n```\n# b',
  '`x` **y** [z](javascript:1)',
  '&lt;script&gt;',
  '\u202Eabc\u0000\u001B[2J',
];

const gang: GangState = {
  ...newGang(300),
  generation: 2,
  hosts: ['host-a', 'host-b'],
  committedIteration: 120,
  phase: 'training',
  pace: { at: NOON, iteration: 125, loss: 0.12345, secondsPerIteration: 0.5 },
};

function run(rest: Partial<RunState> = {}): RunState {
  const stages = STAGE_NAMES.map((stage): StageState => ({ stage, status: 'waiting', hosts: [], note: '' }));
  return { runId: 'r-1', name: 'r', cluster: 'c', stages, iterations: 300, outcome: 'running', ...rest };
}

/** What no page may have: a tag or an entity, a character that cannot be seen, a fence that is not alone on its line or not closed. */
function expectHarmless(page: string): void {
  expect(page).not.toMatch(/[<>&]|[\p{Cf}]|[^\P{Cc}\n]/u);
  const fences = page.split('\n').filter((line) => line.includes('`') && !/^[^`]*$/.test(line));
  expect(fences.every((line) => line === '```')).toBe(true);
  expect(fences.length % 2).toBe(0);
}

/** The page without its code blocks, where Markdown would be read as Markdown. */
function outsideBlocks(page: string): string {
  return page
    .split('```')
    .filter((_, index) => index % 2 === 0)
    .join('');
}

describe('the page of a run', () => {
  test('has the stages in columns, the gang with its pace, and how to stop it', () => {
    const [fetch, convert, prepare, train, ...rest] = run().stages as [StageState, ...StageState[]];
    const stages = [
      { ...fetch, status: 'done', startedAt: NOON, endedAt: NOON + 3_200, hosts: ['host-a'] },
      { ...convert!, status: 'reused', startedAt: NOON, endedAt: NOON + 100, note: 'made by run r-0' },
      { ...prepare!, status: 'failed', startedAt: NOON, endedAt: NOON + 100, note: 'Row 7 has no image.' },
      { ...train!, status: 'running', startedAt: NOON, hosts: gang.hosts, note: 'generation 2' },
      ...rest,
    ] as const;
    expect(runPage(run({ stages, gang }), NOON + 5_000)).toBe(
      [
        '### Running',
        '',
        '```',
        'r-1',
        '✔ fetch    ████████████████████  done    3.2 s           host-a',
        '↺ convert  ████████████████████  reused  0.1 s           made by run r-0',
        '✘ prepare  ░░░░░░░░░░░░░░░░░░░░  failed  0.1 s           Row 7 has no image.',
        '▶ train    ████████░░░░░░░░░░░░  running since 12:00:00  host-a, host-b · generation 2',
        '· publish  ░░░░░░░░░░░░░░░░░░░░  waiting',
        '· evaluate ░░░░░░░░░░░░░░░░░░░░  waiting',
        '```',
        '',
        '```',
        'generation 2 · training · host-a, host-b',
        '████████░░░░░░░░░░░░  120 of 300 iterations committed',
        'iteration 125 · loss 0.1235 · 0.500 s an iteration · 88 s left, done about 12:01:27',
        '```',
        '',
        'Written at 12:00:05, and again at the next step or save; what happens meanwhile is under *Pending Activities*. ' +
          'Times are UTC. **Cancel** and *anneal stop* end the run, *anneal pause* lets it wait: trainers save first. *Pause* of an activity is ignored.',
      ].join('\n'),
    );
  });

  test('tells incidents and handovers in the order in which they came', () => {
    const incident = {
      ...{ generation: 1, host: 'host-b', failure: 'TrainerFailed', message: 'Rank 1 was killed.' },
      ...{ decision: 'Starts again.', iterationsLost: 7 },
    };
    const page = gangPage({
      ...gang,
      incidents: [
        {
          ...{ ...incident, at: NOON, secondsToDetect: 0.5, secondsToDecide: 3.2, secondsToNewIteration: 12.34 },
          restored: { localBytes: 3_000, downloadedBytes: 0 },
        },
        { ...incident, at: NOON + 120_000, generation: 2 },
      ],
      handovers: [{ at: NOON + 60_000, generation: 2, who: 'host-a', what: 'its agent fell silent', isHeard: false }],
    });
    expect(page.split('\n').slice(-7)).toEqual([
      '```',
      '12:00:00  g1  host-b: TrainerFailed: Rank 1 was killed.',
      "          → Starts again. 7 iterations lost, found after 0.5 s, decided in 3.2 s, restored 3.0 kB from the hosts' own copies and 0 B from the store, new iterations after 12 s",
      '12:01:00  g2  host-a: its agent fell silent; its work is asked for again',
      '12:02:00  g2  host-b: TrainerFailed: Rank 1 was killed.',
      '          → Starts again. 7 iterations lost',
      '```',
    ]);
  });

  test.each(FOREIGN)('shows foreign text %j as text, wherever it comes from', (text) => {
    const incident = { at: NOON, generation: 1, host: text, failure: text, message: text, decision: text };
    const foreign: GangState = {
      ...gang,
      hosts: [text, text],
      note: text,
      incidents: [{ ...incident, iterationsLost: 1 }],
      handovers: [{ at: NOON, generation: 1, who: text, what: 'its agent fell silent', isHeard: true }],
    };
    const stages = run().stages.map((stage) => ({ ...stage, hosts: [text], note: text }));
    const facts = { name: text, npus: 1 };
    const pool = { hosts: [{ facts, live: true, owner: null, fence: 1 }], queue: [] } as never;
    for (const page of [
      runPage(run({ runId: text, stages, gang: foreign }), NOON),
      gangPage(foreign),
      poolDetails(pool),
    ]) {
      expectHarmless(page);
      expect(outsideBlocks(page)).not.toContain('javascript');
    }
  });

  test('names eight of a thousand hosts', () => {
    const hosts = Array.from({ length: 1_000 }, (_, index) => `h${String(index)}`);
    expect(names(hosts)).toBe('h0, h1, h2, h3, h4, h5, h6, h7 and 992 more');
  });
});

test.each([
  [0, 0, '░░░░░░░░░░░░░░░░░░░░'],
  [5, 100, '█░░░░░░░░░░░░░░░░░░░'],
  [100, 100, '████████████████████'],
  [120, 100, '████████████████████'],
])('%d of %d is the bar %s', (done, total, expected) => {
  expect(bar(done, total)).toBe(expected);
});

test('foreign text is cut by characters', () => {
  expect(harmless('😀😀😀', 2)).toBe('😀…');
  expect(harmless('abc', 3)).toBe('abc');
});
