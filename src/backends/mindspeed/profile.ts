/** Ascend: what the published finetune_internvl3_8B.sh sets, and what MindSpeed MM 2.2.0 cannot do. */
import { TIMEOUT_FLAGS, TRAINING_ENVIRONMENT } from './environment.js';
import { checkFeatures } from './feature-rules.js';
import type { RuntimeProfile } from './job.js';
import { loraRules } from './lora-rules.js';

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
  deviceFlags: ['--use-flash-attn', '--bf16', ...TIMEOUT_FLAGS],
  trustAnswer: 'y\n',
  refusals: (job) => [...checkFeatures(job), ...loraRules(job), ...job.model.ascendRules(job)],
};
