import { describe, expect, test } from 'vitest';
import { parseLine } from '../../../src/backends/mindspeed/log.js';

const DATED =
  ' [2025-10-28 11:38:26] iteration        1/    5000 | consumed samples:          128 | elapsed time per iteration (ms): 20954.1 | learning rate: 2.000000E-05 | global batch size:   128 | loss: 2.864627E-01 | loss scale: 1.0 | grad norm: 6.413 | number of skipped iterations:   0 | number of nan iterations:   0 |';

describe('the iteration line', () => {
  const undated = {
    kind: 'iteration',
    iteration: 1,
    iterations: 5000,
    consumedSamples: 128,
    elapsedMs: 20954.1,
    learningRate: 2e-5,
    globalBatchSize: 128,
    loss: 0.2864627,
    gradNorm: 6.413,
    skippedIterations: 0,
    nanIterations: 0,
    diverged: false,
  };
  // The host's own time: the agent that reads it has the same.
  const first = { ...undated, at: new Date(2025, 9, 28, 11, 38, 26).getTime() };

  test('of 2.2.0 is read by the names in it', () => {
    expect(parseLine(DATED)).toEqual(first);
  });

  test('of older releases, which had no date, means the same', () => {
    expect(parseLine(DATED.replace('[2025-10-28 11:38:26] ', ''))).toEqual(undated);
  });

  test("with torchrun's rank prefix and a line end means the same", () => {
    expect(parseLine(`[default7]:${DATED}\r`)).toEqual(first);
  });

  test('with more and reordered columns means the same', () => {
    const line =
      ' [2025-10-28 11:38:26] iteration        1/    5000 | consumed samples:          128 | elapsed time per iteration (ms): 20954.1 | throughput per GPU (TFLOP/s/GPU): 55.1 | learning rate: 2.000000E-05 | global batch size:   128 | tokens per sample: 5.630000E+02 | loss: 2.864627E-01 | loss scale: 1.0 | grad norm: 6.413 | num zeros: 3 | params norm: 12.100 | number of skipped iterations:   0 | number of nan iterations:   0 |';
    expect(parseLine(line)).toEqual(first);
  });

  test("with Megatron's own name of the loss means the same", () => {
    expect(parseLine(DATED.replace(' loss: 2', ' lm loss: 2'))).toEqual(first);
  });

  test('of a skipped iteration has no loss', () => {
    const line =
      ' [2025-10-28 11:38:26] iteration        2/    5000 | consumed samples:          256 | elapsed time per iteration (ms): 20954.1 | learning rate: 2.000000E-05 | global batch size:   128 | loss scale: 1.0 | number of skipped iterations:   1 | number of nan iterations:   0 |';
    const event = parseLine(line);
    expect(event).toMatchObject({ iteration: 2, skippedIterations: 1, diverged: false });
    expect(event).not.toHaveProperty('loss');
    expect(event).not.toHaveProperty('gradNorm');
  });

  test.each(['nan', 'NAN', '-inf', 'inf'])('with a loss of %s says that the loss is no number', (loss) => {
    const event = parseLine(DATED.replace('2.864627E-01', loss).replace('nan iterations:   0', 'nan iterations:   1'));
    expect(event).toMatchObject({ nanIterations: 1, diverged: true });
    expect(event).not.toHaveProperty('loss');
  });
});

test('an iteration that was counted as nan and has no loss has diverged, since Megatron omits such a loss', () => {
  const line =
    ' [2026-11-24 23:43:55] iteration        3/    5000 | consumed samples:          192 | elapsed time per iteration (ms): 81.9 | learning rate: 9.999999E+29 | global batch size:    64 | loss scale: 1.0 | number of skipped iterations:   0 | number of nan iterations:   1 |';
  expect(parseLine(line)).toMatchObject({ iteration: 3, diverged: true });
});

describe('the other lines', () => {
  const cases: readonly [string, unknown][] = [
    [
      'saving checkpoint at iteration    5000 to save_dir in torch format',
      { kind: 'saving', iteration: 5000, folder: 'save_dir' },
    ],
    [
      '  successfully saved checkpoint from iteration      20 to /w/save dir [ t 1/1, p 1/4 ]',
      { kind: 'saved', iteration: 20, folder: '/w/save dir' },
    ],
    ['  successfully saved checkpoint at iteration 20', undefined],
    [
      '  successfully saved checkpoint from iteration      20 to save_dir',
      { kind: 'saved', iteration: 20, folder: 'save_dir' },
    ],
    [
      '  successfully loaded checkpoint from /w/load [ t 1/1, p 1/4 ] at iteration 120',
      { kind: 'loaded', iteration: 120, folder: '/w/load' },
    ],
    ['[after training is done] datetime: 2025-10-28 12:00:00 ', { kind: 'training-done' }],
    ['[exiting program at iteration 40] datetime: 2025-10-28 12:00:00 ', { kind: 'exiting', iteration: 40 }],
    ['[exiting program after receiving SIGTERM.] datetime: 2026-11-24 23:43:07 ', { kind: 'stop-signal' }],
    ['exiting program after receiving SIGTERM.', { kind: 'stop-signal' }],
    ['building VLMModel ...', { kind: 'phase', phase: 'building model' }],
    ['building InternVL model ...', { kind: 'phase', phase: 'building model' }],
    ['[after megatron is initialized] datetime: 2025-10-28 11:38:26 ', { kind: 'phase', phase: 'initialized' }],
    [
      '[after model, optimizer, and learning rate scheduler are built] datetime: 2025-10-28 11:38:26 ',
      { kind: 'phase', phase: 'model built' },
    ],
    ['[after dataloaders are built] datetime: 2025-10-28 11:38:26 ', { kind: 'phase', phase: 'data loaders built' }],
    ['done with setup ...', { kind: 'phase', phase: 'set up' }],
    ['training ...', { kind: 'phase', phase: 'training' }],
    ['[before the start of training step] datetime: 2025-10-28 11:38:26 ', { kind: 'phase', phase: 'first step' }],
    [
      '[Rank 0] (after 1 iterations) memory (MB) | allocated: 21043.5 | max allocated: 27344.1 | reserved: 1 | max reserved: 2',
      { kind: 'memory', rank: 0, allocatedMegabytes: 21043.5, maxAllocatedMegabytes: 27344.1 },
    ],
    ['save-checkpoint ................................: (11.1, 11.2)', undefined],
    [' validation loss at iteration 5000 on validation set | loss value: 1 |', undefined],
    [
      'W1028 11:38:20 torch/distributed/run.py:766] Setting OMP_NUM_THREADS environment variable for each process',
      undefined,
    ],
    ['', undefined],
    [`iteration 1/ 2 | ${'x'.repeat(5000)}`, undefined],
  ];
  test.each(cases)('%j', (line, event) => {
    expect(parseLine(line)).toEqual(event);
  });
});
