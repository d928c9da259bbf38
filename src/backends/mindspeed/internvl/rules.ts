/** What a spec may ask of InternVL: sizes that divide, images that fit, and what its two entry scripts have no word for. */
import { tensorPath } from '../../../plan/split-rules.js';
import type { Refusal } from '../../../spec/refusal.js';
import { featuresOf } from '../../../spec/runtime.js';
import type { Question } from '../job.js';
import { imageTokensPerTile, type InternvlPreset } from './presets.js';
import { runsInternvlScript } from './script.js';
import { tilesPerImage, tilesSeen } from './tiles.js';

/** On every runtime. */
export function internvlRules(preset: InternvlPreset, question: Question): readonly Refusal[] {
  return [...dividing(preset), ...tokenRules(preset, question)];
}

/** Numbers that must divide without rest, so that heads and patches are whole. */
function dividing({ dimensions }: InternvlPreset): Refusal[] {
  const { vision, language, downsampleRatio } = dimensions;
  const rules = [
    ['vision.hiddenSize', vision.hiddenSize, vision.attentionHeads, 'attentionHeads'],
    ['vision.imageSize', vision.imageSize, vision.patchSize, 'patchSize'],
    ['language.hiddenSize', language.hiddenSize, language.attentionHeads, 'attentionHeads'],
    ['language.attentionHeads', language.attentionHeads, language.keyValueHeads, 'keyValueHeads'],
  ] as const;
  const found = rules
    .filter(([, value, divisor]) => value % divisor !== 0)
    .map(([path, value, divisor, name]) => ({
      path: `model.dimensions.${path}`,
      value,
      rule: `must be a multiple of ${name} = ${String(divisor)}`,
      remedy: `Take both from the model's config.json; ${String(Math.ceil(value / divisor) * divisor)} would divide.`,
    }));
  const side = (vision.imageSize / vision.patchSize) * downsampleRatio;
  if (found.length > 0 || (Number.isInteger(side) && side >= 1)) return found;
  return [
    {
      path: 'model.dimensions.downsampleRatio',
      value: downsampleRatio,
      rule: `must leave a whole number of tokens per side of an image, but leaves ${String(side)}`,
      remedy: "Take it from the model's config.json; InternVL3 has 0.5.",
    },
  ];
}

function tokenRules({ dimensions }: InternvlPreset, { spec }: Question): Refusal[] {
  const tokens = imageTokensPerTile(dimensions);
  if (spec.data.imageTokens !== undefined && spec.data.imageTokens !== tokens)
    return [
      {
        path: 'data.imageTokens',
        value: spec.data.imageTokens,
        rule: `must be ${String(tokens)}, the tokens that this model makes of one image tile`,
        remedy: 'Leave it out.',
      },
    ];
  const { sequenceLength } = spec.training;
  if (sequenceLength > tokens) return [];
  return [
    {
      path: 'training.sequenceLength',
      value: sequenceLength,
      rule: `must be more than ${String(tokens)}, the tokens of one image tile, so that a question fits beside it`,
      remedy: `Use at least ${String(tokens * 2)}.`,
    },
  ];
}

/** On Ascend. */
export function internvlAscendRules(preset: InternvlPreset, question: Question): readonly Refusal[] {
  const script = runsInternvlScript(preset, question.layout)
    ? internvlScriptRules(preset, question)
    : vlmScriptRules(question);
  return [...consentRules(question), ...dataRules(preset, question), ...script];
}

function consentRules({ spec }: Question): Refusal[] {
  if (spec.model.trustRemoteCode) return [];
  return [
    {
      path: 'model.trustRemoteCode',
      value: false,
      rule: "must be true on Ascend: MindSpeed MM's converter runs the configuration code that lies in the model folder",
      remedy: 'Read that code (configuration_*.py), then set it to true.',
    },
  ];
}

function dataRules(preset: InternvlPreset, { spec }: Question): Refusal[] {
  const found: Refusal[] = [];
  const tiles = tilesSeen(preset, spec);
  const perTile = imageTokensPerTile(preset.dimensions);
  const tokens = tiles * perTile;
  const { sequenceLength, microBatchSize } = spec.training;
  // One that holds not even a single tile is refused for that.
  if (sequenceLength > perTile && sequenceLength <= tokens)
    found.push({
      path: 'training.sequenceLength',
      value: sequenceLength,
      rule:
        `must be more than ${String(tokens)}, the tokens of an image of ${String(tilesPerImage(preset, spec))} tiles and its thumbnail: ` +
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

/** pretrain_internvl.py: InternVL2.5, and Dist-train. */
function internvlScriptRules({ family, dimensions }: InternvlPreset, { spec, layout }: Question): Refusal[] {
  const found: Refusal[] = [];
  const why = layout.distTrain ? 'with distTrain' : `with ${family}`;
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
  if (dimensions.language.tieWordEmbeddings)
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
