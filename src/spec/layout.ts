/** How the ranks of a gang share the model. `--x` names the Megatron flag. */
import { z } from 'zod';
import { count, countOrZero } from './numbers.js';

/** Layers on each pipeline stage of a module, first stage first. */
const layersPerStage = z.array(countOrZero).min(1, 'must name the layers of at least one stage').max(64);

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
    visionLayersPerStage: layersPerStage
      .optional()
      .describe('pipeline_num_layers of the vision tower, without distTrain'),
    languageLayersPerStage: layersPerStage
      .optional()
      .describe('pipeline_num_layers of the language tower, without distTrain'),
    distTrain: z
      .strictObject({ vision: towerSplit, language: towerSplit })
      .optional()
      .describe('Dist-train: vision and language on ranks of their own.'),
  })
  .superRefine((layout, ctx) => {
    const worldSize = layout.hosts * layout.npusPerHost;
    const issue = (path: (string | number)[], message: string): void => ctx.addIssue({ code: 'custom', path, message });
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
      for (const tower of ['vision', 'language'] as const) {
        const split = layout.distTrain[tower];
        const replica = split.tensorParallel * (split.layersPerStage?.length ?? 1);
        if (split.npus % replica !== 0)
          issue(['distTrain', tower, 'npus'], `must be a multiple of tensorParallel x stages = ${String(replica)}`);
      }
      return;
    }
    const vision = layout.visionLayersPerStage?.length ?? 1;
    const language = layout.languageLayersPerStage?.length ?? 1;
    if (vision !== language)
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
