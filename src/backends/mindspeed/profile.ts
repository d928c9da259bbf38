/** Ascend: what the published finetune_internvl3_8B.sh sets, and what MindSpeed MM 2.2.0 cannot do. */
import type { Refusal } from '../../spec/refusal.js';
import { TIMEOUT_FLAGS, TRAINING_ENVIRONMENT } from './environment.js';
import { checkFeatures } from './feature-rules.js';
import type { Job, RuntimeProfile } from './job.js';

export const ascendProfile: RuntimeProfile = {
  kind: 'ascend',
  release: 'mindspeed-mm-2.2.0',
  precision: 'bf16',
  distributedBackend: 'nccl',
  // MindSpeed MM resolves paths against the repository's root, into which megatron/ is copied.
  trainingFolder: { hole: 'trainerHome' },
  trainingEnvironment: TRAINING_ENVIRONMENT,
  toolEnvironment: { PYTHONPATH: { hole: 'toolsHome' }, PYTHONUNBUFFERED: '1' },
  toolsFile: { hole: 'trainerHome', then: '/mindspeed_mm/tools/tools.json' },
  tilesPerImage: 12,
  deviceFlags: ['--use-flash-attn', '--bf16', '--num-workers', '4', ...TIMEOUT_FLAGS],
  trustAnswer: 'y\n',
  refusals,
};

function refusals({ spec, model, layout }: Omit<Job, 'profile'>): readonly Refusal[] {
  const found: Refusal[] = [];
  if (!spec.model.trustRemoteCode)
    found.push({
      path: 'model.trustRemoteCode',
      value: false,
      rule: "must be true on Ascend: MindSpeed MM's converter runs the configuration code that lies in the model folder",
      remedy: 'Read that code (configuration_*.py), then set it to true.',
    });
  if (spec.model.freeze.includes('language'))
    found.push({
      path: 'model.freeze',
      value: spec.model.freeze,
      rule: 'must not hold "language": MindSpeed MM 2.2.0 has no switch for it and would train the language tower',
      remedy: 'Take "language" out.',
    });
  const tilesPerImage = spec.data.maximumTiles ?? model.extras.tilesPerImage ?? ascendProfile.tilesPerImage;
  return [...found, ...checkFeatures({ spec, model, layout, tilesPerImage })];
}
