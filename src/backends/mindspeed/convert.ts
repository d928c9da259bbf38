/** Weights from the publisher's layout to the trainer's and back: mm-convert, and for Dist-train one more split by tower. */
import { layerRows, type TowerLayout } from '../../plan/layout.js';
import type { Argument, CommandPlan, HoleName } from '../../plan/plan.js';
import type { LoraSpec } from '../../spec/model.js';
import type { Job } from './job.js';

/** Below `work` of the stage. */
export const FOLDERS = { merged: '/merged', whole: '/mm', converted: '/converted', published: '/published' } as const;

const at = (hole: HoleName, then?: string): Argument => (then === undefined ? { hole } : { hole, then });

/** hf -> mm in the layout of training; for Dist-train hf -> mm on one stage -> one folder per tower and stage. */
export function convertCommands(job: Job): readonly CommandPlan[] {
  const { vision, language } = job.layout;
  if (job.spec.training.initFrom !== undefined) return [startFrom(job)];
  if (!job.layout.distTrain)
    return [hfToMm(job, at('work', FOLDERS.converted), layerRows(vision), layerRows(language))];
  return [
    hfToMm(job, at('work', FOLDERS.whole), [oneStage(vision)], [oneStage(language)]),
    distTrainConvert(
      job,
      ['mm_to_dt', '--load-dir', at('work', FOLDERS.whole), '--save-dir', at('work', FOLDERS.converted)],
      [vision.layersPerStage, language.layersPerStage],
      towerSizes(job),
    ),
  ];
}

/** The weights of a save folder in any layout, cut for this one: upstream's own resplit does nothing for InternVL, and says so to nobody. */
function startFrom({ layout, profile }: Job): CommandPlan {
  const { vision, language } = layout;
  return {
    program: 'python',
    args: [
      ...['-m', 'anneal_trainer.start_from', '--load-dir', at('start'), '--save-dir', at('work', FOLDERS.converted)],
      ...['--hf-dir', at('baseModel')],
      ...['--target-vit-pp-layers', JSON.stringify(layerRows(vision))],
      ...['--target-gpt-pp-layers', JSON.stringify(layerRows(language))],
      ...['--target-vit-tp-size', String(vision.tensorParallel)],
      ...['--target-gpt-tp-size', String(language.tensorParallel)],
      ...(layout.distTrain ? ['--dist-train'] : []),
    ],
    env: profile.toolEnvironment,
    cwd: at('work'),
  };
}

/**
 * The way back, in one-dimensional lists where hf_to_mm takes two-dimensional ones. MindSpeed MM's own converter cannot read virtual
 * stages at all, and not every one of its classes joins split tensors as they were, both without a word; ours is exact.
 */
export function publishCommands(job: Job): readonly CommandPlan[] {
  const { lora } = job.spec.model;
  if (lora === undefined) return backCommands(job, at('trained'));
  return [mergeCommand(job, lora), ...backCommands(job, at('work', FOLDERS.merged))];
}

/** Adapters and base become one model in the layout of training. The release's own script needs an NPU, and publishing has no lease. */
function mergeCommand({ profile }: Job, { rank, alpha }: LoraSpec): CommandPlan {
  return {
    program: 'python',
    args: [
      ...['-m', 'anneal_trainer.lora_merge', '--base-dir', at('converted'), '--lora-dir', at('trained')],
      ...['--save-dir', at('work', FOLDERS.merged), '--lora-r', String(rank), '--lora-alpha', String(alpha)],
    ],
    env: profile.toolEnvironment,
    cwd: at('work'),
  };
}

function backCommands(job: Job, trained: Argument): readonly CommandPlan[] {
  const { vision, language } = job.layout;
  if (!job.layout.distTrain) {
    const isJoined = language.tensorParallel === 1 || job.model.converter.joinsTensors;
    const isBeyondUpstream = !isJoined || job.layout.virtualStages > 1;
    const lists = [layerRows(vision), layerRows(language)].map((rows) => (rows.length === 1 ? rows[0] : rows));
    const command = mmToHf(job, trained, lists[0], lists[1]);
    return [isBeyondUpstream ? withOurConverter(command) : command];
  }
  return [
    distTrainConvert(
      job,
      ['dt_to_mm', '--load-dir', trained, '--save-dir', at('work', FOLDERS.whole)],
      [oneStage(vision), oneStage(language)],
      // Without the model's own config a checkpoint that lacks a stage would pass for a smaller model.
      ['--hf-dir', at('baseModel')],
    ),
    mmToHf(job, at('work', FOLDERS.whole), oneStage(vision), oneStage(language)),
  ];
}

type Layers = readonly number[];

function hfToMm(job: Job, target: Argument, vision: readonly Layers[], language: readonly Layers[]): CommandPlan {
  return mmConvert(job, 'hf_to_mm', ['--cfg.mm_dir', target, ...split(job, vision, language)]);
}

function mmToHf(job: Job, source: Argument, vision: unknown, language: unknown): CommandPlan {
  return mmConvert(job, 'mm_to_hf', [
    '--cfg.save_hf_dir',
    at('work', FOLDERS.published),
    '--cfg.mm_dir',
    source,
    ...split(job, vision, language),
  ]);
}

function split({ layout }: Job, vision: unknown, language: unknown): readonly Argument[] {
  return [
    '--cfg.hf_config.hf_dir',
    at('baseModel'),
    '--cfg.parallel_config.llm_pp_layers',
    JSON.stringify(language),
    '--cfg.parallel_config.vit_pp_layers',
    JSON.stringify(vision),
    '--cfg.parallel_config.tp_size',
    // Before and after Dist-train's own split the model is whole; each tower has a tensor size of its own there.
    String(layout.distTrain ? 1 : layout.language.tensorParallel),
  ];
}

function mmConvert(
  { spec, model, profile }: Job,
  direction: 'hf_to_mm' | 'mm_to_hf',
  args: readonly Argument[],
): CommandPlan {
  // The converter's own trust flag is read by nothing; it asks on its standard input instead.
  const answer = model.converter.runsModelCode && spec.model.trustRemoteCode ? profile.trustAnswer : undefined;
  return {
    program: 'mm-convert',
    args: [model.converter.name, direction, ...args],
    env: profile.toolEnvironment,
    cwd: at('work'),
    ...(answer === undefined ? {} : { stdin: answer }),
  };
}

/** The same command line, which runs no code of the model and so asks nothing. */
function withOurConverter({ args, env, cwd }: CommandPlan): CommandPlan {
  return { program: 'python', args: ['-m', 'anneal_trainer.mm_convert', ...args], env, cwd };
}

/** MindSpeed's own Dist-train converter fails on every model with a QKV bias, so this step is ours on both runtimes. */
function distTrainConvert(
  { profile }: Job,
  what: readonly Argument[],
  [vision, language]: readonly [Layers, Layers],
  sizes: readonly Argument[],
): CommandPlan {
  return {
    program: 'python',
    args: [
      '-m',
      'anneal_trainer.dist_train_convert',
      ...what,
      '--target-vit-pp-layers',
      JSON.stringify(vision),
      '--target-gpt-pp-layers',
      JSON.stringify(language),
      ...sizes,
    ],
    env: profile.toolEnvironment,
    cwd: at('work'),
  };
}

/** Splitting tensors needs the head counts of the model's config.json. */
function towerSizes({ layout: { vision, language } }: Job): readonly Argument[] {
  if (vision.tensorParallel === 1 && language.tensorParallel === 1) return [];
  return [
    '--target-vit-tp-size',
    String(vision.tensorParallel),
    '--target-gpt-tp-size',
    String(language.tensorParallel),
    '--hf-dir',
    at('baseModel'),
  ];
}

function oneStage(tower: TowerLayout): Layers {
  return [tower.layersPerStage.reduce((total, layers) => total + layers, 0)];
}
