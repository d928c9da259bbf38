/** Into how many tokens Qwen2.5-VL makes an image: as many as it has squares of 28 pixels, once it is small enough. */
import { MERGED_PATCHES, VISION } from './presets.js';
import type { ImageCounts } from '../family.js';

/** `image_max_pixels` of the published data.json: a larger image is made smaller. */
export const MOST_PIXELS = 262144;

/** A token's square, in pixels. */
const SQUARE = VISION.patchSize * VISION.spatialMergeSize;
/** Longer strips are cut short. */
const STEEPEST = 200;

/** Sides are rounded to whole squares after the image was made smaller, so a strip of 1.5 squares gets more tokens than a square image. */
export function mostTokens(pixels: number): number {
  let most = 0;
  for (let height = SQUARE; height * height <= pixels; height += 1) {
    const width = Math.min(Math.floor(pixels / height), height * STEEPEST);
    most = Math.max(most, squares(height) * squares(width));
  }
  return most;
}

export function imageCounts(): ImageCounts {
  const tokensPerTile = mostTokens(MOST_PIXELS);
  const patchesPerTile = tokensPerTile * MERGED_PATCHES;
  const window = (VISION.windowSize / VISION.patchSize) ** 2;
  const full = VISION.fullAttentionLayers.length;
  return {
    tokensPerTile,
    tiles: 1,
    patchesPerTile,
    attendedPatches: (full * patchesPerTile + (VISION.layers - full) * window) / VISION.layers,
  };
}

/** As Python rounds, half to even. */
function squares(side: number): number {
  const whole = Math.floor(side / SQUARE);
  const rest = side / SQUARE - whole;
  return Math.max(1, whole + (rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? 1 : 0));
}
