/** How many parameters Qwen2.5-VL's vision tower and merger have, and what a layer keeps of each patch. */
import type { ModelSizes } from '../../../plan/model-sizes.js';
import type { VisionCounts } from '../family.js';
import { MERGED_PATCHES, VISION } from './presets.js';

export function qwenCounts({ vision, language }: ModelSizes): VisionCounts {
  const { hiddenSize: h, ffnHiddenSize: f } = vision;
  const merged = h * MERGED_PATCHES;
  return {
    // A patch is a square of two frames, of which an image fills both; no bias, no positions.
    embedding: h * 3 * VISION.temporalPatchSize * VISION.patchSize ** 2,
    layer: {
      // Queries, keys and values with their bias, what attention gives, and gate, up and down.
      split: 3 * h * h + 3 * h + h * h + 3 * h * f + 2 * f,
      // Two norms, and the bias of either output.
      whole: 4 * h,
    },
    // The merger: a norm, and two layers with the first bias split and the second whole.
    projector: {
      split: (merged + 1) * merged + merged * language.hiddenSize,
      whole: h + language.hiddenSize,
    },
    linear: {
      layer: { linear_qkv: [h, 3 * h], linear_proj: [h, h], linear_fc1: [h, 2 * f], linear_fc2: [f, h] },
      projector: { linear_fc1: [merged, merged], linear_fc2: [merged, language.hiddenSize] },
    },
    // Norms in and out; queries, keys and values as computed and as rotated, what attention gives; gate, up, silu and product.
    kept: { split: 2 * 3 * h + h + 4 * f, whole: 4 * h },
  };
}
