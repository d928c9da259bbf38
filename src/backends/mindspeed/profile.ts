/** Ascend: what the published finetune_internvl3_8B.sh sets, and what MindSpeed MM 2.2.0 cannot do. */
import type { Refusal } from '../../spec/refusal.js';
import { checkFeatures } from './feature-rules.js';
import type { Job, RuntimeProfile } from './job.js';

export const ascendProfile: RuntimeProfile = {
  kind: 'ascend',
  release: 'mindspeed-mm-2.2.0',
  precision: 'bf16',
  distributedBackend: 'nccl',
  // MindSpeed MM resolves paths against the repository's root, into which megatron/ is copied.
  trainingFolder: { hole: 'trainerHome' },
  trainingEnvironment: {
    ASCEND_SLOG_PRINT_TO_STDOUT: '0',
    ASCEND_GLOBAL_LOG_LEVEL: '3',
    TASK_QUEUE_ENABLE: '2',
    COMBINED_ENABLE: '1',
    CPU_AFFINITY_CONF: '1',
    HCCL_CONNECT_TIMEOUT: '1200',
    // Only to satisfy a check of Megatron's; an NPU does not read it.
    CUDA_DEVICE_MAX_CONNECTIONS: '1',
    PYTORCH_NPU_ALLOC_CONF: 'expandable_segments:True',
    ACLNN_CACHE_LIMIT: '100000',
    PYTHONUNBUFFERED: '1',
    // A checkpoint holds Megatron's arguments as a Python object, which torch 2.6 and newer refuse to load otherwise.
    TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD: '1',
  },
  toolEnvironment: { PYTHONPATH: { hole: 'toolsHome' }, PYTHONUNBUFFERED: '1' },
  toolsFile: { hole: 'trainerHome', then: '/mindspeed_mm/tools/tools.json' },
  tilesPerImage: 12,
  deviceFlags: ['--use-flash-attn', '--bf16', '--num-workers', '4'],
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
