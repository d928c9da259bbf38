/** How commands show events, plans, runs and hosts. */
import { describe, expect, test } from 'vitest';
import { showCommand } from '../../../src/cli/commands/plan.js';
import { showHosts } from '../../../src/cli/commands/hosts.js';
import { showRuns } from '../../../src/cli/commands/runs.js';
import { EXIT_CODES, exitCodeTable, CommandError } from '../../../src/cli/exit-codes.js';
import { failureOf } from '../../../src/cli/failure.js';
import { LiveLine } from '../../../src/cli/live-line.js';
import { showEvent, showProgress } from '../../../src/cli/show-event.js';
import { RunNotFoundError } from '../../../src/client/errors.js';

describe('showEvent', () => {
  test.each([
    [{ type: 'stage-started', stage: 'fetch', hosts: ['host-a'], note: '' } as const, '> fetch    started, on host-a'],
    [
      { type: 'stage-done', stage: 'train', hosts: [], note: 'iteration 300', seconds: 75 } as const,
      '* train    done in 75 s, iteration 300',
    ],
    [
      { type: 'stage-reused', stage: 'train', hosts: [], note: 'made by run r1' } as const,
      '= train    reused, made by run r1',
    ],
    [{ type: 'waiting', for: 'train: 1 of 2 hosts' } as const, '. waiting: train: 1 of 2 hosts'],
    [{ type: 'outcome', outcome: 'promoted', message: 'accuracy 1.0 %' } as const, '* promoted: accuracy 1.0 %'],
    [{ type: 'outcome', outcome: 'failed', message: 'why' } as const, '! failed: why'],
  ])('%o', (event, expected) => {
    expect(showEvent(event)).toBe(expected);
  });

  test('an incident says what failed, what was decided and what it cost', () => {
    const shown = showEvent({
      ...{ type: 'incident', at: 0, generation: 2, host: 'host-b', failure: 'TrainerFailed' },
      ...{ message: 'exit code 1', decision: 'same hosts again', iterationsLost: 7 },
    });
    expect(shown).toBe(
      '! train    generation 2: TrainerFailed on host-b: exit code 1, same hosts again, 7 iterations lost',
    );
  });
});

describe('showProgress', () => {
  const event = {
    type: 'progress',
    stage: 'train',
    host: 'host-b',
    done: 150,
    total: 300,
    loss: 0.1234,
    etaSeconds: 30,
    message: 'training',
  } as const;

  test('is a plain line without a terminal', () => {
    expect(showProgress(event)).toBe('  train    150/300  loss 0.1234  30 s left  training (host-b)');
  });

  test('shows bytes of a transfer as a share', () => {
    const bytes = {
      type: 'progress',
      stage: 'fetch',
      host: 'host-a',
      done: 2_702_221,
      total: 5_404_442,
      message: 'stores data',
    } as const;
    expect(showProgress(bytes)).toBe('  fetch    50.0 %  stores data (host-a)');
  });

  test('has a bar on a terminal and never more than its width', () => {
    expect(showProgress(event, 200)).toContain('[############------------]');
    for (const width of [200, 60, 40]) expect(showProgress(event, width).length).toBeLessThan(width);
  });
});

describe('showCommand', () => {
  test('shows holes in braces and quotes what a shell would split', () => {
    const command = {
      program: 'torchrun',
      args: ['--node_rank', { hole: 'nodeRank' }, '[[1, 2]]', { hole: 'work', then: '/a b' }],
      env: { PYTHONPATH: { hole: 'trainerHome' } },
      cwd: { hole: 'work' },
    } as const;
    expect(showCommand(command)).toBe(
      "PYTHONPATH={trainerHome} torchrun --node_rank {nodeRank} '[[1, 2]]' '{work}/a b'",
    );
  });
});

describe('lists', () => {
  test('runs stand in columns', () => {
    const run = {
      runId: 'r-1',
      name: 'r',
      model: 'm',
      status: 'running',
      stage: 'train',
      iteration: 20,
      hosts: ['a', 'b'],
      specDigest: '',
    };
    const shown = showRuns([{ ...run, startedAt: '2026-01-02T03:04:05.678Z', endedAt: null }]);
    expect(shown.split('\n')[1]).toBe('r-1  running  train  20         2026-01-02 03:04:05  -     a, b');
  });

  test('a host says whether its agent is heard, who holds it and which processes work there', () => {
    const facts = {
      name: 'host-a',
      address: '127.0.0.1',
      machineId: '',
      bootId: '',
      npus: 1,
      runtime: 'cpu',
      agentPid: 42,
      agentStartedAt: '',
      version: '',
      fence: 0,
    } as const;
    const shown = showHosts([
      {
        ...{ facts, live: false, fence: 3, trainerPid: 43 },
        owner: { workflowId: 'run/r/train', firstRunId: 'x', generation: 2 },
      },
      { facts, live: true, fence: 3, owner: null },
    ]);
    const cells = shown.split('\n').map((line) => line.split(/ {2,}/));
    expect(cells).toEqual([
      ['HOST', 'AGENT', 'NPUS', 'RUNTIME', 'ADDRESS', 'AGENT PID', 'TRAINER PID', 'FENCE', 'HELD BY'],
      ['host-a', 'silent', '1', 'cpu', '127.0.0.1', '42', '43', '3', 'run/r/train (generation 2)'],
      ['host-a', 'live', '1', 'cpu', '127.0.0.1', '42', '-', '3', '-'],
    ]);
  });
});

describe('exit codes', () => {
  test('are all different and all in the table', () => {
    const codes = Object.values(EXIT_CODES).map(({ code }) => code);
    expect(new Set<number>(codes).size).toBe(codes.length);
    for (const code of codes) expect(exitCodeTable()).toContain(` ${String(code)}  `);
  });

  test.each([
    [new CommandError('refused', 'no'), 2, 'no'],
    [new RunNotFoundError('where?'), 4, 'where?'],
    ['thrown text', 1, 'thrown text'],
  ])('%s is told by its message alone', (error, code, text) => {
    expect(failureOf(error)).toEqual({ code, text });
  });

  test('a fault of our own shows its stack', () => {
    expect(failureOf(new TypeError('x is undefined')).text).toMatch(/fault of anneal itself.*show\.test/s);
  });
});

describe('LiveLine', () => {
  test('is written over on a terminal and gives way to lasting lines', () => {
    let written = '';
    const live = new LiveLine({ isTTY: true, write: (text: string | Uint8Array) => ((written += String(text)), true) });
    live.show('one');
    live.above('news');
    live.clear();
    expect(written).toBe('\r\u001B[2Kone\r\u001B[2Knews\n');
  });

  test('writes only lasting lines without a terminal', () => {
    let written = '';
    const live = new LiveLine({ write: (text: string | Uint8Array) => ((written += String(text)), true) });
    live.show('one');
    live.above('news');
    expect(written).toBe('news\n');
  });
});
