/** A fine-tune as small as it can be and still be one: real digits, the real tiny model, a few dozen iterations. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { execa } from 'execa';
import type { RunSpecInput } from '../../src/spec/run.js';

export const REPOSITORY = join(import.meta.dirname, '../..');
export const RUNTIME_BIN = join(REPOSITORY, '.venv', 'bin');
export const TRAINER_HOME = join(REPOSITORY, 'trainer');
export const BASE_MODEL = join(TRAINER_HOME, 'base', 'internvl3-tiny');

/** Three questions on each; with a fifth held out enough is left for several batches. */
const IMAGES = 150;

/** Runs a module or script of the trainer; resolves with what it printed. */
export async function python(...args: readonly string[]): Promise<string> {
  const { stdout } = await execa(join(RUNTIME_BIN, 'python'), args, {
    env: { PYTHONPATH: TRAINER_HOME, PYTHONDONTWRITEBYTECODE: '1', OMP_NUM_THREADS: '1' },
    timeout: 120_000,
  });
  return stdout;
}

/** Writes the data set: a tree as users unpack it, with three rows to an image. */
export async function writeDigits(folder: string, images = IMAGES): Promise<void> {
  await python(join(import.meta.dirname, 'small_digits.py'), folder, String(images));
}

export interface Small {
  readonly data: string;
  readonly iterations: number;
}

/** Vision on one host, language on the other; no bar for the result, since so short a training learns little. */
export function smallSpec({ data, iterations }: Small) {
  return {
    version: 1,
    name: 'small',
    model: {
      family: 'internvl3',
      preset: 'internvl3-tiny',
      source: { uri: pathToFileURL(BASE_MODEL).href },
    },
    data: { source: { uri: pathToFileURL(data).href } },
    runtime: { kind: 'cpu' },
    layout: { hosts: 2, npusPerHost: 1, distTrain: { vision: { npus: 1 }, language: { npus: 1 } } },
    training: {
      iterations,
      globalBatchSize: 64,
      microBatchSize: 32,
      sequenceLength: 48,
      learningRate: 0.003,
      warmupIterations: 4,
    },
    checkpoint: { everyIterations: 10 },
    evaluation: { heldOutFraction: 0.2, minimumAccuracy: 0, maximumSamples: 30 },
    publish: { model: 'small' },
  } satisfies RunSpecInput;
}
