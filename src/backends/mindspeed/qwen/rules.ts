/** What a spec may ask of Qwen2.5-VL, by the code and the documents of MindSpeed MM 2.2.0. */
import type { Refusal } from '../../../spec/refusal.js';
import { featuresOf } from '../../../spec/runtime.js';
import type { Question } from '../job.js';
import { imageCounts } from './image.js';

/** On every runtime: images have no tiles, and as many tokens as they have pixels for. */
export function qwenRules({ spec }: Question): readonly Refusal[] {
  const found: Refusal[] = [];
  for (const name of ['imageTokens', 'maximumTiles'] as const)
    if (spec.data[name] !== undefined)
      found.push({
        path: `data.${name}`,
        value: spec.data[name],
        rule: 'must be left out with qwen2.5-vl, which cuts no tiles and makes the more tokens of an image the larger it is',
        remedy: 'Remove it.',
      });
  const { tokensPerTile } = imageCounts();
  const { sequenceLength } = spec.training;
  if (sequenceLength <= tokensPerTile)
    found.push({
      path: 'training.sequenceLength',
      value: sequenceLength,
      rule: `must be more than ${String(tokensPerTile)}, the most tokens of an image, so that a question fits beside it`,
      remedy: 'Use 1024, as published.',
    });
  return found;
}

/** On Ascend. */
export function qwenAscendRules({ spec, layout }: Question): readonly Refusal[] {
  const { dataBuckets, encoderBalance } = featuresOf(spec.runtime);
  const found: Refusal[] = [];
  if (layout.distTrain)
    found.push({
      path: 'layout.distTrain',
      value: spec.layout.distTrain,
      rule: 'must be left out with qwen2.5-vl: Dist-train of MindSpeed MM 2.2.0 knows InternVL and OpenSoraPlan alone',
      remedy: 'Use visionLayersPerStage and languageLayersPerStage.',
    });
  if (layout.virtualStages > 1)
    found.push({
      path: 'layout.virtualPipeline',
      value: spec.layout.virtualPipeline,
      rule: 'must be left out with qwen2.5-vl: MindSpeed MM 2.2.0 lists no virtual stages for it, and cannot bring them back into a model to publish',
      remedy: 'Use visionLayersPerStage and languageLayersPerStage.',
    });
  if (encoderBalance === true)
    found.push({
      path: 'runtime.encoderBalance',
      value: true,
      rule: 'must be left out with qwen2.5-vl: MindSpeed MM 2.2.0 balances the tiles of InternViT and no other tower',
      remedy: 'Leave it out.',
    });
  if (dataBuckets !== undefined)
    found.push({
      path: 'runtime.dataBuckets',
      value: dataBuckets,
      rule: 'must be left out with qwen2.5-vl: MindSpeed MM 2.2.0 lists buckets for InternVL2 and Qwen2-VL alone',
      remedy: 'Leave it out.',
    });
  if (spec.training.initFrom !== undefined)
    found.push({
      path: 'training.initFrom',
      value: spec.training.initFrom.uri,
      rule: 'must be left out with qwen2.5-vl: nothing here can cut a save folder of this family for another layout',
      remedy: 'Bring it back with mm-convert Qwen2_5_VLConverter mm_to_hf, and name what comes out as model.source.',
    });
  return found;
}
