/** How many parameters InternVL's vision tower and projector have, and what a layer keeps of each patch. */
import type { Dimensions } from '../../../spec/model.js';
import type { VisionCounts } from '../family.js';

export function internvlCounts({ vision, language, downsampleRatio }: Dimensions): VisionCounts {
  const { hiddenSize: h, ffnHiddenSize: f } = vision;
  const norms = vision.normalization === 'LayerNorm' ? 4 * h : 2 * h;
  const merged = h / downsampleRatio ** 2;
  const output = language.hiddenSize;
  return {
    // A class token, positions of it and of the patches, and the patches with their bias.
    embedding: h * (1 + (patches(vision) + 1) + 3 * vision.patchSize ** 2 + 1),
    layer: {
      split: 3 * h * h + (vision.qkvBias ? 3 * h : 0) + h * h + 2 * h * f + f,
      // Two output biases, two layer scales, and the norms of queries and keys.
      whole: norms + 4 * h + (vision.qkLayerNorm ? 2 * h : 0),
    },
    // InternVLMLP: a norm and two layers, whole on every tensor rank.
    projector: { split: 0, whole: 2 * merged + (merged + 1) * output + (output + 1) * output },
    linear: {
      layer: { linear_qkv: [h, 3 * h], linear_proj: [h, h], linear_fc1: [h, f], linear_fc2: [f, h] },
      projector: { linear_fc1: [merged, output], linear_fc2: [output, output] },
    },
    kept: { split: 7 * h + 2 * f, whole: 4 * h },
  };
}

export function patches({ imageSize, patchSize }: Dimensions['vision']): number {
  return (imageSize / patchSize) ** 2;
}
