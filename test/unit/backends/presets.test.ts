/** The presets give back MindSpeed MM's own files, every value of them; the files themselves are not ours to copy, so their digests stand here. */
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { composePlan } from '../../../src/backends/compose-plan.js';
import { fillJson } from '../../../src/plan/plan.js';
import type { RunSpecInput } from '../../../src/spec/run.js';
import { publishedInput, publishedQwenInput, QWEN_LAYOUTS, specOf } from './specs.js';

/** `a.b=1`, one line for each value, sorted: the order of keys and `1.0` for `1` do not count. */
function valuesOf(document: unknown, path = ''): string[] {
  if (document === null || typeof document !== 'object' || Array.isArray(document))
    return [`${path.slice(1)}=${JSON.stringify(document)}`];
  return Object.entries(document).flatMap(([key, value]) => valuesOf(value, `${path}.${key}`));
}
const digestOf = (document: unknown): string =>
  createHash('sha256').update(valuesOf(document).sort().join('\n')).digest('hex');

const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);

/** Layouts of the published files; all four freeze the vision tower. */
const layouts = {
  'internvl3-8b': {
    hosts: 1,
    npusPerHost: 8,
    visionLayersPerStage: [24, 0, 0, 0],
    languageLayersPerStage: [6, 8, 8, 6],
  },
  'internvl3-78b': {
    hosts: 4,
    npusPerHost: 16,
    tensorParallel: 8,
    visionLayersPerStage: [45, 0],
    languageLayersPerStage: [40, 40],
  },
  'internvl2.5-4b': { hosts: 1, npusPerHost: 8 },
  'internvl2.5-78b': {
    hosts: 8,
    npusPerHost: 16,
    visionLayersPerStage: [45, ...zeros(15)],
    languageLayersPerStage: [0, 3, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 5, 5, 5, 2],
  },
} satisfies Record<string, RunSpecInput['layout']>;

/** Of Ascend/MindSpeed-MM @67f617f0, examples/. */
test.each([
  [
    'internvl3-8b',
    'internvl3/model_8B.json',
    'b9459ce8bbb0801bf90162097fe8a23dbc326c6030616abf82282ea3d5a5e870',
    'internvl3/data_8B.json',
    '56bf9316a289a8b02e0bd4ae6c3c8baaece94baedf6323ee427af9de324357be',
    'OpenGVLab/InternVL3-8B',
  ],
  [
    'internvl3-78b',
    'internvl3/model_78B.json',
    '5eff1294f1d0dcf63dca5f10839fc12877d525ec83f62aff0d9999560e24154a',
    'internvl3/data_78B.json',
    '907348c724d6aa5d3c57251ed7ad7f2f5f0d5231c01d1afccb7be57fbc9d5926',
    'OpenGVLab/InternVL3-78B',
  ],
  [
    'internvl2.5-4b',
    'internvl2.5/model_4B.json',
    'f6ffe5af79e6f687ea15a9fb476ea4b7568d8b03675efbd20956eaf0a56a3180',
    'internvl2.5/data_4B.json',
    '99b20265d6e05b16b8278be92a2900d3904bb34ac3c6e1d4dbfa86e69b83d864',
    'OpenGVLab/InternVL2_5-4B',
  ],
  [
    'internvl2.5-78b',
    'internvl2.5/model_78B.json',
    '5ac40b9e660227490e94ae70826e6d9c792cc941cdd11fc290b2f603dfdc23b3',
    'internvl2.5/data_78B.json',
    'db329f8e5db802458a32c0a7483773dcbe441c09ece15666ebc0a5df0ec683ef',
    'OpenGVLab/InternVL2_5-78B',
  ],
] as const)('%s gives the values of %s and of its data.json', (preset, _, modelDigest, __, dataDigest, tokenizer) => {
  const family = preset.startsWith('internvl3') ? 'internvl3' : 'internvl2.5';
  const composed = composePlan(
    specOf({ ...publishedInput, model: { ...publishedInput.model, family, preset }, layout: layouts[preset] }),
  );
  if (!('plan' in composed)) throw new Error(JSON.stringify(composed.refusals));
  const { files, commands } = composed.plan.stages.train;
  const file = (path: string): unknown => {
    const content = files.find((one) => one.path === path)?.content ?? null;
    return fillJson(content, { dataset: '/path', baseModel: tokenizer });
  };
  const data = JSON.parse(
    JSON.stringify(file('data.json'))
      .replace('/path/train.jsonl', '/path/json_path')
      .replace('/path/images/', '/path/root_path'),
  ) as unknown;
  expect({ model: digestOf(file('model.json')), data: digestOf(data) }).toEqual({
    model: modelDigest,
    data: dataDigest,
  });
  expect(commands[0]?.args).toContainEqual({
    hole: 'trainerHome',
    then: family === 'internvl3' ? '/pretrain_vlm.py' : '/pretrain_internvl.py',
  });
});

/** Of Ascend/MindSpeed-MM @67f617f0, examples/qwen2.5vl/; vision tower and projector are frozen in all of them. */
test.each([
  [
    'qwen2.5-vl-3b',
    'model_3b.json',
    'da74e31d0be7f225da66515d9cff1da2d9ef31ca74613c8258aa8e45646fe614',
    'data_3b.json',
    'e7113d04510dd8d3ca94663f77cfa1239088752b9a3e67766ab189d57bb0a3e1',
    'Qwen2.5-VL-3B-Instruct',
  ],
  [
    'qwen2.5-vl-7b',
    'model_7b.json',
    '2658e512aa052f305e2349980ec8e36c7a0dc9fedeff690338b6bf523c9a5118',
    'data_7b.json',
    '5a9005ef59d5158a49286c492b1c4617839aa4306a789f2e0d807a55eccb5226',
    'Qwen2.5-VL-7B-Instruct',
  ],
  [
    'qwen2.5-vl-32b',
    'model_32b.json',
    '126ac4af7d6b82c77e4f57aebed1866d8ac7bc4baa6ad3c3363cdf1d0242e206',
    'data_32b.json',
    '5af9fcea8863b21f743031a9530f9c97c4261cc1f1e58d74f5bef98b6cd8fc28',
    'Qwen2.5-VL-32B-Instruct',
  ],
  [
    'qwen2.5-vl-72b',
    'model_72b.json',
    '7aac37255d393741cbdef9d1ad7e94eef8c9763e805bf67228d39221ee363760',
    'data_72b.json',
    'fbafb692871cd6ff6f3138b82e46ce08f7529347b0f59475cfe68b2606b5599b',
    'Qwen2.5-VL-72B-Instruct',
  ],
] as const)('%s gives the values of %s and of its data.json', (preset, _, modelDigest, __, dataDigest, tokenizer) => {
  const composed = composePlan(
    specOf({
      ...publishedQwenInput,
      model: { ...publishedQwenInput.model, preset },
      layout: QWEN_LAYOUTS[preset],
    }),
  );
  if (!('plan' in composed)) throw new Error(JSON.stringify(composed.refusals));
  const { files } = composed.plan.stages.train;
  const file = (path: string): unknown =>
    fillJson(files.find((one) => one.path === path)?.content ?? null, {
      dataset: './dataset',
      work: './data',
      baseModel: `./ckpt/hf_path/${tokenizer}`,
    });
  const data = JSON.parse(
    JSON.stringify(file('data.json'))
      .replace('./dataset/images', './data')
      .replace('./dataset/train.jsonl', './data/mllm_format_llava_instruct_data.json')
      .replace('./data/rows', './data/cache_dir'),
  ) as unknown;
  expect({ model: digestOf(file('model.json')), data: digestOf(data) }).toEqual({
    model: modelDigest,
    data: dataDigest,
  });
});
