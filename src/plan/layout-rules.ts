/** What must hold between layout, model and batch sizes, beyond what the spec alone can tell; checked before a host is taken. */
import type { ModelSizes } from './model-sizes.js';
import type { Refusal } from '../spec/refusal.js';
import { layerRows, sum } from './layout.js';
import type { Layout, TowerLayout } from './layout.js';
import { splitRules } from './split-rules.js';

export interface LayoutQuestion {
  readonly layout: Layout;
  readonly dimensions: ModelSizes;
  readonly freeze: readonly ('vision' | 'projector' | 'language')[];
  readonly globalBatchSize: number;
  readonly microBatchSize: number;
  readonly sequenceLength: number;
}
type TowerName = 'vision' | 'language';

export function checkLayout(question: LayoutQuestion): readonly Refusal[] {
  return [
    ...layerSums(question),
    ...splitRules(question),
    ...dataParallelRules(question),
    ...batchRules(question),
    ...visionFirst(question),
    ...trainableStages(question),
  ];
}

/** Where the user wrote a tower's layers. */
function layersPath(layout: Layout, tower: TowerName): string {
  if (layout.virtualStages > 1) return `layout.virtualPipeline.${tower}LayersPerStage`;
  return layout.distTrain ? `layout.distTrain.${tower}.layersPerStage` : `layout.${tower}LayersPerStage`;
}
function layerSums({ layout, dimensions }: LayoutQuestion): Refusal[] {
  return (['vision', 'language'] as const).flatMap((name) => {
    const expected = dimensions[name].layers;
    const tower = layout[name];
    const stages = tower.layersPerStage;
    if (sum(stages) === expected) return [];
    const even = { ...tower, layersPerStage: evenSplit(expected, stages.length) };
    return [
      {
        path: layersPath(layout, name),
        value: asWritten(tower),
        rule: `must add up to the ${String(expected)} layers of the ${name} tower, but adds up to ${String(sum(stages))}`,
        remedy: `Share out ${String(expected)} layers, e.g. ${JSON.stringify(asWritten(even))}.`,
      },
    ];
  });
}

/** Every vision replica feeds one language replica, or an equal share of one (MindSpeed: main_dp on the language tower). */
function dataParallelRules({ layout }: LayoutQuestion): Refusal[] {
  const vision = layout.vision.dataParallel;
  const language = layout.language.dataParallel;
  if (!layout.distTrain || vision % language === 0) return [];
  const replica = layout.vision.tensorParallel * layout.vision.pipelineParallel;
  return [
    {
      path: 'layout.distTrain.vision.npus',
      value: layout.vision.ranks,
      rule:
        `must give a data parallel size that is a multiple of that of the language tower (${String(language)}), ` +
        `but gives ${String(vision)}`,
      remedy: `Use ${String(replica * language)} NPUs for the vision tower, or fewer replicas of the language tower.`,
    },
  ];
}

function batchRules({ layout, globalBatchSize, microBatchSize }: LayoutQuestion): Refusal[] {
  const dp = Math.max(layout.vision.dataParallel, layout.language.dataParallel);
  const step = microBatchSize * dp;
  if (globalBatchSize % step === 0) return [];
  const near = Math.max(1, Math.round(globalBatchSize / step)) * step;
  return [
    {
      path: 'training.globalBatchSize',
      value: globalBatchSize,
      rule:
        `must be a multiple of microBatchSize x data parallel size = ` +
        `${String(microBatchSize)} x ${String(dp)} = ${String(step)}`,
      remedy: `Use ${String(near)}.`,
    },
  ];
}

/** What the vision tower sees goes into the text's embeddings, so no text layer may come before its last layer. */
function visionFirst({ layout }: LayoutQuestion): Refusal[] {
  const lastVision = layout.vision.layersPerStage.findLastIndex((layers) => layers > 0);
  const firstLanguage = layout.language.layersPerStage.findIndex((layers) => layers > 0);
  if (layout.distTrain || lastVision <= firstLanguage) return [];
  return [
    {
      path: layersPath(layout, 'vision'),
      value: asWritten(layout.vision),
      rule:
        `must end before the language tower begins: its last layer is on ${nameStage(layout, lastVision)}, ` +
        `the first of the language tower on ${nameStage(layout, firstLanguage)} (counted from 0)`,
      remedy: 'Move the vision layers to the front, or put 0 language layers on the first stages.',
    },
  ];
}

/** Megatron dies with a bare AssertionError on a rank whose optimizer has nothing to train. */
function trainableStages({ layout, freeze, ...question }: LayoutQuestion): Refusal[] {
  if (layerSums({ layout, freeze, ...question }).length > 0) return [];
  const frozen = (name: 'vision' | 'projector' | 'language'): boolean => freeze.includes(name);
  const lastVision = layout.vision.layersPerStage.findLastIndex((layers) => layers > 0);
  const visionTrains = (stage: number): boolean =>
    (held(layout.vision, stage) > 0 && !frozen('vision')) || (stage === lastVision && !frozen('projector'));
  const languageTrains = (stage: number): boolean => held(layout.language, stage) > 0 && !frozen('language');
  const isEmpty = (name: TowerName, stage: number): boolean =>
    held(layout[name], stage) === 0 && (layout.distTrain || held(layout.vision, stage) === 0);
  const refuse = (name: TowerName, idle: number): Refusal => ({
    path: layersPath(layout, name),
    value: asWritten(layout[name]),
    rule:
      `must leave something to train on every stage, but ${nameStage(layout, idle)} (counted from 0) holds ` +
      (isEmpty(name, idle) ? 'no layer' : `only what stays frozen: ${freeze.join(' and ')}`),
    remedy: 'Give that stage a layer that is trained, use fewer stages, or take the tower out of model.freeze.',
  });
  // The first says enough: the remedy changes the whole list.
  const firstIdle = (tower: TowerLayout, trains: (stage: number) => boolean): number[] =>
    tower.layersPerStage
      .map((_, stage) => stage)
      .filter((stage) => !trains(stage))
      .slice(0, 1);
  if (layout.distTrain)
    return [
      ...firstIdle(layout.vision, visionTrains).map((idle) => refuse('vision', idle)),
      ...firstIdle(layout.language, languageTrains).map((idle) => refuse('language', idle)),
    ];
  return firstIdle(layout.language, (stage) => visionTrains(stage) || languageTrains(stage)).map((idle) =>
    refuse('language', idle),
  );
}

/** `stage 2`, or with virtual stages `virtual stage 1 of pipeline rank 2`. */
function nameStage({ virtualStages, language }: Layout, stage: number): string {
  if (virtualStages === 1) return `stage ${String(stage)}`;
  const row = Math.floor(stage / language.pipelineParallel);
  return `virtual stage ${String(row)} of pipeline rank ${String(stage % language.pipelineParallel)}`;
}

/** As the spec has them: one list, or with virtual stages one for each. */
function asWritten(tower: TowerLayout): readonly number[] | readonly (readonly number[])[] {
  const rows = layerRows(tower);
  return rows.length === 1 ? tower.layersPerStage : rows;
}

function held(tower: TowerLayout, stage: number): number {
  return tower.layersPerStage[stage] ?? 0;
}

function evenSplit(layers: number, stages: number): number[] {
  return Array.from({ length: stages }, (_, stage) => Math.floor(layers / stages) + (stage < layers % stages ? 1 : 0));
}
