/**
 * Qwen2.5-VL as MindSpeed MM 2.2.0 has it (Ascend/MindSpeed-MM @67f617f0, examples/qwen2.5vl): sizes and keys of model_3b.json, model_7b.json,
 * model_32b.json and model_72b.json, and what finetune_qwen2_5_vl_*.sh beside them pass. test/unit/backends/presets.test.ts holds the files
 * that come out against digests of those.
 */
import type { ModelSizes } from '../../../plan/model-sizes.js';
import type { Argument } from '../../../plan/plan.js';
import type { ModelSpec } from '../../../spec/model.js';

type PresetName = Extract<NonNullable<ModelSpec['preset']>, `qwen2.5-vl-${string}`>;

type Keys = Readonly<Record<string, number | boolean>>;

export interface QwenPreset {
  readonly dimensions: ModelSizes;
  /** Keys that only the published file of this size has. */
  readonly keys: Keys;
  readonly visionKeys: Keys;
  readonly projectorKeys: Keys;
  readonly languageKeys: Keys;
  /** `--swap-attention`: what attention keeps for the backward pass waits in the memory of the host. */
  readonly swapsAttention: boolean;
  readonly environment: Readonly<Record<string, Argument>>;
  /** On one Atlas 800T A2 with 8 NPUs: the table of the README. */
  readonly samplesPerSecond?: number;
}

/** The one vision tower of all sizes; only the width inside its feed-forward part differs. */
export const VISION = {
  layers: 32,
  hiddenSize: 1280,
  attentionHeads: 16,
  patchSize: 14,
  spatialMergeSize: 2,
  temporalPatchSize: 2,
  /** In pixels; all layers but these look no further than such a window. */
  windowSize: 112,
  fullAttentionLayers: [7, 15, 23, 31],
} as const;

/** One token for this many patches, side by side and one above the other. */
export const MERGED_PATCHES = VISION.spatialMergeSize ** 2;

const language = {
  maxPositions: 128000,
  rotaryBase: 1000000,
  vocabularySize: 152064,
  tieWordEmbeddings: false,
} as const;
const vision = (ffnHiddenSize: number): ModelSizes['vision'] => {
  const { layers, hiddenSize, attentionHeads } = VISION;
  return { layers, hiddenSize, ffnHiddenSize, attentionHeads };
};
const video = { video_token_id: 151656 } as const;
const plain = {
  keys: video,
  visionKeys: {},
  projectorKeys: {},
  languageKeys: {},
  swapsAttention: false,
  environment: {},
};
const fused = { bias_activation_fusion: true } as const;

export const QWEN_PRESETS: Readonly<Record<PresetName, QwenPreset>> = {
  'qwen2.5-vl-3b': {
    ...plain,
    dimensions: {
      vision: vision(3420),
      language: {
        ...language,
        layers: 36,
        hiddenSize: 2048,
        ffnHiddenSize: 11008,
        attentionHeads: 16,
        keyValueHeads: 2,
        vocabularySize: 151936,
        tieWordEmbeddings: true,
      },
    },
    visionKeys: { llm_hidden_size: 1280 },
    languageKeys: { use_remove_padding: false },
    samplesPerSecond: 23.77,
  },
  'qwen2.5-vl-7b': {
    ...plain,
    dimensions: {
      vision: vision(3420),
      language: {
        ...language,
        layers: 28,
        hiddenSize: 3584,
        ffnHiddenSize: 18944,
        attentionHeads: 28,
        keyValueHeads: 4,
      },
    },
    keys: {},
    visionKeys: { llm_hidden_size: 3584, ...fused },
    languageKeys: fused,
    samplesPerSecond: 18.82,
  },
  'qwen2.5-vl-32b': {
    ...plain,
    dimensions: {
      vision: vision(3456),
      language: {
        ...language,
        layers: 64,
        hiddenSize: 5120,
        ffnHiddenSize: 27648,
        attentionHeads: 40,
        keyValueHeads: 8,
      },
    },
  },
  'qwen2.5-vl-72b': {
    ...plain,
    dimensions: {
      vision: vision(3456),
      language: {
        ...language,
        layers: 80,
        hiddenSize: 8192,
        ffnHiddenSize: 29568,
        attentionHeads: 64,
        keyValueHeads: 8,
      },
    },
    projectorKeys: { context_parallel_size: 1 },
    swapsAttention: true,
    // The published script of this size alone binds threads finely.
    environment: { CPU_AFFINITY_CONF: '2' },
  },
};
