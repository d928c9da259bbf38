/** What becomes of each flag of the published scripts; a flag that is not here is compared with the command of the plan. */

export interface Carried {
  readonly path: readonly string[];
  readonly kind: 'number' | 'text';
  /** What Megatron takes when the script leaves the flag out, where the spec's own default is not the same by definition. */
  readonly megatronDefault?: number | string;
}

/** torchrun's, by their spelling with dashes. */
export const CARRIED_LAUNCHER_FLAGS: Readonly<Record<string, Carried>> = {
  '--nnodes': { path: ['layout', 'hosts'], kind: 'number' },
  '--nproc-per-node': { path: ['layout', 'npusPerHost'], kind: 'number' },
};

export const CARRIED_FLAGS: Readonly<Record<string, Carried>> = {
  '--micro-batch-size': { path: ['training', 'microBatchSize'], kind: 'number' },
  '--global-batch-size': { path: ['training', 'globalBatchSize'], kind: 'number' },
  '--seq-length': { path: ['training', 'sequenceLength'], kind: 'number' },
  '--train-iters': { path: ['training', 'iterations'], kind: 'number' },
  '--lr': { path: ['training', 'learningRate'], kind: 'number' },
  '--min-lr': { path: ['training', 'minimumLearningRate'], kind: 'number', megatronDefault: 0 },
  '--lr-decay-style': { path: ['training', 'learningRateDecay'], kind: 'text', megatronDefault: 'linear' },
  '--lr-warmup-iters': { path: ['training', 'warmupIterations'], kind: 'number', megatronDefault: 0 },
  '--weight-decay': { path: ['training', 'weightDecay'], kind: 'number', megatronDefault: 0.01 },
  '--clip-grad': { path: ['training', 'clipGradient'], kind: 'number', megatronDefault: 1 },
  '--adam-beta1': { path: ['training', 'adamBeta1'], kind: 'number', megatronDefault: 0.9 },
  '--adam-beta2': { path: ['training', 'adamBeta2'], kind: 'number', megatronDefault: 0.999 },
  '--seed': { path: ['training', 'seed'], kind: 'number', megatronDefault: 1234 },
  '--save-interval': { path: ['checkpoint', 'everyIterations'], kind: 'number' },
};

/** Without Dist-train only; with it, each tower has sizes of its own. */
/** Switches of the runtime: given or not, with the value that a spec has for it. */
export const CARRIED_SWITCHES: Readonly<
  Record<string, { readonly path: readonly string[]; readonly value: string | true }>
> = {
  '--overlap-grad-reduce': { path: ['runtime', 'overlapGradientReduce'], value: true },
  '--overlap-param-gather': { path: ['runtime', 'overlapParameterGather'], value: true },
  '--encoder-dp-balance': { path: ['runtime', 'encoderBalance'], value: true },
  '--use-deter-comp': { path: ['runtime', 'deterministic'], value: true },
  '--calculate-per-sample-loss': { path: ['runtime', 'lossPer'], value: 'sample' },
  '--calculate-per-token-loss': { path: ['runtime', 'lossPer'], value: 'token' },
  '--sequence-parallel': { path: ['layout', 'sequenceParallel'], value: true },
};

/** Each is one word of `runtime.fusedOperators`. */
export const FUSED_SWITCHES: Readonly<Record<string, string>> = {
  '--use-fused-rmsnorm': 'rmsnorm',
  '--use-fused-swiglu': 'swiglu',
  '--use-fused-rotary-pos-emb': 'rotary',
};

export const DISTRIBUTED_OPTIMIZER = '--use-distributed-optimizer';

export const CARRIED_PARALLEL_FLAGS: Readonly<Record<string, Carried>> = {
  '--tensor-model-parallel-size': { path: ['layout', 'tensorParallel'], kind: 'number', megatronDefault: 1 },
  '--context-parallel-size': { path: ['layout', 'contextParallel'], kind: 'number', megatronDefault: 1 },
};

/** This one switches LoRA on; the others count beside it alone. */
export const LORA_TARGETS_FLAG = '--lora-target-modules';
export const LORA_FLAGS: Readonly<Record<string, Carried>> = {
  '--lora-r': { path: ['model', 'lora', 'rank'], kind: 'number', megatronDefault: 8 },
  '--lora-alpha': { path: ['model', 'lora', 'alpha'], kind: 'number', megatronDefault: 16 },
  '--lora-dropout': { path: ['model', 'lora', 'dropout'], kind: 'number', megatronDefault: 0 },
};

const readNowhere = 'MindSpeed MM 2.2.0 takes it and reads it nowhere.';
const resume =
  'Published to save disk; without the optimizer a restart begins the learning rate and the moments of Adam anew, so Anneal saves and loads all.';
const newGang = 'Known only when the run has hosts, and new for every generation: set at launch.';
const ownRestart = 'Anneal itself starts the whole gang again from the last commit.';

/** Left out on purpose. */
export const DROPPED_FLAGS: Readonly<Record<string, string>> = {
  '--node-rank': newGang,
  '--master-addr': newGang,
  '--master-port': newGang,
  '--rdzv-id': newGang,
  '--rdzv-backend': newGang,
  '--rdzv-endpoint': newGang,
  '--rdzv-conf': newGang,
  '--max-restarts': ownRestart,
  '--monitor-interval': ownRestart,
  '--no-load-optim': resume,
  '--no-load-rng': resume,
  '--no-save-optim': resume,
  '--no-save-rng': resume,
  '--ckpt-step':
    'It takes weights and optimizer from two iterations; Anneal gives the trainer a load folder that names the right one.',
  '--finetune': 'A converted model begins at iteration 0 by itself, and a restart must not.',
  '--mm-data': 'Written anew for every host; what differs from your file is listed under its name.',
  '--mm-model': 'Written anew for every run; what differs from your file is listed under its name.',
  '--mm-tool': 'Found below trainerHome of the agent.',
  '--load':
    "Anneal converts the publisher's weights itself, once for each layout. Does the folder hold weights of an earlier fine-tune, name it as training.initFrom.",
  '--load-base-model': 'The converted model, which Anneal names by itself where a training goes on from adapters.',
  '--lora-apply-modules': readNowhere,
  '--lora-mixed-training': readNowhere,
  '--save': 'Each generation has a save folder of its own; commits are shipped to the store.',
};

/** With these the training would be another one, so a spec without them would lie. */
export const REFUSED_FLAGS: Readonly<Record<string, readonly [rule: string, remedy: string]>> = {
  ...Object.fromEntries(
    Object.keys(LORA_FLAGS).map((name) => [
      name,
      [
        `must go with ${LORA_TARGETS_FLAG}: by that alone MindSpeed MM switches LoRA on, and this script trains all weights`,
        'Add it, or remove this.',
      ] as const,
    ]),
  ),
  ...Object.fromEntries(
    ['--num-layers-per-virtual-pipeline-stage', '--num-virtual-stages-per-pipeline-rank'].map((name) => [
      name,
      [
        'must be left out: MindSpeed MM 2.2.0 itself raises on it as deprecated',
        'Use --virtual-pipeline-model-parallel-size N, and make both pipeline_num_layers of model.json N lists.',
      ] as const,
    ]),
  ),
  '--use-torch-fsdp2': [
    'must be left out: a spec trains with pipeline, tensor and data ranks, and reads checkpoints of format torch',
    'Import the script of the same size without FSDP2.',
  ],
  '--hetero-parallel': [
    'must be left out: a spec gives both towers one tensor parallel size, except with distTrain',
    'Remove it, or use Dist-train.',
  ],
};
