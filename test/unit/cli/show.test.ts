/** How commands show events, plans, runs and hosts. */
import { describe, expect, test } from 'vitest';
import { showCommand } from '../../../src/cli/commands/plan.js';
import { showHosts, showOneHost } from '../../../src/cli/commands/hosts.js';
import { showRuns } from '../../../src/cli/commands/runs.js';
import { EXIT_CODES, exitCodeTable, CommandError } from '../../../src/cli/exit-codes.js';
import { failureOf } from '../../../src/cli/failure.js';
import { LiveBlock } from '../../../src/cli/live-block.js';
import { RunScreen } from '../../../src/cli/run-screen.js';
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

  /** Local noon of some day, so that the clock in a line does not depend on the zone of the test. */
  const noon = new Date(2026, 0, 2, 12, 0, 0).getTime();
  const incident = {
    ...{ at: noon, generation: 2, host: 'host-b', failure: 'TrainerFailed', message: 'exit code 1' },
    ...{ decision: 'Starts again.', iterationsLost: 7 },
  };

  test('an incident says when, who, what, why and what it cost, and its end what time it cost', () => {
    expect(showEvent({ type: 'incident', ...incident })).toBe(
      '! train    12:00:00 generation 2: TrainerFailed on host-b: exit code 1; Starts again.; 7 iterations lost',
    );
    expect(showEvent({ type: 'incident', ...incident, secondsToDetect: 2, secondsToDecide: 0.3 })).toMatch(
      /; 7 iterations lost; found after 2\.0 s; decided in 0\.3 s$/,
    );
    expect(showEvent({ type: 'incident', ...incident, evidence: 'runs/r/incidents/000002/' })).toMatch(
      /; 7 iterations lost; evidence in runs\/r\/incidents\/000002\/$/,
    );
    expect(showEvent({ type: 'recovered', ...incident, secondsToNewIteration: 83 })).toBe(
      '* train    12:01:23 generation 2: the TrainerFailed on host-b is made good; 7 iterations trained again, new ones after 83 s',
    );
    const restored = { localBytes: 4_200_000, downloadedBytes: 312 };
    expect(showEvent({ type: 'recovered', ...incident, restored, secondsToNewIteration: 83 })).toMatch(
      /new ones after 83 s; restored 4\.2 MB from the hosts' own copies and 312 B from the store$/,
    );
  });

  test('a handover says who went on', () => {
    const handover = { at: noon, generation: 1, who: 'host-a', what: 'its agent was gone and is back' };
    expect(showEvent({ type: 'handover', ...handover, isHeard: false })).toBe(
      '. train    12:00:00 generation 1: host-a: its agent was gone and is back; its work is asked for again',
    );
    expect(showEvent({ type: 'handover', ...handover, isHeard: true })).toBe(
      '* train    12:00:00 generation 1: host-a: its agent was gone and is back; its successor goes on; nothing lost',
    );
  });

  test('what a trainer printed neither breaks the line nor steers the terminal', () => {
    const message = 'a\nb\u001B[2Jc\u202Ed\u0007';
    const shown = showEvent({ type: 'incident', ...incident, message, host: 'x\r\ny' });
    expect(shown).toContain('TrainerFailed on x y: a b [2Jc d;');
    expect(shown).not.toMatch(/[\p{Cc}\p{Cf}]/u);
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
    expect(showProgress(event)).toEqual(['  train    150/300  loss 0.1234  30 s left  training (host-b)']);
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
    expect(showProgress({ ...bytes, perSecond: 2_500_000 })).toEqual([
      '  fetch    50.0 %  2.5 MB/s  stores data (host-a)',
    ]);
  });

  test('has a bar on a terminal, a second line for the gang, and no line as wide as the terminal', () => {
    const gang = { ...event, generation: 2, hosts: ['host-a', 'host-b'], perSecond: 4 };
    expect(showProgress(gang, 200)).toEqual([
      '  train    [############------------]  50.0 % 150/300  loss 0.1234  0.250 s/iteration  30 s left',
      '           generation 2 on host-a, host-b: training',
    ]);
    for (const columns of [200, 60, 40])
      for (const line of showProgress(gang, columns)) expect(line.length).toBeLessThan(columns);
  });
});

describe('RunScreen', () => {
  const progress = (stage: 'convert' | 'prepare', message: string) =>
    ({ type: 'progress', stage, host: 'host-a', message }) as const;
  const started = (stage: 'convert' | 'prepare') => ({ type: 'stage-started', stage, hosts: [], note: '' }) as const;

  test('shows every stage that runs with what it last said, and none that has ended', () => {
    const screen = new RunScreen();
    for (const event of [started('convert'), started('prepare'), progress('convert', 'a'), progress('convert', 'b')])
      screen.take(event);
    expect(screen.lines(80)).toEqual(['  convert    b (host-a)', '  prepare  …']);
    screen.take({ type: 'stage-done', stage: 'convert', hosts: [], note: '', seconds: 1 });
    expect(screen.lines(80)).toEqual(['  prepare  …']);
    screen.take({ type: 'outcome', outcome: 'failed', message: '' });
    expect(screen.lines(80)).toEqual([]);
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
      workRootId: '',
      machineId: '',
      bootId: '',
      npus: 1,
      runtime: 'cpu',
      agentPid: 42,
      agentStartedAt: '',
      version: '',
      fence: 0,
      held: null,
    } as const;
    const owner = { workflowId: 'run/r/train', firstRunId: 'x', generation: 2 };
    const free = { facts, live: true, fence: 3, owner: null, vacating: null, cordon: null, faults: [] };
    const cordon = { reason: 'fan', since: 0, until: null, metBy: null };
    const health = { since: 0, isFit: true, findings: ['Nobody keeps the clock right.'] };
    const shown = showHosts([
      { ...free, live: false, owner, trainerPid: 43 },
      { ...free, health: { ...health, findings: [] } },
      { ...free, health, cordon },
      { ...free, health: { ...health, isFit: false } },
    ]);
    const cells = shown.split('\n').map((line) => line.split(/ {2,}/));
    expect(cells).toEqual([
      [
        'HOST',
        'AGENT',
        'STATE',
        'HEALTH',
        'NPUS',
        'RUNTIME',
        'ADDRESS',
        'AGENT PID',
        'TRAINER PID',
        'FENCE',
        'HELD BY',
      ],
      ['host-a', 'silent', 'leased', '-', '1', 'cpu', '127.0.0.1', '42', '43', '3', 'run/r/train (generation 2)'],
      ['host-a', 'live', 'free', 'fit', '1', 'cpu', '127.0.0.1', '42', '-', '3', '-'],
      ['host-a', 'live', 'cordoned', 'fit, warned', '1', 'cpu', '127.0.0.1', '42', '-', '3', 'fan'],
      ['host-a', 'live', 'free', 'unfit', '1', 'cpu', '127.0.0.1', '42', '-', '3', '-'],
    ]);
    expect(showOneHost({ ...free, health })).toMatch(
      /health +fit, warned since 1970-01-01 00:00:00\nfinding +Nobody keeps the clock right\./,
    );
    expect(showOneHost({ ...free, cordon })).toContain('cordon   fan (since 1970-01-01 00:00:00)');
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

describe('LiveBlock', () => {
  test('is written over on a terminal, line by line, and gives way to lasting lines', () => {
    let written = '';
    const live = new LiveBlock({
      isTTY: true,
      write: (text: string | Uint8Array) => ((written += String(text)), true),
    });
    live.show(['one', 'two', 'three']);
    live.show(['four']);
    live.above('news');
    live.clear();
    expect(written).toBe('\r\u001B[Jone\ntwo\nthree\u001B[2A\r\u001B[Jfour\r\u001B[Jnews\n');
  });

  test('writes only lasting lines without a terminal', () => {
    let written = '';
    const live = new LiveBlock({ write: (text: string | Uint8Array) => ((written += String(text)), true) });
    live.show(['one']);
    live.above('news');
    expect(written).toBe('news\n');
  });
});
