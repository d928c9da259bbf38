/** InternVL3 and InternVL2.5. */
import type { Model } from '../job.js';
import { internvlCounts, patches } from './counts.js';
import { dataJson } from './data-json.js';
import { modelJson } from './model-json.js';
import { imageTokensPerTile, type InternvlPreset, publishedWays } from './presets.js';
import { internvlAscendRules, internvlRules } from './rules.js';
import { runsInternvlScript } from './script.js';
import { imageTokens, tilesSeen } from './tiles.js';

export function internvl(preset: InternvlPreset): Model {
  const { family, dimensions, extras } = preset;
  // The class token is seen beside the patches.
  const patchesPerTile = patches(dimensions.vision) + 1;
  return {
    dimensions,
    counts: internvlCounts(dimensions),
    runtimes: family === 'internvl3' ? ['cpu', 'ascend'] : ['ascend'],
    // Its own way back permutes the rows of the vision tower's QKV when tensors are split.
    converter: { name: 'InternVLConverter', runsModelCode: true, joinsTensors: false },
    published: publishedWays(extras),
    image: (spec) => ({
      tokensPerTile: imageTokensPerTile(dimensions),
      tiles: tilesSeen(preset, spec),
      patchesPerTile,
      attendedPatches: patchesPerTile,
    }),
    modelJson: (job) => modelJson(preset, job),
    dataJson: (job) => dataJson(preset, job),
    training: ({ layout }) => ({
      script: runsInternvlScript(preset, layout) ? 'pretrain_internvl.py' : 'pretrain_vlm.py',
      flags: [
        '--position-embedding-type',
        'rope',
        '--rotary-base',
        String(dimensions.language.rotaryBase),
        ...(layout.distTrain ? ['--dist-train'] : []),
        // Heads may lie unevenly on tensor ranks.
        ...(Math.max(layout.vision.tensorParallel, layout.language.tensorParallel) > 1 ? ['--unaligned-linear'] : []),
        ...(layout.language.contextParallel > 1 ? ['--context-parallel-algo', 'megatron_cp_algo'] : []),
      ],
      dataWorkers: 4,
      fusedFlags: ['rmsnorm', 'swiglu', 'rotary'],
      environment: {},
    }),
    preparing: (spec) => ({
      args: ['--image-tokens', String(imageTokens(preset, spec))],
      parameters: { imageTokens: imageTokens(preset, spec) },
    }),
    judging: [],
    rules: (question) => internvlRules(preset, question),
    ascendRules: (question) => internvlAscendRules(preset, question),
  };
}
