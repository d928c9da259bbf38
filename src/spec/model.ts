/** Which model is tuned: family, dimensions, where its weights come from, what stays frozen. */
import { z } from 'zod';
import { count } from './numbers.js';
import { SourceSpec } from './source.js';

/** Sizes whose every value is known; another size is given by `dimensions`. */
export const MODEL_PRESETS = [
  'internvl3-8b',
  'internvl3-78b',
  'internvl3-tiny',
  'internvl2.5-4b',
  'internvl2.5-78b',
  'qwen2.5-vl-3b',
  'qwen2.5-vl-7b',
  'qwen2.5-vl-32b',
  'qwen2.5-vl-72b',
] as const;

/** The language and the vision tower in the words of Megatron's model.json; hidden sizes in elements, images in pixels. */
export const Dimensions = z.strictObject({
  vision: z.strictObject({
    layers: count,
    hiddenSize: count,
    ffnHiddenSize: count,
    attentionHeads: count,
    imageSize: count,
    patchSize: count,
    qkvBias: z.boolean().default(true),
    qkLayerNorm: z.boolean().default(false),
    normalization: z.enum(['LayerNorm', 'RMSNorm']).default('LayerNorm'),
    dropPathRate: z.number().min(0).max(1).default(0),
  }),
  language: z.strictObject({
    layers: count,
    hiddenSize: count,
    ffnHiddenSize: count,
    attentionHeads: count,
    keyValueHeads: count,
    vocabularySize: count,
    maxPositions: count,
    rotaryBase: count,
    imageTokenId: count.describe('The id of <IMG_CONTEXT> in the tokenizer.'),
    paddingTokenId: z.int().nonnegative(),
    tieWordEmbeddings: z.boolean().default(false),
    layerNormEpsilon: z.number().positive().default(1e-6),
  }),
  downsampleRatio: z.number().positive().max(1).default(0.5),
});
export type Dimensions = z.output<typeof Dimensions>;

/** The linear layers of a block, in both towers and (the last two) between them, by MindSpeed MM's names. */
export const LORA_TARGETS = ['linear_qkv', 'linear_proj', 'linear_fc1', 'linear_fc2'] as const;

export const LoraSpec = z.strictObject({
  rank: count.describe('--lora-r'),
  alpha: count.describe('--lora-alpha; what adapters give is multiplied by alpha / rank'),
  dropout: z
    .number('must be a number')
    .min(0, 'must be 0 or more')
    .lt(1, 'must be below 1')
    .default(0)
    .describe('--lora-dropout'),
  targets: z
    .array(z.enum(LORA_TARGETS, `must be one of ${LORA_TARGETS.join(', ')}`))
    .min(1, 'must name at least one layer')
    .default([...LORA_TARGETS])
    .describe('--lora-target-modules: the layers that get adapters, in all that is not frozen.'),
});
export type LoraSpec = z.output<typeof LoraSpec>;

export const ModelSpec = z
  .strictObject({
    family: z.enum(['internvl3', 'internvl2.5', 'qwen2.5-vl'], 'must be one of internvl3, internvl2.5, qwen2.5-vl'),
    preset: z
      .enum(MODEL_PRESETS, `must be one of ${MODEL_PRESETS.join(', ')}; any other size is given by dimensions`)
      .optional(),
    dimensions: Dimensions.optional(),
    source: SourceSpec.describe('The model in the layout of its publisher (config.json, *.safetensors, tokenizer).'),
    freeze: z
      .array(z.enum(['vision', 'projector', 'language']))
      .max(2, 'must leave at least one of vision, projector and language to be trained')
      .default([])
      .describe('Towers whose weights stay as they are.'),
    lora: LoraSpec.optional().describe('Adapters are trained instead of weights; left out, the weights are.'),
    trustRemoteCode: z
      .boolean()
      .default(false)
      .describe('Consent to run Python code that lies in the model folder. Needed by the converter of MindSpeed MM.'),
  })
  .superRefine((model, ctx) => {
    if ((model.preset === undefined) === (model.dimensions === undefined))
      ctx.addIssue({
        code: 'custom',
        path: ['preset'],
        message: 'must be given, or dimensions instead of it, but not both',
      });
    if (model.family === 'qwen2.5-vl' && model.dimensions !== undefined)
      ctx.addIssue({
        code: 'custom',
        path: ['dimensions'],
        message:
          'must be left out with qwen2.5-vl: they describe a tower of InternVL, which has no windows and no merger',
      });
    if (model.preset !== undefined && !model.preset.startsWith(model.family))
      ctx.addIssue({
        code: 'custom',
        path: ['preset'],
        message: `must be a size of the family "${model.family}"`,
      });
  });
export type ModelSpec = z.output<typeof ModelSpec>;
