/** What MindSpeed MM 2.2.0 cannot do together, by its code and its documents; checked before a host is taken. */
import { tensorPath } from '../../plan/split-rules.js';
import type { Refusal } from '../../spec/refusal.js';
import { featuresOf, hasDistributedOptimizer } from '../../spec/runtime.js';
import { runsInternvlScript } from './arguments.js';
import type { Job } from './job.js';
import { imageTokensPerTile } from './presets.js';

type Question = Omit<Job, 'profile'> & { readonly tilesPerImage: number };

export function checkFeatures(question: Question): readonly Refusal[] {
  const script = runsInternvlScript(question) ? internvlScriptRules(question) : vlmScriptRules(question);
  return [...optimizerRules(question), ...dataRules(question), ...recomputeRules(question), ...script];
}

function optimizerRules({ spec }: Question): Refusal[] {
  const { overlapGradientReduce, overlapParameterGather } = featuresOf(spec.runtime);
  if (overlapParameterGather !== true) return [];
  const found: Refusal[] = [];
  const path = 'runtime.overlapParameterGather';
  if (overlapGradientReduce !== true)
    found.push({
      path,
      value: true,
      rule: 'must go with overlapGradientReduce: Megatron refuses --overlap-param-gather without --overlap-grad-reduce',
      remedy: 'Set runtime.overlapGradientReduce to true as well, or leave both out.',
    });
  if (!hasDistributedOptimizer(spec.runtime))
    found.push({
      path,
      value: true,
      rule: 'must go with the distributed optimizer, which is what gathers parameters',
      remedy: 'Leave runtime.distributedOptimizer out, or this.',
    });
  return found;
}

function dataRules({ spec, model, tilesPerImage }: Question): Refusal[] {
  const found: Refusal[] = [];
  // An image that is cut is seen once more as a whole.
  const tiles = tilesPerImage > 1 ? tilesPerImage + 1 : 1;
  const perTile = imageTokensPerTile(model.dimensions);
  const tokens = tiles * perTile;
  const { sequenceLength, microBatchSize } = spec.training;
  // One that holds not even a single tile is refused for that.
  if (sequenceLength > perTile && sequenceLength <= tokens)
    found.push({
      path: 'training.sequenceLength',
      value: sequenceLength,
      rule:
        `must be more than ${String(tokens)}, the tokens of an image of ${String(tilesPerImage)} tiles and its thumbnail: ` +
        'MindSpeed MM would cut image tokens off without a word',
      remedy: `Use ${String(tokens + 768)} or more, or fewer tiles (data.maximumTiles).`,
    });
  const { encoderBalance } = featuresOf(spec.runtime);
  if (encoderBalance === true && microBatchSize * tiles > 127)
    found.push({
      path: 'runtime.encoderBalance',
      value: true,
      rule:
        `must be left out with up to ${String(microBatchSize)} x ${String(tiles)} = ${String(microBatchSize * tiles)} tiles in a micro-batch: ` +
        'MindSpeed MM counts them in a byte, up to 127',
      remedy: 'Lower training.microBatchSize or data.maximumTiles, or leave it out.',
    });
  return found;
}

function recomputeRules({ spec, model }: Question): Refusal[] {
  const asked = featuresOf(spec.runtime).recompute ?? {};
  return (['vision', 'language'] as const).flatMap((tower): Refusal[] => {
    const layers = asked[tower]?.layers ?? 0;
    const all = model.dimensions[tower].layers;
    if (layers <= all) return [];
    return [
      {
        path: `runtime.recompute.${tower}.layers`,
        value: layers,
        rule: `must be at most the ${String(all)} layers of the ${tower} tower`,
        remedy: 'Use 1 to recompute each layer by itself.',
      },
    ];
  });
}

/** pretrain_internvl.py: InternVL2.5, and Dist-train. */
function internvlScriptRules({ spec, model, layout }: Question): Refusal[] {
  const found: Refusal[] = [];
  const why = layout.distTrain ? 'with distTrain' : `with ${spec.model.family}`;
  const instead = layout.distTrain ? ', or leave out layout.distTrain' : '';
  const { lossPer, encoderBalance } = featuresOf(spec.runtime);
  const { vision, language } = layout;
  // Its get_batch skips rows on replicas after the first, and each tower counts what it has read by its own replicas (consumed_train_samples).
  const perLanguage = vision.dataParallel / language.dataParallel;
  if (layout.distTrain && perLanguage > 1 && Number.isInteger(perLanguage))
    found.push({
      path: 'layout.distTrain.vision.npus',
      value: vision.ranks,
      rule:
        `must give as many replicas as the language tower has (${String(language.dataParallel)}) on Ascend, but gives ${String(vision.dataParallel)}: ` +
        'with more, pretrain_internvl.py shows vision other rows than language, at the latest after a restart',
      remedy: `Use ${String(vision.ranks / perLanguage)} NPUs for the vision tower, and the rest for language.`,
    });
  if (spec.model.freeze.includes('projector'))
    found.push({
      path: 'model.freeze',
      value: spec.model.freeze,
      rule: `must not hold "projector" ${why}: pretrain_internvl.py reads only the freeze of the vision tower`,
      remedy: `Take "projector" out${instead}.`,
    });
  if (layout.language.tensorParallel > 1)
    found.push({
      path: tensorPath(layout, 'language'),
      value: layout.language.tensorParallel,
      rule: `must be 1 ${why}: pretrain_internvl.py takes the loss over the whole vocabulary, of which each tensor rank has only its part`,
      remedy: `Set it to 1 and use more pipeline stages${instead}.`,
    });
  if (layout.language.contextParallel > 1)
    found.push({
      path: 'layout.contextParallel',
      value: layout.language.contextParallel,
      rule: `must be 1 ${why}: MindSpeed MM 2.2.0 lists context parallelism for InternVL3 alone, whose pretrain_vlm.py cuts sequences for ring attention`,
      remedy: 'Set it to 1.',
    });
  if (model.dimensions.language.tieWordEmbeddings)
    found.push({
      path: 'model.dimensions.language.tieWordEmbeddings',
      value: true,
      rule: `must be false ${why}: pretrain_internvl.py gives the output layer weights of its own`,
      remedy: `Use a model with an output layer${instead}.`,
    });
  if (lossPer !== undefined && lossPer !== 'microBatch')
    found.push({
      path: 'runtime.lossPer',
      value: lossPer,
      rule: `must be microBatch ${why}: pretrain_internvl.py knows no other mean`,
      remedy: `Leave it out${instead}.`,
    });
  if (encoderBalance === true && layout.distTrain)
    found.push({
      path: 'runtime.encoderBalance',
      value: true,
      rule: 'must be left out with distTrain: nothing says that both work together',
      remedy: 'Give the vision tower more NPUs instead.',
    });
  else if (encoderBalance === true && layout.vision.dataParallel === 1)
    found.push({
      path: 'runtime.encoderBalance',
      value: true,
      rule: 'must be left out with a data parallel size of 1: tiles are balanced between replicas',
      remedy: 'Leave it out.',
    });
  return found;
}

/** pretrain_vlm.py: InternVL3 without Dist-train. */
function vlmScriptRules({ spec }: Question): Refusal[] {
  if (featuresOf(spec.runtime).encoderBalance !== true) return [];
  return [
    {
      path: 'runtime.encoderBalance',
      value: true,
      rule: 'must be left out with internvl3: pretrain_vlm.py of 2.2.0 passes the balance on under a misspelt name, so the model gets none and fails',
      remedy: 'Leave it out.',
    },
  ];
}
