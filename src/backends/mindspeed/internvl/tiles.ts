/** How InternVL sees a large image: cut into tiles, and once more as a whole. */
import type { RunSpec } from '../../../spec/run.js';
import { imageTokensPerTile, type InternvlPreset } from './presets.js';

/** `max_dynamic_patch` of the published files of InternVL3; the CPU trainer sees each image as one tile. */
const MOST_TILES = { ascend: 12, cpu: 1 } as const;

/** Into how many tiles a large image is cut at most. */
export function tilesPerImage({ extras }: InternvlPreset, { data, runtime }: RunSpec): number {
  return data.maximumTiles ?? extras.tilesPerImage ?? MOST_TILES[runtime.kind];
}

/** With the whole image, which is seen once more as a thumbnail where it is cut. */
export function tilesSeen(preset: InternvlPreset, spec: RunSpec): number {
  const tiles = tilesPerImage(preset, spec);
  return tiles > 1 ? tiles + 1 : 1;
}

export function imageTokens({ dimensions }: InternvlPreset, { data }: RunSpec): number {
  return data.imageTokens ?? imageTokensPerTile(dimensions);
}
