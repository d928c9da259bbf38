import { describe, expect, test } from 'vitest';
import { composePlan } from '../../../src/backends/compose-plan.js';
import { INTERNVL_PRESETS } from '../../../src/backends/mindspeed/internvl/presets.js';
import { showRefusal } from '../../../src/spec/refusal.js';
import type { RunSpecInput } from '../../../src/spec/run.js';
import { demoInput, publishedInput, specOf } from './specs.js';

function refusalsOf(input: RunSpecInput): string[] {
  const composed = composePlan(specOf(input));
  return 'refusals' in composed ? composed.refusals.map(showRefusal) : [];
}
const training = (change: Partial<RunSpecInput['training']>): RunSpecInput => ({
  ...demoInput,
  training: { ...demoInput.training, ...change },
});
const tiny = INTERNVL_PRESETS['internvl3-tiny'].dimensions;
const twoTowers = (vision: object, language: object, hosts = 2): RunSpecInput => ({
  ...demoInput,
  layout: { hosts, npusPerHost: 1, distTrain: { vision: { npus: 1, ...vision }, language: { npus: 1, ...language } } },
});

describe('a spec is refused with path, value, rule and remedy', () => {
  const cases: readonly [string, RunSpecInput, string][] = [
    [
      'when layers do not add up (the [[28]] of an old guide for a vision tower of 24)',
      { ...publishedInput, layout: { hosts: 1, npusPerHost: 1, visionLayersPerStage: [28] } },
      'layout.visionLayersPerStage is [28]: it must add up to the 24 layers of the vision tower, but adds up to 28. Share out 24 layers, e.g. [24].',
    ],
    [
      'when the tensor size does not divide the key-value heads',
      { ...publishedInput, layout: { hosts: 1, npusPerHost: 8, tensorParallel: 8 } },
      'layout.tensorParallel is 8: it must divide the 4 key-value heads of the language tower. Use one of 1, 2, 4.',
    ],
    [
      'when the vision tower has fewer replicas than the language tower',
      { ...twoTowers({}, { npus: 2 }, 3) },
      'layout.distTrain.vision.npus is 1: it must give a data parallel size that is a multiple of that of the language tower (2), but gives 1. Use 2 NPUs for the vision tower, or fewer replicas of the language tower.',
    ],
    [
      'when the global batch cannot be shared out',
      training({ globalBatchSize: 50 }),
      'training.globalBatchSize is 50: it must be a multiple of microBatchSize x data parallel size = 32 x 1 = 32. Use 64.',
    ],
    [
      'when a stage of frozen vision layers has nothing to train',
      {
        ...publishedInput,
        layout: {
          hosts: 1,
          npusPerHost: 4,
          visionLayersPerStage: [12, 12, 0, 0],
          languageLayersPerStage: [0, 8, 10, 10],
        },
      },
      'layout.languageLayersPerStage is [0,8,10,10]: it must leave something to train on every stage, but stage 0 (counted from 0) holds only what stays frozen: vision. Give that stage a layer that is trained, use fewer stages, or take the tower out of model.freeze.',
    ],
    [
      'when the language tower begins before the vision tower ends',
      {
        ...publishedInput,
        layout: { hosts: 1, npusPerHost: 2, visionLayersPerStage: [12, 12], languageLayersPerStage: [14, 14] },
      },
      'layout.visionLayersPerStage is [12,12]: it must end before the language tower begins: its last layer is on stage 1, the first of the language tower on stage 0 (counted from 0). Move the vision layers to the front, or put 0 language layers on the first stages.',
    ],
    [
      'when a Dist-train stage holds no layer',
      twoTowers({}, { npus: 2, layersPerStage: [2, 0] }, 3),
      'layout.distTrain.language.layersPerStage is [2,0]: it must leave something to train on every stage, but stage 1 (counted from 0) holds no layer. Give that stage a layer that is trained, use fewer stages, or take the tower out of model.freeze.',
    ],
    [
      'when the CPU runtime should split tensors',
      { ...demoInput, layout: { hosts: 1, npusPerHost: 2, tensorParallel: 2 } },
      'layout.tensorParallel is 2: it must be 1 with runtime.kind "cpu", whose trainer splits layers and data but no tensors. Set it to 1, or use more pipeline stages.',
    ],
    [
      'when the CPU runtime should split sequences',
      { ...demoInput, layout: { hosts: 1, npusPerHost: 2, contextParallel: 2 } },
      'layout.contextParallel is 2: it must be 1 with runtime.kind "cpu", whose trainer keeps each sequence whole. Set it to 1.',
    ],
    [
      'when one tower of Dist-train should split tensors on the CPU runtime',
      twoTowers({}, { npus: 2, tensorParallel: 2 }, 3),
      'layout.distTrain.language.tensorParallel is 2: it must be 1 with runtime.kind "cpu", whose trainer splits layers and data but no tensors. Set it to 1, or use more pipeline stages.',
    ],
    [
      'when MindSpeed MM cannot freeze what should stay frozen',
      {
        ...publishedInput,
        model: { ...publishedInput.model, freeze: ['language'] },
        layout: { hosts: 1, npusPerHost: 8 },
      },
      'model.freeze is ["language"]: it must not hold "language": MindSpeed MM 2.2.0 has no switch for it and would train the language tower. Take "language" out.',
    ],
    [
      'when Dist-train on Ascend cannot freeze the projector',
      {
        ...publishedInput,
        model: { ...publishedInput.model, freeze: ['projector'] },
        layout: { hosts: 2, npusPerHost: 1, distTrain: { vision: { npus: 1 }, language: { npus: 1 } } },
      },
      'model.freeze is ["projector"]: it must not hold "projector" with distTrain: pretrain_internvl.py reads only the freeze of the vision tower. Take "projector" out, or leave out layout.distTrain.',
    ],
    [
      'when Dist-train on Ascend should split the language tower, whose loss its script takes over the whole vocabulary',
      {
        ...publishedInput,
        layout: {
          hosts: 1,
          npusPerHost: 3,
          distTrain: { vision: { npus: 1 }, language: { npus: 2, tensorParallel: 2 } },
        },
      },
      'layout.distTrain.language.tensorParallel is 2: it must be 1 with distTrain: pretrain_internvl.py takes the loss over the whole vocabulary, of which each tensor rank has only its part. Set it to 1 and use more pipeline stages, or leave out layout.distTrain.',
    ],
    [
      'when InternVL2.5 on Ascend should be split by tensors',
      {
        ...publishedInput,
        model: { ...publishedInput.model, family: 'internvl2.5', preset: 'internvl2.5-4b' },
        layout: { hosts: 1, npusPerHost: 8, tensorParallel: 2 },
      },
      'layout.tensorParallel is 2: it must be 1 with internvl2.5: pretrain_internvl.py takes the loss over the whole vocabulary, of which each tensor rank has only its part. Set it to 1 and use more pipeline stages.',
    ],
    [
      'when the CPU runtime should train another family',
      { ...demoInput, model: { family: 'internvl2.5', dimensions: tiny, source: demoInput.model.source } },
      'model.family is "internvl2.5": it must be internvl3 with runtime.kind "cpu", whose trainer knows no other. Use an InternVL3 model, or runtime.kind "ascend".',
    ],
    [
      'when heads do not divide',
      {
        ...demoInput,
        model: {
          family: 'internvl3',
          source: demoInput.model.source,
          dimensions: { ...tiny, language: { ...tiny.language, attentionHeads: 5, keyValueHeads: 5 } },
        },
      },
      "model.dimensions.language.hiddenSize is 64: it must be a multiple of attentionHeads = 5. Take both from the model's config.json; 65 would divide.",
    ],
    [
      'when an image tile alone fills the sequence',
      training({ sequenceLength: 4 }),
      'training.sequenceLength is 4: it must be more than 4, the tokens of one image tile, so that a question fits beside it. Use at least 8.',
    ],
    [
      'when the image tokens are not those of the model',
      { ...demoInput, data: { ...demoInput.data, imageTokens: 16 } },
      'data.imageTokens is 16: it must be 4, the tokens that this model makes of one image tile. Leave it out.',
    ],
    [
      'when nothing would be saved on the way',
      { ...demoInput, checkpoint: { everyIterations: 301 } },
      'checkpoint.everyIterations is 301: it must be at most training.iterations = 300, else nothing is saved on the way. Use 300 or less.',
    ],
    [
      'when it would be saved so often that a history is full before the end',
      { ...training({ iterations: 3_001 }), checkpoint: { everyIterations: 1 } },
      'checkpoint.everyIterations is 1: it must leave at most 3000 saves in 3001 iterations: each is twelve events in a history that Temporal ends at 51,200. Use 2 or more.',
    ],
    [
      'when the warm-up outlasts the training',
      training({ warmupIterations: 300 }),
      'training.warmupIterations is 300: it must be below training.iterations = 300. Use 30.',
    ],
    [
      'when the smallest learning rate is above the largest',
      training({ minimumLearningRate: 0.1 }),
      'training.minimumLearningRate is 0.1: it must be at most training.learningRate = 0.003. Use a smaller number, or leave it out for 0.',
    ],
  ];

  test.each(cases)('%s', (_, input, message) => {
    expect(refusalsOf(input)).toEqual([message]);
  });

  test('and all reasons are given at once', () => {
    const input = training({ globalBatchSize: 50, warmupIterations: 300 });
    expect(refusalsOf(input)).toHaveLength(2);
  });

  test('while the layouts of the tests and the published ones are accepted', () => {
    expect(refusalsOf(demoInput)).toEqual([]);
    expect(refusalsOf(publishedInput)).toEqual([]);
    expect(refusalsOf(twoTowers({ npus: 2 }, { npus: 2, layersPerStage: [1, 1] }, 4))).toEqual([]);
  });
});
