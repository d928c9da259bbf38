/**
 * Presets by layouts: what is started, converted and saved, as one file for each under golden/. Of model.json and data.json stands what the
 * layout decides, and a digest of the rest, since the published files are not ours to copy. After a change that is meant: add -u and read
 * the difference.
 */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { composePlan } from '../../../src/backends/compose-plan.js';
import { showArgument, type CommandPlan, type Plan } from '../../../src/plan/plan.js';
import { showLayers } from '../../../src/plan/rank-table.js';
import { valueAt } from '../../../src/spec/json-schema.js';
import type { RunSpecInput } from '../../../src/spec/run.js';
import { RELEASE_FLAGS } from '../../fixtures/ascend/flags.js';
import { demoInput, familyOf, publishedInput, publishedQwenInput, QWEN_LAYOUTS, specOf } from './specs.js';

type Layout = RunSpecInput['layout'];
interface Golden {
  readonly preset: NonNullable<RunSpecInput['model']['preset']>;
  readonly layout: Layout;
  readonly freeze?: RunSpecInput['model']['freeze'];
  readonly lora?: RunSpecInput['model']['lora'];
  readonly runtime?: Partial<Extract<RunSpecInput['runtime'], { kind: 'ascend' }>>;
  readonly training?: Partial<RunSpecInput['training']>;
}
const host = { hosts: 1, npusPerHost: 8 } as const;
const sixteen = { hosts: 4, npusPerHost: 16 } as const;
const zeros = (length: number): number[] => Array.from({ length }, () => 0);
const everything = {
  fusedOperators: ['rmsnorm', 'swiglu', 'rotary'],
  overlapGradientReduce: true,
  overlapParameterGather: true,
  deterministic: true,
  lossPer: 'sample',
  dataBuckets: 'speed',
  recompute: { vision: { method: 'uniform', layers: 1 }, language: { method: 'block', layers: 2 } },
} as const satisfies Golden['runtime'];

const PLANS: Readonly<Record<string, Golden>> = {
  'internvl3-8b-published': {
    preset: 'internvl3-8b',
    layout: { ...host, visionLayersPerStage: [24, 0, 0, 0], languageLayersPerStage: [6, 8, 8, 6] },
  },
  'internvl3-8b-full': { preset: 'internvl3-8b', layout: host, freeze: [] },
  'internvl3-8b-tensor-and-context': {
    preset: 'internvl3-8b',
    layout: { ...host, tensorParallel: 2, contextParallel: 2, sequenceParallel: true },
  },
  'internvl3-8b-virtual': {
    preset: 'internvl3-8b',
    freeze: [],
    layout: {
      ...host,
      virtualPipeline: {
        visionLayersPerStage: [[6, 7, 7, 4], zeros(4), zeros(4)],
        languageLayersPerStage: [
          [0, 0, 0, 1],
          [4, 4, 4, 4],
          [3, 3, 3, 2],
        ],
      },
    },
  },
  'internvl3-8b-dist-train': {
    preset: 'internvl3-8b',
    layout: {
      ...host,
      distTrain: { vision: { npus: 4, tensorParallel: 2 }, language: { npus: 4, layersPerStage: [14, 14] } },
    },
  },
  'internvl3-8b-with-everything': {
    preset: 'internvl3-8b',
    layout: { ...host, visionLayersPerStage: [24, 0], languageLayersPerStage: [12, 16] },
    runtime: everything,
  },
  'internvl3-8b-loss-per-token': { preset: 'internvl3-8b', layout: host, runtime: { lossPer: 'token' } },
  'internvl3-8b-begun-from-a-save-folder': {
    preset: 'internvl3-8b',
    layout: { ...host, tensorParallel: 2 },
    training: { initFrom: { uri: 'file:///data/save_dir' } },
  },
  'internvl3-8b-lora': {
    preset: 'internvl3-8b',
    layout: { ...host, visionLayersPerStage: [24, 0, 0, 0], languageLayersPerStage: [6, 8, 8, 6] },
    lora: { rank: 8, alpha: 16 },
  },
  'internvl3-78b-published': {
    preset: 'internvl3-78b',
    layout: { ...sixteen, tensorParallel: 8, visionLayersPerStage: [45, 0], languageLayersPerStage: [40, 40] },
  },
  'internvl3-78b-dist-train': {
    preset: 'internvl3-78b',
    layout: {
      ...sixteen,
      distTrain: {
        vision: { npus: 4, tensorParallel: 2 },
        language: { npus: 60, layersPerStage: Array.from({ length: 30 }, (_, stage) => (stage < 20 ? 3 : 2)) },
      },
    },
  },
  'internvl2.5-4b-published': { preset: 'internvl2.5-4b', layout: host, runtime: { encoderBalance: true } },
  'internvl2.5-78b-published': {
    preset: 'internvl2.5-78b',
    layout: {
      hosts: 8,
      npusPerHost: 16,
      visionLayersPerStage: [45, ...zeros(15)],
      languageLayersPerStage: [0, 3, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 5, 5, 5, 2],
    },
  },
  ...Object.fromEntries(
    (Object.keys(QWEN_LAYOUTS) as (keyof typeof QWEN_LAYOUTS)[]).map((preset) => [
      `${preset}-published`,
      { preset, layout: QWEN_LAYOUTS[preset] },
    ]),
  ),
  'qwen2.5-vl-7b-with-everything': {
    preset: 'qwen2.5-vl-7b',
    layout: { ...host, tensorParallel: 2, sequenceParallel: true },
    freeze: [],
    runtime: {
      fusedOperators: ['rmsnorm'],
      overlapGradientReduce: true,
      lossPer: 'token',
      recompute: { vision: { method: 'uniform', layers: 1 } },
    },
  },
  'qwen2.5-vl-7b-lora': {
    preset: 'qwen2.5-vl-7b',
    layout: { ...host, tensorParallel: 2, visionLayersPerStage: [32, 0], languageLayersPerStage: [12, 16] },
    lora: { rank: 16, alpha: 32, dropout: 0.05, targets: ['linear_qkv', 'linear_proj'] },
  },
  // As the family's guide to long sequences has it, but for the length: layers are computed again instead of swapped.
  'qwen2.5-vl-72b-long': {
    preset: 'qwen2.5-vl-72b',
    layout: {
      hosts: 8,
      npusPerHost: 16,
      tensorParallel: 8,
      contextParallel: 4,
      visionLayersPerStage: [32, 0, 0, 0],
      languageLayersPerStage: [6, 25, 25, 24],
    },
    runtime: { recompute: { language: { method: 'uniform', layers: 1 } } },
    training: { sequenceLength: 32768 },
  },
  'internvl3-tiny-dist-train-on-cpu': { preset: 'internvl3-tiny', layout: demoInput.layout, freeze: ['vision'] },
  'internvl3-tiny-lora-on-cpu': {
    preset: 'internvl3-tiny',
    layout: demoInput.layout,
    freeze: [],
    lora: { rank: 4, alpha: 8 },
  },
  'internvl3-tiny-pipeline-on-cpu': {
    preset: 'internvl3-tiny',
    layout: { hosts: 1, npusPerHost: 2, visionLayersPerStage: [2, 0], languageLayersPerStage: [1, 1] },
    freeze: [],
  },
};

function planOf({ preset, layout, freeze, lora, runtime, training }: Golden): Plan {
  const base =
    preset === 'internvl3-tiny' ? demoInput : preset.startsWith('qwen') ? publishedQwenInput : publishedInput;
  const composed = composePlan(
    specOf({
      ...base,
      model: { ...base.model, family: familyOf(preset), preset, ...(freeze && { freeze }), ...(lora && { lora }) },
      layout,
      ...(base.runtime.kind === 'ascend' && { runtime: { ...base.runtime, ...runtime } }),
      training: { ...base.training, ...training },
    }),
  );
  if (!('plan' in composed)) throw new Error(JSON.stringify(composed.refusals));
  return composed.plan;
}

const DECIDED = [
  'dist_config',
  'text_decoder.pipeline_num_layers',
  'text_decoder.rope_scaling',
  'text_decoder.use_fused_rotary_pos_emb',
  'text_decoder.recompute_method',
  'text_decoder.recompute_num_layers',
  'image_encoder.vision_encoder.pipeline_num_layers',
  'image_encoder.vision_encoder.freeze',
  'image_encoder.vision_encoder.recompute_method',
  'image_encoder.vision_encoder.recompute_num_layers',
  'image_encoder.vision_projector.freeze',
  'dataset_param.max_dynamic_patch',
  'dataloader_param.sampler_type',
  'dataloader_param.priority_mode',
];

function showFile(plan: Plan, path: string): string[] {
  const content = plan.stages.train.files.find((file) => file.path === path)?.content;
  const lines = DECIDED.map((key) => [key, valueAt(content, key.split('.'))] as const)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `  ${key}: ${JSON.stringify(value)}`);
  const digest = createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, 16);
  return ['', `${path} (${digest}):`, ...lines];
}

/** One option a line, so that a difference shows which one it is. */
function showCommand({ program, args, stdin, whenResumed = [] }: CommandPlan): string[] {
  const resumed = whenResumed.map(showArgument).join(' ');
  const shown = args.map(showArgument).reduce<string[]>((lines, argument) => {
    if (argument.startsWith('--') || lines.length === 0) lines.push(`    ${argument}`);
    else lines.push(`${lines.pop() ?? ''} ${argument}`);
    return lines;
  }, []);
  return [
    `  ${program}${stdin === undefined ? '' : ` (answered ${JSON.stringify(stdin)})`}`,
    ...shown,
    ...(resumed === '' ? [] : [`    from a checkpoint on also ${resumed}`]),
  ];
}

function showPlan(plan: Plan): string {
  const { gang, stages } = plan;
  return `${[
    'ranks:',
    ...gang.ranks.map(({ rank, nodeRank, vision, language }) =>
      [
        `  ${String(rank)} on node ${String(nodeRank)}:`,
        ...(vision === undefined ? [] : [`vision ${showLayers(vision.layers)} t${String(vision.tensorRank)}`]),
        ...(language === undefined
          ? []
          : [
              `language ${showLayers(language.layers)} t${String(language.tensorRank)} c${String(language.contextRank)} d${String(language.dataRank)}`,
            ]),
      ].join(' '),
    ),
    '',
    'a checkpoint:',
    ...gang.checkpointFiles.map(
      ({ path, writtenBy, readBy }) => `  ${path} by ${String(writtenBy)} for ${readBy.join(',')}`,
    ),
    ...showFile(plan, 'model.json'),
    ...showFile(plan, 'data.json'),
    ...(['convert', 'train', 'publish'] as const).flatMap((stage) => [
      '',
      `${stage}, from ${stages[stage].inputs.join(', ')}:`,
      ...stages[stage].commands.flatMap(showCommand),
    ]),
  ].join('\n')}\n`;
}

test.each(Object.entries(PLANS))('%s', async (name, golden) => {
  await expect(showPlan(planOf(golden))).toMatchFileSnapshot(`golden/${name}.txt`);
});

test('every flag of a plan is one that the release defines, and every flag that we say it defines is one that a plan passes', () => {
  const passed = Object.values(PLANS)
    .map(planOf)
    .filter(({ runtime }) => runtime === 'ascend')
    .flatMap(({ stages }) => [...stages.convert.commands, ...stages.train.commands, ...stages.publish.commands])
    // Our own tools are not the release's.
    .filter(({ program }) => program !== 'python')
    .flatMap(({ args, whenResumed = [] }) =>
      [...args, ...whenResumed].filter((argument) => typeof argument === 'string' && argument.startsWith('--')),
    );
  expect([...new Set(passed)].toSorted()).toEqual(Object.values(RELEASE_FLAGS).flat().toSorted());
});

test('no file is left over', () => {
  const files = readdirSync(new URL('golden/', import.meta.url));
  expect(files.toSorted()).toEqual(
    Object.keys(PLANS)
      .map((name) => `${name}.txt`)
      .toSorted(),
  );
});
