/** The command that trains: torchrun with static ranks, Megatron's arguments, and a resume that is exact. */
import type { Argument, CommandPlan } from '../../plan/plan.js';
import { featuresOf, hasDistributedOptimizer } from '../../spec/runtime.js';
import type { FusedOperator, TrainingWays } from './family.js';
import { fusedOperatorsOf } from './fused.js';
import type { Job } from './job.js';
import { targetsOf } from './lora.js';

export function trainCommand(job: Job): CommandPlan {
  const { layout, model, profile } = job;
  const ways = model.training(job);
  return {
    program: 'torchrun',
    args: [
      ...flag('--nproc_per_node', layout.npusPerHost),
      ...flag('--nnodes', layout.hosts),
      '--node_rank',
      { hole: 'nodeRank' },
      '--master_addr',
      { hole: 'masterAddress' },
      '--master_port',
      { hole: 'masterPort' },
      { hole: 'trainerHome', then: `/${ways.script}` },
      ...modelArguments(job),
      ...ways.flags,
      ...optimizerArguments(job),
      ...loraArguments(job),
      ...fusedArguments(job, ways),
      ...dataArguments(job),
      ...checkpointArguments(job),
      ...flag('--num-workers', profile.dataWorkers ?? ways.dataWorkers),
      ...profile.deviceFlags,
      ...flag('--distributed-backend', profile.distributedBackend),
    ],
    env: { ...profile.trainingEnvironment, ...ways.environment },
    cwd: profile.trainingFolder,
    // At the first start the base is what is loaded; named as well, it would have to hold the adapters.
    ...(job.spec.model.lora === undefined ? {} : { whenResumed: ['--load-base-model', { hole: 'converted' }] }),
  };
}

function modelArguments({ spec, model, layout }: Job): readonly Argument[] {
  // Dist-train reads each tower's sizes from model.json, but how many replicas share the batch is counted from these three before that
  // (validate_args_patch.py): their product must be the ranks of one replica, both towers together, or the batch is another one without a word.
  const { tensorParallel, contextParallel } = layout.distTrain
    ? { tensorParallel: 1, contextParallel: 1 }
    : layout.language;
  const stages = layout.distTrain ? layout.worldSize / layout.language.dataParallel : layout.language.pipelineParallel;
  return [
    ...flag('--tensor-model-parallel-size', tensorParallel),
    ...flag('--pipeline-model-parallel-size', stages),
    ...(layout.virtualStages > 1 ? flag('--virtual-pipeline-model-parallel-size', layout.virtualStages) : []),
    ...flag('--context-parallel-size', contextParallel),
    ...flag('--micro-batch-size', spec.training.microBatchSize),
    ...flag('--global-batch-size', spec.training.globalBatchSize),
    ...flag('--seq-length', spec.training.sequenceLength),
    ...flag('--tokenizer-type', 'NullTokenizer'),
    ...flag('--vocab-size', model.dimensions.language.vocabularySize),
    '--swiglu',
    '--no-masked-softmax-fusion',
    ...flag('--normalization', 'RMSNorm'),
    '--variable-seq-lengths',
    ...(spec.layout.sequenceParallel ? ['--sequence-parallel'] : []),
  ];
}

function optimizerArguments({ spec: { training, runtime } }: Job): readonly Argument[] {
  const features = featuresOf(runtime);
  return [
    ...flag('--lr', training.learningRate),
    ...flag('--min-lr', training.minimumLearningRate),
    ...flag('--train-iters', training.iterations),
    ...flag('--lr-decay-style', training.learningRateDecay),
    ...flag('--lr-warmup-iters', training.warmupIterations),
    ...flag('--weight-decay', training.weightDecay),
    ...flag('--clip-grad', training.clipGradient),
    ...flag('--adam-beta1', training.adamBeta1),
    ...flag('--adam-beta2', training.adamBeta2),
    ...flag('--seed', training.seed),
    '--no-gradient-accumulation-fusion',
    ...(hasDistributedOptimizer(runtime) ? ['--use-distributed-optimizer'] : []),
    ...(features.overlapGradientReduce === true ? ['--overlap-grad-reduce'] : []),
    ...(features.overlapParameterGather === true ? ['--overlap-param-gather'] : []),
    ...(features.lossPer === 'sample' ? ['--calculate-per-sample-loss'] : []),
    ...(features.lossPer === 'token' ? ['--calculate-per-token-loss'] : []),
    ...(features.encoderBalance === true ? ['--encoder-dp-balance'] : []),
    ...(features.deterministic === true ? ['--use-deter-comp'] : []),
  ];
}

/** Target modules switch LoRA on; without them the other flags say nothing. */
function loraArguments({ spec: { model } }: Job): readonly Argument[] {
  if (model.lora === undefined) return [];
  const { rank, alpha, dropout } = model.lora;
  return [
    ...['--lora-target-modules', ...targetsOf(model.lora)],
    ...flag('--lora-r', rank),
    ...flag('--lora-alpha', alpha),
    ...flag('--lora-dropout', dropout),
  ];
}

const FUSED = {
  rmsnorm: '--use-fused-rmsnorm',
  swiglu: '--use-fused-swiglu',
  rotary: '--use-fused-rotary-pos-emb',
} as const satisfies Record<FusedOperator, string>;

function fusedArguments(job: Job, { fusedFlags }: TrainingWays): readonly Argument[] {
  const fused = fusedOperatorsOf(job);
  return fusedFlags.filter((name) => fused.includes(name)).map((name) => FUSED[name]);
}

function dataArguments({ profile }: Job): readonly Argument[] {
  return [
    '--mm-data',
    { hole: 'work', then: '/data.json' },
    '--mm-model',
    { hole: 'work', then: '/model.json' },
    ...(profile.toolsFile === undefined ? [] : ['--mm-tool', profile.toolsFile]),
  ];
}

/**
 * A true resume: none of the published script's four `--no-{load,save}-{optim,rng}`, since without the optimizer the learning
 * rate starts over; no `--ckpt-step`, which takes weights and optimizer from two iterations; and no training from random
 * weights when the load folder is empty.
 */
function checkpointArguments({ spec }: Job): readonly Argument[] {
  return [
    '--load',
    { hole: 'load' },
    '--save',
    { hole: 'save' },
    ...flag('--ckpt-format', 'torch'),
    ...flag('--save-interval', spec.checkpoint.everyIterations),
    '--exit-on-missing-checkpoint',
    '--exit-signal-handler',
    ...flag('--log-interval', 1),
    // There is no validation set; the two must be given all the same.
    ...flag('--eval-interval', spec.training.iterations),
    ...flag('--eval-iters', spec.training.iterations),
  ];
}

function flag(name: string, value: string | number): readonly string[] {
  return [name, String(value)];
}
