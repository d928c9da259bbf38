/** How the ranks of a gang share the model. `--x` names the Megatron flag. */
import { z } from 'zod';
import { count, countOrZero } from './numbers.js';

/** Layers on each pipeline stage of a module, first stage first. */
const layersPerStage = z.array(countOrZero).min(1, 'must name the layers of at least one stage').max(64);

/** Layers by virtual stage (rows) and pipeline rank (columns). */
const layerRows = z.array(layersPerStage).min(1, 'must have a row for each virtual stage').max(64);

/** One tower of Dist-train with ranks of its own. */
const towerSplit = z.strictObject({
  npus: count.describe('Ranks of this tower: tensor x pipeline x data parallel.'),
  tensorParallel: count.default(1),
  layersPerStage: layersPerStage.optional().describe('Layers per pipeline stage; left out, one stage holds all.'),
});

export const LayoutSpec = z
  .strictObject({
    hosts: count.max(1000, 'must be at most 1,000 hosts a gang').describe('--nnodes'),
    npusPerHost: count.max(64, 'must be at most 64').describe('--nproc_per_node'),
    tensorParallel: count.default(1).describe('--tensor-model-parallel-size, without distTrain'),
    contextParallel: count.default(1).describe('--context-parallel-size, without distTrain'),
    sequenceParallel: z.boolean().default(false).describe('--sequence-parallel, with tensorParallel above 1'),
    visionLayersPerStage: layersPerStage
      .optional()
      .describe('pipeline_num_layers of the vision tower, without distTrain'),
    languageLayersPerStage: layersPerStage
      .optional()
      .describe('pipeline_num_layers of the language tower, without distTrain'),
    virtualPipeline: z
      .strictObject({ visionLayersPerStage: layerRows, languageLayersPerStage: layerRows })
      .optional()
      .describe('--virtual-pipeline-model-parallel-size: every pipeline rank holds several stages.'),
    distTrain: z
      .strictObject({ vision: towerSplit, language: towerSplit })
      .optional()
      .describe('Dist-train: vision and language on ranks of their own.'),
  })
  .superRefine((layout, ctx) => {
    const worldSize = layout.hosts * layout.npusPerHost;
    const issue = (path: (string | number)[], message: string): void => ctx.addIssue({ code: 'custom', path, message });
    for (const [path, message] of virtualRules(layout)) issue(path, message);
    if (layout.distTrain !== undefined) {
      const { vision, language } = layout.distTrain;
      const named = vision.npus + language.npus;
      if (named !== worldSize)
        issue(
          ['distTrain'],
          `must name as many ranks as the gang has: vision ${String(vision.npus)} + language ${String(language.npus)} = ${String(named)}, ` +
            `but ${String(layout.hosts)} hosts x ${String(layout.npusPerHost)} NPUs = ${String(worldSize)}`,
        );
      for (const flat of ['visionLayersPerStage', 'languageLayersPerStage'] as const)
        if (layout[flat] !== undefined)
          issue(
            [flat],
            `must be left out with distTrain; use distTrain.${flat.startsWith('vision') ? 'vision' : 'language'}.layersPerStage`,
          );
      for (const shared of ['tensorParallel', 'contextParallel'] as const)
        if (layout[shared] !== 1)
          issue(
            [shared],
            shared === 'tensorParallel'
              ? 'must be left out with distTrain, where each tower has a tensorParallel of its own'
              : 'must be left out with distTrain, whose InternVL class splits no sequences',
          );
      if (layout.sequenceParallel)
        issue(['sequenceParallel'], 'must be left out with distTrain, where no tensor of the language tower is split');
      for (const tower of ['vision', 'language'] as const) {
        const split = layout.distTrain[tower];
        const replica = split.tensorParallel * (split.layersPerStage?.length ?? 1);
        if (split.npus % replica !== 0)
          issue(['distTrain', tower, 'npus'], `must be a multiple of tensorParallel x stages = ${String(replica)}`);
      }
      return;
    }
    if (layout.sequenceParallel && layout.tensorParallel === 1)
      issue(['sequenceParallel'], 'must be left out with tensorParallel 1: it splits sequences among tensor ranks');
    const { virtualPipeline } = layout;
    const vision = layout.visionLayersPerStage?.length ?? 1;
    const language = virtualPipeline?.languageLayersPerStage[0]?.length ?? layout.languageLayersPerStage?.length ?? 1;
    if (virtualPipeline === undefined && vision !== language)
      issue(
        ['visionLayersPerStage'],
        `must have as many stages as languageLayersPerStage (${String(language)}), but has ${String(vision)}`,
      );
    const replica = layout.tensorParallel * layout.contextParallel * language;
    if (worldSize % replica !== 0)
      issue(
        ['hosts'],
        `must give a world size that is a multiple of tensorParallel x contextParallel x stages = ${String(replica)}, ` +
          `but ${String(layout.hosts)} hosts x ${String(layout.npusPerHost)} NPUs = ${String(worldSize)}`,
      );
  });
export type LayoutSpec = z.output<typeof LayoutSpec>;

interface VirtualLayout {
  readonly virtualPipeline?:
    | {
        readonly visionLayersPerStage: readonly (readonly number[])[];
        readonly languageLayersPerStage: readonly (readonly number[])[];
      }
    | undefined;
  readonly distTrain?: object | undefined;
  readonly visionLayersPerStage?: readonly number[] | undefined;
  readonly languageLayersPerStage?: readonly number[] | undefined;
}

/** MindSpeed MM reads both lists as one table: as many rows and columns in both towers, and every row as long as the first. */
function* virtualRules(layout: VirtualLayout): Generator<[string[], string]> {
  const { virtualPipeline } = layout;
  if (virtualPipeline === undefined) return;
  if (layout.distTrain !== undefined)
    yield [['virtualPipeline'], 'must be left out with distTrain, whose schedule has no virtual stages'];
  const shape = virtualPipeline.languageLayersPerStage;
  const columns = shape[0]?.length ?? 0;
  if (shape.length < 2)
    yield [
      ['virtualPipeline'],
      'must give each rank at least two stages, one row for each; for one use visionLayersPerStage and languageLayersPerStage',
    ];
  if (columns < 2)
    yield [['virtualPipeline'], 'must have at least two pipeline ranks, one number for each in every row'];
  for (const name of ['visionLayersPerStage', 'languageLayersPerStage'] as const) {
    if (layout[name] !== undefined)
      yield [[name], `must be left out with virtualPipeline; use virtualPipeline.${name}`];
    const rows = virtualPipeline[name];
    if (rows.length !== shape.length)
      yield [
        ['virtualPipeline', name],
        `must have as many rows as languageLayersPerStage (${String(shape.length)}), but has ${String(rows.length)}`,
      ];
    const odd = rows.findIndex((row) => row.length !== columns);
    if (odd >= 0)
      yield [
        ['virtualPipeline', name],
        `must have ${String(columns)} numbers in every row, one for each pipeline rank, but row ${String(odd)} (counted from 0) has ${String(rows[odd]?.length ?? 0)}`,
      ];
  }
}
