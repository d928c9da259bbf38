import { describe, expect, test } from 'vitest';
import { backendFor } from '../../../src/backends/backend.js';
import type { ExitEvidence } from '../../../src/backends/backend.js';

const { classifyExit } = backendFor({ kind: 'ascend' });
const DONE = '[after training is done] datetime: 2025-10-28 12:00:00 ';
const at = (iteration: number) => ({ kind: 'iteration', iteration }) as const;
const ended = (change: Partial<ExitEvidence>): ExitEvidence => ({
  exit: { reason: 'exited', rc: 1 },
  lines: [],
  nodeRank: 0,
  iterations: 300,
  ...change,
});

/** torchrun's summary, as it prints it. */
const summary = (rank: number, exitCode: number): string[] => [
  'torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ',
  '============================================================',
  '/t/pretrain_internvl.py FAILED',
  '------------------------------------------------------------',
  'Root Cause (first observed failure):',
  '[0]:',
  '  time      : 2025-10-28_12:00:00',
  '  host      : h',
  `  rank      : ${String(rank)} (local_rank: 0)`,
  `  exitcode  : ${String(exitCode)} (pid: 4242)`,
  '  error_file: <N/A>',
  '  traceback : Signal 9 (SIGKILL) received by PID 4242',
];
const RESET =
  'RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:23456';

describe('success', () => {
  test('is the marker and the tracker together', () => {
    expect(classifyExit(ended({ exit: { reason: 'exited', rc: 0 }, lines: [DONE], tracker: at(300) }))).toEqual({
      kind: 'completed',
      message: 'Training is done and saved at iteration 300.',
    });
  });

  test('holds whatever the exit code is, since torchrun may fail after the work is done', () => {
    expect(classifyExit(ended({ lines: [DONE], tracker: at(300) })).kind).toBe('completed');
  });

  test.each([
    ['exit code 0 alone', { exit: { reason: 'exited', rc: 0 } }],
    ['the marker alone', { exit: { reason: 'exited', rc: 0 }, lines: [DONE] }],
    ['the marker with an older tracker', { exit: { reason: 'exited', rc: 0 }, lines: [DONE], tracker: at(280) }],
    ['the tracker alone', { exit: { reason: 'exited', rc: 0 }, tracker: at(300) }],
    ['the marker with a damaged tracker', { lines: [DONE], tracker: { kind: 'invalid', text: '' } }],
  ] as const)('is not %s', (_, change) => {
    expect(classifyExit(ended(change)).kind).toBe('trainer-error');
  });

  test('is not an end amid nan iterations, though marker and tracker say so', () => {
    const nan =
      ' [2026-11-24 23:43:55] iteration      300/     300 | consumed samples:        19200 | loss scale: 1.0 | grad norm: nan | number of skipped iterations:   0 | number of nan iterations:   1 |';
    expect(classifyExit(ended({ exit: { reason: 'exited', rc: 0 }, lines: [nan, DONE], tracker: at(300) }))).toEqual({
      kind: 'loss-diverged',
      message: 'The loss was no longer a number at iteration 300.',
      notFinite: { iteration: 300, loss: 'nan', ranks: [] },
    });
  });

  test('cannot be told on another node, which ends without an error', () => {
    expect(classifyExit(ended({ exit: { reason: 'exited', rc: 0 }, nodeRank: 1 })).kind).toBe('left');
  });

  // As torchrun 2.7.1 prints it where node 0 was faster to leave; the words of the last line are those of the socket.
  test.each([
    'torch.distributed.DistNetworkError: failed to recv, got 0 bytes',
    'torch.distributed.DistNetworkError: Connection reset by peer',
    'RuntimeError: Broken pipe',
  ])('is not denied by a torchrun that could not wait for node 0: %s', (words) => {
    const prefix = 'E1126 02:53:53.191000 29910 torch/distributed/elastic/agent/server/api.py:954] ';
    const lines = [
      `${prefix}Error waiting on exit barrier. Elapsed: 2.000877618789673 seconds`,
      `${prefix}Traceback (most recent call last):`,
      `${prefix}    store.wait([last_member_key])`,
    ];
    const exit = { reason: 'exited', rc: 0 } as const;
    for (const last of [words, `${prefix}${words}`])
      expect(classifyExit(ended({ exit, lines: [...lines, last], nodeRank: 1 })).kind).toBe('left');
  });
});

test('a node that ends well after node 0 has left, though torchrun finds its peers gone', () => {
  const line =
    'E1126 03:24:07.565000 28518 torch/distributed/elastic/agent/server/api.py:954] torch.distributed.DistNetworkError: failed to recv, got 0 bytes';
  const end = { exit: { reason: 'exited', rc: 0 }, lines: [line], nodeRank: 1 } as const;
  expect(classifyExit(ended(end)).kind).toBe('left');
  expect(classifyExit(ended({ ...end, exit: { reason: 'exited', rc: 1 } })).kind).toBe('peer-lost');
});

describe('an end with exit code 0 that is none', () => {
  test.each([
    'WARNING: could not find the metadata file /w/load/latest_checkpointed_iteration.txt',
    ">> '--exit-on-missing-checkpoint' set ... exiting. <<",
    'ERROR: Invalid metadata file /w/load/latest_checkpointed_iteration.txt. Exiting',
    'could not load the checkpoint',
    '[Rank 1] error: --load /w/load holds no checkpoint, and --exit-on-missing-checkpoint is set.',
    '[Rank 1] error: Ranks see different checkpoints in their --load folders (iteration, release): [[20, 0], [40, 0]].',
    'Unable to load rng state from checkpoint /w/load. Specify --no-load-rng or --finetune to prevent attempting to load the rng state, exiting ...',
  ])('is a missing checkpoint: %s', (line) => {
    const verdict = classifyExit(ended({ exit: { reason: 'exited', rc: 0 }, lines: [line], nodeRank: 1 }));
    expect(verdict.kind).toBe('checkpoint-missing');
    expect(verdict.message).toContain(line.slice(0, 30));
  });
});

test.each([
  "'--exit-on-missing-checkpoint' set",
  'Invalid metadata file',
  'could not load the checkpoint',
  'Unable to load rng state',
])('after "%s" a stop is the agent\'s own, since torchrun waits five minutes for its peers', (words) => {
  const exit = { reason: 'stopped', rc: -9 } as const;
  const verdict = classifyExit(ended({ exit, lines: [`>> ${words} ...`, 'other words'], nodeRank: 1 }));
  expect(verdict.kind).toBe('checkpoint-missing');
  expect(verdict.message).toContain(words);
});

describe('a stop', () => {
  test('on request is one even though torchrun ends with 1', () => {
    expect(classifyExit(ended({ exit: { reason: 'stopped', rc: 1 }, tracker: at(40) }))).toEqual({
      kind: 'stopped',
      message: 'The trainer was asked to stop and ended. The last save is iteration 40.',
    });
  });

  test('that the trainer heard from somebody else is one too', () => {
    const lines = ['exiting program after receiving SIGTERM.', '[exiting program at iteration 40] datetime: x '];
    expect(classifyExit(ended({ exit: { reason: 'exited', rc: 0 }, lines })).kind).toBe('stopped');
  });

  test('because the lease ran out says so', () => {
    expect(classifyExit(ended({ exit: { reason: 'lease', rc: -9 } })).message).toBe(
      'The trainer was ended when its lease ran out.',
    );
  });
});

describe('a failure is named by its cause and not by its echoes', () => {
  const cases: readonly [string, string, Partial<ExitEvidence>][] = [
    [
      'out-of-memory',
      'an NPU without memory, though its peers reset their connections',
      {
        lines: [
          '[rank3]: RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB (NPU 3; 60.97 GiB total capacity)',
          RESET,
          ...summary(3, 1),
        ],
      },
    ],
    ['killed', 'a rank that got SIGKILL, while its peer was reset', { lines: [RESET, ...summary(0, -9)] }],
    ['killed', 'torchrun itself killed', { exit: { reason: 'exited', rc: -9 } }],
    ['supervisor-lost', 'a supervisor that was killed', { exit: { reason: 'supervisor-lost', rc: null } }],
    ['killed', 'an end of which nothing is known', { exit: { reason: 'exited', rc: null } }],
    ['peer-lost', 'a connection that another host closed', { lines: [RESET, ...summary(1, 1)] }],
    [
      'peer-lost',
      'a rank of the CPU trainer whose traceback ends with the closed connection',
      {
        lines: [
          '[Rank 0] error: Traceback (most recent call last):',
          'RuntimeError: [gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:43920',
          ...summary(0, 1),
        ],
      },
    ],
    [
      'peer-lost',
      'a collective that timed out on HCCL',
      {
        lines: [
          'EI0002: The wait execution of the Notify register times out. Reason: The Notify register has not received',
        ],
      },
    ],
    [
      'peer-lost',
      'a host that never came',
      {
        lines: [
          'torch.distributed.DistStoreError: Timed out after 901 seconds waiting for clients. 1/2 clients joined.',
        ],
      },
    ],
    [
      'trainer-error',
      'an own error that its peers answered by closing',
      { lines: ['Traceback (most recent call last):', "KeyError: 'optimizer'", RESET, ...summary(0, 1)] },
    ],
    [
      'trainer-error',
      'a sentence of the CPU trainer',
      {
        lines: [
          '[Rank 0] error: Sample 12 has 60 tokens, --seq-length is 48: raise it or drop the sample.',
          ...summary(0, 1),
        ],
      },
    ],
    [
      'refused-arguments',
      'a flag that the trainer does not know',
      { lines: ['[Rank 0] error: --seqlength is not a flag of Megatron.', ...summary(0, 2)] },
    ],
    [
      'refused-arguments',
      "Megatron's own parser",
      {
        lines: [
          'usage: pretrain_vlm.py [-h]',
          'pretrain_vlm.py: error: unrecognized arguments: --foo',
          ...summary(0, 2),
        ],
      },
    ],
    [
      'loss-diverged',
      'a loss that is no number when the trainer ends',
      {
        lines: [
          ' iteration        7/     300 | consumed samples:  448 | learning rate: 1.0E-03 | loss: NAN | grad norm: nan | number of nan iterations:   1 |',
          ...summary(1, 1),
        ],
      },
    ],
    [
      'loss-diverged',
      "Megatron's own check",
      { lines: ['AssertionError: Rank 1: found NaN in local forward loss calculation. Device: 1'] },
    ],
    ['trainer-error', 'an exit code without a word', { exit: { reason: 'exited', rc: 3 } }],
    ['trainer-error', 'a launcher that is not there', { exit: { reason: 'failed-to-start', rc: null } }],
  ];
  test.each(cases)('%s: %s', (kind, _, change) => {
    const verdict = classifyExit(ended(change));
    expect(verdict.kind).toBe(kind);
    expect(verdict.message).toMatch(/^(The|Rank \d+|torchrun) .{10,}/);
  });

  const printed = (iteration: number, loss: string): string =>
    ` iteration ${String(iteration)}/ 300 | loss: ${loss} | grad norm: 1.5 | number of nan iterations: 0 |`;

  test('a loss that is no number is told by its first iteration, not by the last one that was printed', () => {
    const lines = [printed(5, 'nan'), printed(6, '2.5'), printed(7, 'nan'), printed(8, 'nan'), ...summary(1, 1)];
    expect(classifyExit(ended({ lines })).notFinite).toEqual({
      ...{ iteration: 7, loss: 'nan', gradNorm: '1.5', lossBefore: '2.5', ranks: [] },
    });
  });

  test.each([
    ['loss 1.234568E+00 before it, began on rank 0, 2', { lossBefore: '1.234568E+00', ranks: [0, 2] }],
    ['no loss before it, began on rank unknown', { ranks: [] }],
  ])("our own trainer's last words tell where it began: %s", (words, expected) => {
    const line = `[Rank 1] error: iteration 15 is not finite: loss nan, gradient norm inf, ${words}. The weights are as before.`;
    const { kind, message, notFinite } = classifyExit(ended({ lines: [printed(14, '2.5'), line, ...summary(1, 1)] }));
    expect([kind, message]).toEqual(['loss-diverged', 'The loss was no longer a number at iteration 15.']);
    expect(notFinite).toMatchObject({ iteration: 15, loss: 'nan', gradNorm: 'inf', ...expected });
  });

  test('the message holds the line that decided', () => {
    const line = '[Rank 0] error: Sample 12 has 60 tokens.';
    expect(classifyExit(ended({ lines: [line, RESET, ...summary(0, 1)] })).message).toBe(`The trainer failed: ${line}`);
  });
});
