/** Specs that the tests of the adapters start from: the laptop's demo and the published InternVL3-8B fine-tune. */
import { RunSpec } from '../../../src/spec/run.js';
import type { RunSpecInput } from '../../../src/spec/run.js';

export const demoInput: RunSpecInput = {
  version: 1,
  name: 'digits',
  model: { family: 'internvl3', preset: 'internvl3-tiny', source: { uri: 'file:///data/base' } },
  data: { source: { uri: 'file:///data/digits' } },
  runtime: { kind: 'cpu' },
  layout: { hosts: 2, npusPerHost: 1, distTrain: { vision: { npus: 1 }, language: { npus: 1 } } },
  training: {
    iterations: 300,
    globalBatchSize: 64,
    microBatchSize: 32,
    sequenceLength: 48,
    learningRate: 0.003,
    warmupIterations: 20,
  },
  checkpoint: { everyIterations: 20 },
  evaluation: { minimumAccuracy: 0.9 },
  publish: { model: 'digits' },
};

/** finetune_internvl3_8B.sh on one host of eight NPUs: MBS 1, 64 steps of accumulation, PP4, so DP 2 and GBS 128. */
export const publishedInput: RunSpecInput = {
  ...demoInput,
  name: 'internvl3-8b',
  model: {
    family: 'internvl3',
    preset: 'internvl3-8b',
    source: { uri: 'file:///data/InternVL3-8B' },
    freeze: ['vision'],
    trustRemoteCode: true,
  },
  runtime: { kind: 'ascend', mindspeedRelease: '2.2.0' },
  layout: {
    hosts: 1,
    npusPerHost: 8,
    visionLayersPerStage: [24, 0, 0, 0],
    languageLayersPerStage: [6, 8, 8, 6],
  },
  training: {
    iterations: 5000,
    globalBatchSize: 128,
    microBatchSize: 1,
    sequenceLength: 4096,
    learningRate: 2e-5,
  },
  checkpoint: { everyIterations: 500 },
};

/** finetune_qwen2_5_vl_7b.sh: MBS 1, 48 steps of accumulation, PP2 on one host of eight NPUs, so DP 4 and GBS 192. */
export const publishedQwenInput: RunSpecInput = {
  ...publishedInput,
  name: 'qwen2.5-vl-7b',
  model: {
    family: 'qwen2.5-vl',
    preset: 'qwen2.5-vl-7b',
    source: { uri: 'file:///data/Qwen2.5-VL-7B-Instruct' },
    freeze: ['vision', 'projector'],
  },
  layout: { hosts: 1, npusPerHost: 8, visionLayersPerStage: [32, 0], languageLayersPerStage: [12, 16] },
  training: {
    iterations: 10000,
    globalBatchSize: 192,
    microBatchSize: 1,
    sequenceLength: 1024,
    learningRate: 1e-5,
    warmupIterations: 1000,
    weightDecay: 0,
    clipGradient: 0,
    seed: 42,
  },
};

const behind = (layers: number): number[] => [layers, ...Array.from({ length: 7 }, () => 0)];

/** Of finetune_qwen2_5_vl_*.sh and the model_*.json beside them. */
export const QWEN_LAYOUTS = {
  'qwen2.5-vl-3b': { hosts: 1, npusPerHost: 8, visionLayersPerStage: [32], languageLayersPerStage: [36] },
  'qwen2.5-vl-7b': publishedQwenInput.layout,
  'qwen2.5-vl-32b': {
    hosts: 2,
    npusPerHost: 8,
    tensorParallel: 2,
    visionLayersPerStage: behind(32),
    languageLayersPerStage: [1, 9, 9, 9, 9, 9, 9, 9],
  },
  'qwen2.5-vl-72b': {
    hosts: 4,
    npusPerHost: 16,
    tensorParallel: 2,
    visionLayersPerStage: behind(32),
    languageLayersPerStage: [6, 11, 11, 11, 11, 11, 11, 8],
  },
} as const satisfies Record<string, RunSpecInput['layout']>;

export function familyOf(preset: NonNullable<RunSpecInput['model']['preset']>): RunSpecInput['model']['family'] {
  const families = ['internvl3', 'internvl2.5', 'qwen2.5-vl'] as const;
  return families.find((family) => preset.startsWith(family)) ?? 'internvl3';
}

export const specOf = (input: RunSpecInput): RunSpec => RunSpec.parse(input);
