/**
 * Models whose every size is known. All but the tiny one are MindSpeed MM 2.2.0's own files (Ascend/MindSpeed-MM @67f617f0):
 * examples/internvl3/model_8B.json and model_78B.json, examples/internvl2.5/model_4B.json and model_78B.json; the padding id and
 * the tiles of an image are `pad_id` and `max_dynamic_patch` of the data_*.json beside each. test/unit/backends/presets.test.ts
 * holds the files that come out against digests of those. The tiny one is the base that this project pre-trains for its CPU runtime.
 */
import type { Dimensions, ModelSpec } from '../../../spec/model.js';
import type { Published } from '../family.js';

type InternvlFamily = Exclude<ModelSpec['family'], 'qwen2.5-vl'>;
type PresetName = Extract<NonNullable<ModelSpec['preset']>, `${InternvlFamily}-${string}`>;

/** What model.json holds beside the sizes. `initStd` matters to nobody who fine-tunes; it is kept so that the file is the published one. */
interface Extras {
  readonly languageInitStd: number;
  /** `text_decoder` is recomputed layer by layer in the backward pass: less memory, more time. */
  readonly recomputeLanguage: boolean;
  readonly samplesPerSecond?: number;
  readonly ropeScalingFactor: number | null;
  /** Into how many tiles a large image is cut at most; left out, as the runtime has it. */
  readonly tilesPerImage?: number;
  /** Keys that only the published file of this size has. */
  readonly languageKeys: Readonly<Record<string, boolean>>;
  readonly visionKeys: Readonly<Record<string, number | boolean>>;
  readonly projectorKeys: Readonly<Record<string, number | string>>;
}
export interface InternvlPreset {
  readonly family: InternvlFamily;
  readonly dimensions: Dimensions;
  readonly extras: Extras;
}

const PLAIN_EXTRAS: Extras = {
  languageInitStd: 0.02,
  recomputeLanguage: false,
  ropeScalingFactor: null,
  languageKeys: {},
  visionKeys: {},
  projectorKeys: {},
};

const tockens = { pre_tockens: 2147483647, next_tockens: 2147483647 } as const;

const internvl25: Extras = {
  ...PLAIN_EXTRAS,
  languageInitStd: 0.01,
  tilesPerImage: 6,
  visionKeys: tockens,
  projectorKeys: { params_dtype: 'bf16', num_layers: 1 },
};

const qwen2 = {
  vocabularySize: 151674,
  maxPositions: 32768,
  rotaryBase: 1000000,
  imageTokenId: 151667,
  paddingTokenId: 151643,
  tieWordEmbeddings: false,
  layerNormEpsilon: 1e-6,
} as const;

const VIT_300M: Dimensions['vision'] = {
  layers: 24,
  hiddenSize: 1024,
  ffnHiddenSize: 4096,
  attentionHeads: 16,
  imageSize: 448,
  patchSize: 14,
  qkvBias: true,
  qkLayerNorm: false,
  normalization: 'LayerNorm',
  dropPathRate: 0.4,
};

const VIT_6B: Dimensions['vision'] = {
  layers: 45,
  hiddenSize: 3200,
  ffnHiddenSize: 12800,
  attentionHeads: 25,
  imageSize: 448,
  patchSize: 14,
  qkvBias: false,
  qkLayerNorm: true,
  normalization: 'RMSNorm',
  dropPathRate: 0.4,
};

const QWEN2_72B: Dimensions['language'] = {
  layers: 80,
  hiddenSize: 8192,
  ffnHiddenSize: 29568,
  attentionHeads: 64,
  keyValueHeads: 8,
  ...qwen2,
};

export const INTERNVL_PRESETS: Readonly<Record<PresetName, InternvlPreset>> = {
  'internvl3-8b': {
    family: 'internvl3',
    dimensions: {
      vision: VIT_300M,
      language: { layers: 28, hiddenSize: 3584, ffnHiddenSize: 18944, attentionHeads: 28, keyValueHeads: 4, ...qwen2 },
      downsampleRatio: 0.5,
    },
    // 7.07 samples a second: the table of MindSpeed MM 2.2.0's README. No other size of InternVL here has such a number.
    extras: { ...PLAIN_EXTRAS, languageInitStd: 0.01, ropeScalingFactor: 2, samplesPerSecond: 7.07 },
  },
  'internvl3-78b': {
    family: 'internvl3',
    dimensions: {
      vision: VIT_6B,
      language: QWEN2_72B,
      downsampleRatio: 0.5,
    },
    extras: {
      ...PLAIN_EXTRAS,
      recomputeLanguage: true,
      ropeScalingFactor: 2,
      languageKeys: { reset_attention_mask: false, variable_seq_lengths: true },
      visionKeys: { context_parallel_size: 1, sequence_parallel: false, ...tockens },
    },
  },
  'internvl2.5-4b': {
    family: 'internvl2.5',
    dimensions: {
      vision: { ...VIT_300M, dropPathRate: 0 },
      language: {
        layers: 36,
        hiddenSize: 2048,
        ffnHiddenSize: 11008,
        attentionHeads: 16,
        keyValueHeads: 2,
        ...qwen2,
        paddingTokenId: 2,
      },
      downsampleRatio: 0.5,
    },
    extras: {
      ...internvl25,
      languageKeys: { untie_embeddings_and_output_weights: true, disable_bias_linear: true },
    },
  },
  'internvl2.5-78b': {
    family: 'internvl2.5',
    dimensions: { vision: VIT_6B, language: QWEN2_72B, downsampleRatio: 0.5 },
    extras: { ...internvl25, recomputeLanguage: true },
  },
  'internvl3-tiny': {
    family: 'internvl3',
    dimensions: {
      vision: {
        layers: 2,
        hiddenSize: 48,
        ffnHiddenSize: 192,
        attentionHeads: 4,
        imageSize: 28,
        patchSize: 7,
        qkvBias: true,
        qkLayerNorm: false,
        normalization: 'LayerNorm',
        dropPathRate: 0,
      },
      language: {
        layers: 2,
        hiddenSize: 64,
        ffnHiddenSize: 172,
        attentionHeads: 4,
        keyValueHeads: 2,
        vocabularySize: 384,
        maxPositions: 512,
        rotaryBase: 10000,
        imageTokenId: 4,
        paddingTokenId: 0,
        tieWordEmbeddings: false,
        layerNormEpsilon: 1e-6,
      },
      downsampleRatio: 0.5,
    },
    extras: PLAIN_EXTRAS,
  },
};

/** Another size, which is published nowhere. */
export function plainPreset(family: InternvlFamily, dimensions: Dimensions): InternvlPreset {
  return { family, dimensions, extras: family === 'internvl2.5' ? internvl25 : PLAIN_EXTRAS };
}

/** The published files recompute the language tower alone, layer by layer. */
export function publishedWays({ recomputeLanguage, samplesPerSecond }: Extras): Published {
  return {
    recompute: recomputeLanguage ? { language: { method: 'uniform', layers: 1 } } : {},
    fusedOperators: [],
    ...(samplesPerSecond === undefined ? {} : { samplesPerSecond }),
  };
}

/** Tokens that one image tile becomes: 256 for InternVL3. */
export function imageTokensPerTile({ vision, downsampleRatio }: Dimensions): number {
  return Math.round((vision.imageSize / vision.patchSize) ** 2 * downsampleRatio ** 2);
}
