/** Qwen2.5-VL, as the scripts of MindSpeed MM 2.2.0 train it. */
import type { Model } from '../job.js';
import type { Job } from '../job.js';
import { recomputedTowers } from '../recompute.js';
import { qwenCounts } from './counts.js';
import { dataJson } from './data-json.js';
import { imageCounts, MOST_PIXELS } from './image.js';
import { modelJson } from './model-json.js';
import type { QwenPreset } from './presets.js';
import { qwenAscendRules, qwenRules } from './rules.js';

const PIXELS = ['--image-max-pixels', String(MOST_PIXELS)];

export function qwen25vl(preset: QwenPreset): Model {
  const { dimensions, samplesPerSecond } = preset;
  return {
    dimensions,
    counts: qwenCounts(dimensions),
    runtimes: ['ascend'],
    converter: { name: 'Qwen2_5_VLConverter', runsModelCode: false, joinsTensors: true },
    published: {
      recompute: {},
      fusedOperators: ['rmsnorm', 'swiglu', 'rotary'],
      ...(samplesPerSecond === undefined ? {} : { samplesPerSecond }),
    },
    image: imageCounts,
    modelJson: (job) => modelJson(preset, job),
    dataJson,
    training: (job) => ({
      script: 'pretrain_vlm.py',
      flags: flagsOf(preset, job),
      dataWorkers: 8,
      // Rotary embeddings are fused by a key of model.json.
      fusedFlags: ['rmsnorm', 'swiglu'],
      environment: {
        // As every published script of the family: no watch over features of gradients, and kernels are not waited for one by one.
        NPU_ASD_ENABLE: '0',
        ASCEND_LAUNCH_BLOCKING: '0',
        ...preset.environment,
      },
    }),
    preparing: () => ({
      args: ['--template', 'qwen2vl', ...PIXELS],
      parameters: { template: 'qwen2vl', mostPixels: MOST_PIXELS },
    }),
    judging: PIXELS,
    rules: qwenRules,
    ascendRules: qwenAscendRules,
  };
}

function flagsOf({ swapsAttention }: QwenPreset, job: Job): readonly string[] {
  const contexts = job.layout.language.contextParallel;
  return [
    '--use-mcore-models',
    '--make-vocab-size-divisible-by',
    '1',
    // The scripts name Ulysses, which means nothing without context ranks; with them the family's guide to long sequences takes the ring.
    '--context-parallel-algo',
    contexts > 1 ? 'megatron_cp_algo' : 'ulysses_cp_algo',
    // Rows differ in length, and tensor ranks share one unevenly.
    ...(job.spec.layout.sequenceParallel ? ['--unaligned-linear'] : []),
    // What is computed again need not be kept; the guide, too, has one or the other.
    ...(swapsAttention && recomputedTowers(job).length === 0 ? ['--swap-attention'] : []),
  ];
}
