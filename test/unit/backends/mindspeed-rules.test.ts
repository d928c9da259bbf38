/**
 * The rules of MindSpeed MM 2.2.0 (@67f617f0), MindSpeed (@5176c6f5) and Megatron (core_v0.12.1) that a spec can break, in the order of
 * their sources, each with a spec that breaks it and the whole message. Below stand those that no spec can break, or that only the
 * files of a run can tell, each with the test that holds it.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { composePlan } from '../../../src/backends/compose-plan.js';
import { INTERNVL_PRESETS } from '../../../src/backends/mindspeed/internvl/presets.js';
import { checkSpec } from '../../../src/spec/check.js';
import { showRefusal } from '../../../src/spec/refusal.js';
import type { RunSpecInput } from '../../../src/spec/run.js';
import { demoInput, publishedInput, publishedQwenInput } from './specs.js';
import { TINY_VIRTUAL } from '../../support/demo-plan.js';

type Layout = RunSpecInput['layout'];
type Asked = Omit<Extract<RunSpecInput['runtime'], { kind: 'ascend' }>, 'kind' | 'mindspeedRelease'>;

const ascend = { kind: 'ascend', mindspeedRelease: '2.2.0' } as const;
const layout = (change: object): RunSpecInput => ({ ...publishedInput, layout: change as Layout });
const asking = (change: Asked, more: Partial<RunSpecInput> = {}): RunSpecInput => ({
  ...publishedInput,
  runtime: { ...ascend, ...change },
  ...more,
});
const training = (change: Partial<RunSpecInput['training']>, more: Partial<RunSpecInput> = {}): RunSpecInput => ({
  ...publishedInput,
  ...more,
  training: { ...publishedInput.training, ...change },
});
const model = (change: Partial<RunSpecInput['model']>, more: Partial<RunSpecInput> = {}): RunSpecInput => ({
  ...publishedInput,
  ...more,
  model: { ...publishedInput.model, ...change },
});
const adapted = (input: RunSpecInput): RunSpecInput => ({
  ...input,
  model: { ...input.model, lora: { rank: 8, alpha: 16 } },
});
const four = { hosts: 1, npusPerHost: 4 };
const host = { hosts: 1, npusPerHost: 8 };
const qwen = (change: Partial<RunSpecInput>): RunSpecInput => ({ ...publishedQwenInput, ...change });
const virtual = (vision: number[][], language: number[][], more: object = {}): RunSpecInput => ({
  ...publishedInput,
  layout: {
    ...four,
    virtualPipeline: { visionLayersPerStage: vision, languageLayersPerStage: language },
    ...more,
  },
});
const apart = (vision: object, language: object, npus: number, more: object = {}): RunSpecInput =>
  layout({
    hosts: 1,
    npusPerHost: npus,
    distTrain: { vision: { npus: 1, ...vision }, language: { npus: 1, ...language } },
    ...more,
  });
const old = { ...publishedInput.model, family: 'internvl2.5', preset: 'internvl2.5-4b' } as const;
const [eight, older] = [INTERNVL_PRESETS['internvl3-8b'].dimensions, INTERNVL_PRESETS['internvl2.5-4b'].dimensions];

/** Every sentence by which a spec is refused, by schema or by plan. */
function refusalsOf(input: unknown): string[] {
  const checked = checkSpec(input);
  if ('refusals' in checked) return checked.refusals.map(showRefusal);
  const composed = composePlan(checked.spec);
  return 'refusals' in composed ? composed.refusals.map(showRefusal) : [];
}

const RULES: readonly (readonly [source: string, rule: string, broken: unknown, message: string])[] = [
  // The converter: checkpoint/vlm_model, converters/internvl.py.
  [
    'mm-convert',
    'both towers have as many pipeline ranks',
    layout({ ...four, visionLayersPerStage: [24, 0], languageLayersPerStage: [7, 7, 7, 7] }),
    'layout.visionLayersPerStage is [24,0]: it must have as many stages as languageLayersPerStage (4), but has 2. Give both towers lists of one length; 0 layers on a stage are allowed.',
  ],
  [
    'mm-convert',
    'both towers have as many virtual stages',
    virtual(
      [
        [24, 0],
        [0, 0],
        [0, 0],
      ],
      [
        [7, 7],
        [7, 7],
      ],
    ),
    'layout.virtualPipeline.visionLayersPerStage is [[24,0],[0,0],[0,0]]: it must have as many rows as languageLayersPerStage (2), but has 3. Give both towers as many rows, and every row one number for each pipeline rank; 0 layers on a stage are allowed.',
  ],
  [
    'mm-convert, vlm_model.py: PP x VP = rows x columns',
    'every virtual stage names all pipeline ranks',
    virtual(
      [
        [24, 0],
        [0, 0],
      ],
      [
        [7, 7],
        [7, 7, 0],
      ],
    ),
    'layout.virtualPipeline.languageLayersPerStage is [[7,7],[7,7,0]]: it must have 2 numbers in every row, one for each pipeline rank, but row 1 (counted from 0) has 3. Give both towers as many rows, and every row one number for each pipeline rank; 0 layers on a stage are allowed.',
  ],
  [
    'mm-convert',
    'vision layers add up (an old guide says [[28]])',
    layout({ hosts: 1, npusPerHost: 1, visionLayersPerStage: [28] }),
    'layout.visionLayersPerStage is [28]: it must add up to the 24 layers of the vision tower, but adds up to 28. Share out 24 layers, e.g. [24].',
  ],
  [
    'mm-convert',
    'language layers add up, over virtual stages too',
    virtual(
      [
        [24, 0],
        [0, 0],
      ],
      [
        [7, 7],
        [7, 8],
      ],
    ),
    'layout.virtualPipeline.languageLayersPerStage is [[7,7],[7,8]]: it must add up to the 28 layers of the language tower, but adds up to 29. Share out 28 layers, e.g. [[7,7],[7,7]].',
  ],
  [
    'mm-convert',
    'the tensor size divides the key-value heads',
    layout({ hosts: 1, npusPerHost: 8, tensorParallel: 8 }),
    'layout.tensorParallel is 8: it must divide the 4 key-value heads of the language tower. Use one of 1, 2, 4.',
  ],
  [
    'mm-convert: drops the remainder without a word',
    'the tensor size divides the width of the feed-forward part',
    model(
      { preset: undefined, dimensions: { ...eight, vision: { ...eight.vision, ffnHiddenSize: 4098 } } },
      {
        layout: { hosts: 1, npusPerHost: 4, tensorParallel: 4 },
      },
    ),
    'layout.tensorParallel is 4: it must divide the ffnHiddenSize of the vision tower, 4098. Use one of 1, 2, 3.',
  ],
  [
    'mm-convert: a rank without a head',
    'the tensor size is at most the attention heads',
    apart({ npus: 32, tensorParallel: 32 }, {}, 33),
    'layout.distTrain.vision.tensorParallel is 32: it must be at most the 16 attention heads of the vision tower. Use 16 or less.',
  ],
  [
    'mm-convert asks on its standard input',
    'code in the model folder runs with consent alone',
    model({ trustRemoteCode: false }),
    "model.trustRemoteCode is false: it must be true on Ascend: MindSpeed MM's converter runs the configuration code that lies in the model folder. Read that code (configuration_*.py), then set it to true.",
  ],
  // model.json and data.json: mindspeed_mm/models, pretrain_*.py, data/.
  [
    'troubleshooting.md: a bare AssertionError at the first line',
    'every stage has something to train',
    layout({ ...four, visionLayersPerStage: [12, 12, 0, 0], languageLayersPerStage: [0, 8, 10, 10] }),
    'layout.languageLayersPerStage is [0,8,10,10]: it must leave something to train on every stage, but stage 0 (counted from 0) holds only what stays frozen: vision. Give that stage a layer that is trained, use fewer stages, or take the tower out of model.freeze.',
  ],
  [
    'model_8B_vpp.json has freeze false for it',
    'so has every virtual stage',
    virtual(
      [
        [12, 12],
        [0, 0],
      ],
      [
        [0, 8],
        [10, 10],
      ],
    ),
    'layout.virtualPipeline.languageLayersPerStage is [[0,8],[10,10]]: it must leave something to train on every stage, but virtual stage 0 of pipeline rank 0 (counted from 0) holds only what stays frozen: vision. Give that stage a layer that is trained, use fewer stages, or take the tower out of model.freeze.',
  ],
  [
    'vlm_model.py: what is seen goes into the embeddings',
    'vision ends before language begins',
    layout({ hosts: 1, npusPerHost: 2, visionLayersPerStage: [12, 12], languageLayersPerStage: [14, 14] }),
    'layout.visionLayersPerStage is [12,12]: it must end before the language tower begins: its last layer is on stage 1, the first of the language tower on stage 0 (counted from 0). Move the vision layers to the front, or put 0 language layers on the first stages.',
  ],
  [
    'pretrain_vlm.py reads the freeze of vision and projector',
    'the language tower cannot stay frozen',
    model({ freeze: ['language'] }, { layout: { hosts: 1, npusPerHost: 8 } }),
    'model.freeze is ["language"]: it must not hold "language": MindSpeed MM 2.2.0 has no switch for it and would train the language tower. Take "language" out.',
  ],
  [
    'pretrain_internvl.py reads the freeze of vision alone',
    'nor there the projector',
    model({ ...old, freeze: ['projector'] }, { layout: { hosts: 1, npusPerHost: 8 } }),
    'model.freeze is ["projector"]: it must not hold "projector" with internvl2.5: pretrain_internvl.py reads only the freeze of the vision tower. Take "projector" out.',
  ],
  [
    'multimodal_dataset.py cuts what is too long',
    'an image of all its tiles fits the sequence',
    training({ sequenceLength: 3328 }),
    'training.sequenceLength is 3328: it must be more than 3328, the tokens of an image of 12 tiles and its thumbnail: MindSpeed MM would cut image tokens off without a word. Use 4096 or more, or fewer tiles (data.maximumTiles).',
  ],
  [
    'validate_args: max_position_embeddings >= seq_length',
    'the sequence fits the model',
    training({ sequenceLength: 65536 }),
    'training.sequenceLength is 65536: it must be at most 32768, the longest sequence of this model. Use 32768 or less.',
  ],
  [
    'validate_args: min_lr <= lr',
    'the smallest learning rate is the smaller one',
    training({ minimumLearningRate: 1 }),
    'training.minimumLearningRate is 1: it must be at most training.learningRate = 0.00002. Use a smaller number, or leave it out for 0.',
  ],
  [
    'validate_args: hidden_size % heads',
    'heads are whole',
    model({ preset: undefined, dimensions: { ...eight, language: { ...eight.language, attentionHeads: 24 } } }),
    "model.dimensions.language.hiddenSize is 3584: it must be a multiple of attentionHeads = 24. Take both from the model's config.json; 3600 would divide.",
  ],
  [
    'validate_args: world size % (TP x PP x CP)',
    'replicas are whole',
    layout({ hosts: 1, npusPerHost: 6, visionLayersPerStage: [24, 0, 0, 0], languageLayersPerStage: [6, 8, 8, 6] }),
    'layout.hosts is 1: it must give a world size that is a multiple of tensorParallel x contextParallel x stages = 4, but 1 hosts x 6 NPUs = 6. Change hosts or npusPerHost, or use fewer tensorParallel, contextParallel or stages.',
  ],
  [
    'num_microbatches_calculator',
    'replicas share the global batch',
    training({ globalBatchSize: 129 }),
    'training.globalBatchSize is 129: it must be a multiple of microBatchSize x data parallel size = 1 x 2 = 2. Use 130.',
  ],
  [
    'validate_args: seq_length % (2 x CP)',
    'ring attention cuts a sequence into whole pieces',
    training({ sequenceLength: 4098 }, { layout: { hosts: 1, npusPerHost: 8, contextParallel: 2 } }),
    'training.sequenceLength is 4098: it must be a multiple of 2 x contextParallel = 4. Use 4100.',
  ],
  [
    'README: CP (Ring) for InternVL3 alone',
    'no context parallelism where pretrain_internvl.py trains',
    model({ ...old, freeze: [] }, { layout: { hosts: 1, npusPerHost: 8, contextParallel: 2 } }),
    'layout.contextParallel is 2: it must be 1 with internvl2.5: MindSpeed MM 2.2.0 lists context parallelism for InternVL3 alone, whose pretrain_vlm.py cuts sequences for ring attention. Set it to 1.',
  ],
  [
    'pretrain_internvl.py: CrossEntropyLoss over vocab_size',
    'no tensors split there',
    model(old, { layout: { hosts: 1, npusPerHost: 8, tensorParallel: 2 } }),
    'layout.tensorParallel is 2: it must be 1 with internvl2.5: pretrain_internvl.py takes the loss over the whole vocabulary, of which each tensor rank has only its part. Set it to 1 and use more pipeline stages.',
  ],
  [
    'internvl_model.py: share_embeddings_and_output_weights False',
    'no tied output layer there',
    model(
      {
        ...old,
        preset: undefined,
        dimensions: { ...older, language: { ...older.language, tieWordEmbeddings: true } },
      },
      { layout: { hosts: 1, npusPerHost: 8 } },
    ),
    'model.dimensions.language.tieWordEmbeddings is true: it must be false with internvl2.5: pretrain_internvl.py gives the output layer weights of its own. Use a model with an output layer.',
  ],
  [
    'arguments.py sets sequence_parallel to false',
    'sequence parallelism needs split tensors',
    layout({ hosts: 1, npusPerHost: 8, sequenceParallel: true }),
    'layout.sequenceParallel is true: it must be left out with tensorParallel 1: it splits sequences among tensor ranks. Remove it.',
  ],
  // Qwen2.5-VL: examples/qwen2.5vl, converters/qwen2_5vl.py, data/datasets/qwen2vl_dataset.py.
  [
    'model_*b.json',
    'the family comes in the published sizes',
    model({ family: 'qwen2.5-vl', preset: undefined, dimensions: eight }),
    'model.dimensions is {"vision":{"layers":24,"hiddenSize":1024,"ffnHiddenSize":4096,"attentionHeads...: it must be left out with qwen2.5-vl: they describe a tower of InternVL, which has no windows and no merger. Take a preset of the family, such as qwen2.5-vl-7b; its sizes are those of MindSpeed MM.',
  ],
  [
    'dist_train_config.py: internvl2 and opensoraplan1.3',
    'no Dist-train for Qwen2.5-VL',
    qwen({
      model: { ...publishedQwenInput.model, freeze: [] },
      layout: { ...four, distTrain: { vision: { npus: 2 }, language: { npus: 2 } } },
    }),
    'layout.distTrain is {"vision":{"npus":2,"tensorParallel":1},"language":{"npus":2,"tensorParallel"...: it must be left out with qwen2.5-vl: Dist-train of MindSpeed MM 2.2.0 knows InternVL and OpenSoraPlan alone. Use visionLayersPerStage and languageLayersPerStage.',
  ],
  [
    "README's table of features; mm_to_hf and resplit know no virtual stages",
    'no virtual stages for Qwen2.5-VL',
    qwen({
      layout: {
        ...four,
        virtualPipeline: {
          visionLayersPerStage: [
            [32, 0],
            [0, 0],
          ],
          languageLayersPerStage: [
            [7, 7],
            [7, 7],
          ],
        },
      },
    }),
    'layout.virtualPipeline is {"visionLayersPerStage":[[32,0],[0,0]],"languageLayersPerStage":[[7,7],[7,7]]}: it must be left out with qwen2.5-vl: MindSpeed MM 2.2.0 lists no virtual stages for it, and cannot bring them back into a model to publish. Use visionLayersPerStage and languageLayersPerStage.',
  ],
  [
    'config.py: num_key_value_heads % tp_size',
    'the 3B, with two key-value heads, is cut in two at most',
    qwen({
      model: { ...publishedQwenInput.model, preset: 'qwen2.5-vl-3b' },
      layout: { hosts: 1, npusPerHost: 8, tensorParallel: 4 },
    }),
    'layout.tensorParallel is 4: it must divide the 2 key-value heads of the language tower. Use one of 1, 2.',
  ],
  [
    'vlm_model.py: encoder_dp_enable is of InternViT',
    'no encoder balance for Qwen2.5-VL',
    qwen({ runtime: { ...ascend, encoderBalance: true } }),
    'runtime.encoderBalance is true: it must be left out with qwen2.5-vl: MindSpeed MM 2.2.0 balances the tiles of InternViT and no other tower. Leave it out.',
  ],
  [
    'bucket_reordering.md: InternVL2 and Qwen2VL',
    'no buckets for Qwen2.5-VL',
    qwen({ runtime: { ...ascend, dataBuckets: 'accuracy' } }),
    'runtime.dataBuckets is "accuracy": it must be left out with qwen2.5-vl: MindSpeed MM 2.2.0 lists buckets for InternVL2 and Qwen2-VL alone. Leave it out.',
  ],
  [
    'pretrain_vlm.py freezes vision and projector alone',
    'the language tower of Qwen2.5-VL is trained',
    qwen({ model: { ...publishedQwenInput.model, freeze: ['language', 'projector'] }, layout: host }),
    'model.freeze is ["language","projector"]: it must not hold "language": MindSpeed MM 2.2.0 has no switch for it and would train the language tower. Take "language" out.',
  ],
  [
    'training.py: a rank whose optimizer has nothing to train',
    'no stage of Qwen2.5-VL holds frozen vision alone',
    qwen({ layout: { ...host, visionLayersPerStage: [32, 0], languageLayersPerStage: [0, 28] } }),
    'layout.languageLayersPerStage is [0,28]: it must leave something to train on every stage, but stage 0 (counted from 0) holds only what stays frozen: vision and projector. Give that stage a layer that is trained, use fewer stages, or take the tower out of model.freeze.',
  ],
  [
    'anneal_trainer.start_from reads InternVL alone',
    'Qwen2.5-VL begins from a publisher’s model',
    qwen({ training: { ...publishedQwenInput.training, initFrom: { uri: 'file:///data/save_dir' } } }),
    'training.initFrom is "file:///data/save_dir": it must be left out with qwen2.5-vl: nothing here can cut a save folder of this family for another layout. Bring it back with mm-convert Qwen2_5_VLConverter mm_to_hf, and name what comes out as model.source.',
  ],
  [
    'mm_plugin.py: an image is as long as it is large',
    'images of Qwen2.5-VL have no number of tokens',
    qwen({ data: { ...publishedQwenInput.data, imageTokens: 256 } }),
    'data.imageTokens is 256: it must be left out with qwen2.5-vl, which cuts no tiles and makes the more tokens of an image the larger it is. Remove it.',
  ],
  [
    'mm_plugin.py: no tiles',
    'images of Qwen2.5-VL have no tiles',
    qwen({ data: { ...publishedQwenInput.data, maximumTiles: 12 } }),
    'data.maximumTiles is 12: it must be left out with qwen2.5-vl, which cuts no tiles and makes the more tokens of an image the larger it is. Remove it.',
  ],
  [
    'convert.py: rows are cut at seq_length, image tokens too',
    'the largest image of Qwen2.5-VL fits',
    qwen({ training: { ...publishedQwenInput.training, sequenceLength: 446 } }),
    'training.sequenceLength is 446: it must be more than 446, the most tokens of an image, so that a question fits beside it. Use 1024, as published.',
  ],
  [
    'model_*b.json: max_position_embeddings',
    'no sequence of Qwen2.5-VL is longer than its positions',
    qwen({ training: { ...publishedQwenInput.training, sequenceLength: 131072 } }),
    'training.sequenceLength is 131072: it must be at most 128000, the longest sequence of this model. Use 128000 or less.',
  ],
  // LoRA: mindspeed_mm/tasks/finetune/lora, and the tuners of peft 0.7.1.
  [
    'arguments.py: its flags',
    'adapters are a group of the model',
    model({ loraRank: 8 } as never),
    'model.loraRank is 8: it must not be there: LoRA is a group of the model, and the base model is found by itself. Write model.lora with rank and alpha.',
  ],
  [
    'lora_patch.py, line 160',
    'adapters have no virtual stages',
    adapted(
      virtual(
        [
          [24, 0, 0, 0],
          [0, 0, 0, 0],
        ],
        [
          [3, 4, 4, 3],
          [3, 4, 4, 3],
        ],
      ),
    ),
    'layout.virtualPipeline is {"visionLayersPerStage":[[24,0,0,0],[0,0,0,0]],"languageLayersPerStage":[[3,4...: it must be left out with model.lora: MindSpeed MM 2.2.0 looks for the one "model" of a checkpoint, and virtual stages have several. Use visionLayersPerStage and languageLayersPerStage.',
  ],
  [
    'peft tp_layer.py; Megatron finalize_model_grads.py, line 204',
    'adapters have no sequence parallelism',
    adapted(layout({ ...host, tensorParallel: 2, sequenceParallel: true })),
    'layout.sequenceParallel is true: it must be false with model.lora: each tensor rank would train its copy of an adapter on its own part of the sequence, and nothing sums them. Leave it out.',
  ],
  [
    'MindSpeed unaligned_layers/adaptor.py: fusion_number',
    'heads of an adapted vision tower lie evenly on tensor ranks',
    adapted(model({ preset: 'internvl3-78b', freeze: [] }, { layout: { ...host, tensorParallel: 8 } })),
    'layout.tensorParallel is 8: it must divide the 25 attention heads of the vision tower with model.lora: an adapter is cut evenly, and the heads would not be. Freeze the vision tower, or use a size that divides.',
  ],
  [
    'lora_patch.py, line 98',
    'no adapter stands in a vision tower that is computed again',
    adapted(
      asking(
        { recompute: { vision: { method: 'uniform', layers: 1 } } },
        { model: { ...publishedInput.model, freeze: [] } },
      ),
    ),
    'runtime.recompute.vision is {"method":"uniform","layers":1}: it must be left out with model.lora: images need no gradient, so adapters of a recomputed vision tower would get none, without a word. Give runtime.recompute without vision, or freeze the vision tower.',
  ],
  [
    'Megatron finalize_model_grads.py, line 148',
    'a tied embedding that is frozen lies on one stage',
    adapted(
      qwen({
        model: { ...publishedQwenInput.model, preset: 'qwen2.5-vl-3b' },
        layout: { ...host, visionLayersPerStage: [32, 0], languageLayersPerStage: [16, 20] },
      }),
    ),
    'layout.languageLayersPerStage is [16,20]: it must be one stage with model.lora and this model: its output layer is its embedding, whose gradient Megatron sums over the pipeline and would not find. Use one stage, and tensorParallel instead.',
  ],
  [
    'lora_patch.py, line 88: a stage without an adapter is not wrapped',
    'every stage has an adapter',
    model(
      { freeze: ['vision'], lora: { rank: 8, alpha: 16, targets: ['linear_qkv'] } },
      { layout: { ...four, visionLayersPerStage: [24, 0, 0, 0], languageLayersPerStage: [0, 10, 9, 9] } },
    ),
    'layout.languageLayersPerStage is [0,10,9,9]: it must leave something to train on every stage, but stage 0 (counted from 0) holds only what stays frozen: vision and projector. Give that stage a layer that is trained, use fewer stages, or take the tower out of model.freeze.',
  ],
  [
    'nothing in MindSpeed MM',
    'adapters have no Dist-train',
    adapted(apart({}, {}, 2)),
    'layout.distTrain is {"vision":{"npus":1,"tensorParallel":1},"language":{"npus":1,"tensorParallel"...: it must be left out with model.lora: nothing in MindSpeed MM 2.2.0 says that both work together. Use visionLayersPerStage and languageLayersPerStage.',
  ],
  // Dist-train: mindspeed/core/multi_modal/dist_train.
  [
    'dist_train_config.py: the sum of world_size',
    'the towers share out all ranks',
    apart({}, {}, 3),
    'layout.distTrain is {"vision":{"npus":1},"language":{"npus":1}}: it must name as many ranks as the gang has: vision 1 + language 1 = 2, but 1 hosts x 3 NPUs = 3. Change npus of a tower, or hosts or npusPerHost, until both numbers are equal.',
  ],
  [
    'dist_train_config.py: world_size % (tp x pp x cp)',
    'replicas of a tower are whole',
    apart({}, { npus: 3, layersPerStage: [14, 14] }, 4),
    'layout.distTrain.language.npus is 3: it must be a multiple of tensorParallel x stages = 2. Take a multiple of that number, or change tensorParallel or layersPerStage of the tower.',
  ],
  [
    'dist-train.md: equal DP, or main_dp and a multiple; a wrong one hangs',
    'vision has a multiple of the replicas of language',
    apart({}, { npus: 2 }, 3),
    'layout.distTrain.vision.npus is 1: it must give a data parallel size that is a multiple of that of the language tower (2), but gives 1. Use 2 NPUs for the vision tower, or fewer replicas of the language tower.',
  ],
  [
    'pretrain_internvl.py get_batch, training.py consumed_train_samples',
    'and on Ascend not more than those',
    apart({ npus: 4 }, { npus: 4, layersPerStage: [14, 14] }, 8),
    'layout.distTrain.vision.npus is 4: it must give as many replicas as the language tower has (2) on Ascend, but gives 4: with more, pretrain_internvl.py shows vision other rows than language, at the latest after a restart. Use 2 NPUs for the vision tower, and the rest for language.',
  ],
  [
    'dist_schedules.py: 1F1B alone',
    'no virtual stages',
    virtual(
      [
        [24, 0],
        [0, 0],
      ],
      [
        [7, 7],
        [7, 7],
      ],
      { hosts: 1, npusPerHost: 2, distTrain: { vision: { npus: 1 }, language: { npus: 1 } } },
    ),
    'layout.virtualPipeline is {"visionLayersPerStage":[[24,0],[0,0]],"languageLayersPerStage":[[7,7],[7,7]]}: it must be left out with distTrain, whose schedule has no virtual stages. Remove virtualPipeline or distTrain.',
  ],
  [
    'internvl_model.py in a sub-world',
    'no context parallelism',
    apart({}, {}, 2, { contextParallel: 2 }),
    'layout.contextParallel is 2: it must be left out with distTrain, whose InternVL class splits no sequences. Remove it.',
  ],
  [
    'pretrain_internvl.py',
    'no tensors of the language tower split',
    apart({}, { npus: 2, tensorParallel: 2 }, 3),
    'layout.distTrain.language.tensorParallel is 2: it must be 1 with distTrain: pretrain_internvl.py takes the loss over the whole vocabulary, of which each tensor rank has only its part. Set it to 1 and use more pipeline stages, or leave out layout.distTrain.',
  ],
  [
    'a stage without layers has no parameters',
    'every stage of a tower has a layer',
    apart({}, { npus: 2, layersPerStage: [28, 0] }, 3),
    'layout.distTrain.language.layersPerStage is [28,0]: it must leave something to train on every stage, but stage 1 (counted from 0) holds no layer. Give that stage a layer that is trained, use fewer stages, or take the tower out of model.freeze.',
  ],
  [
    'seed: world_index',
    'dist_config knows no other key',
    apart({}, { world_index: 1 }, 2),
    'layout.distTrain.language.world_index is 1: it must not be there: Dist-train knows no world_index and numbers the ranks itself, vision first. Remove it; layout.distTrain needs npus of both towers.',
  ],
  // Virtual pipeline, balance, recompute, optimizer, loss.
  [
    'validate_args_patch.py: AssertionError, deprecated',
    'virtual stages are named layer by layer',
    layout({ ...four, numLayersPerVirtualPipelineStage: 4 }),
    'layout.numLayersPerVirtualPipelineStage is 4: it must not be there: MindSpeed MM 2.2.0 raises on --num-layers-per-virtual-pipeline-stage and --num-virtual-stages-per-pipeline-rank as deprecated. Name the layers of every virtual stage in layout.virtualPipeline, one row for each.',
  ],
  [
    'validate_args_patch.py: PP > 1',
    'a virtual pipeline is a pipeline',
    virtual([[24], [0]], [[14], [14]]),
    'layout.virtualPipeline is {"visionLayersPerStage":[[24],[0]],"languageLayersPerStage":[[14],[14]]}: it must have at least two pipeline ranks, one number for each in every row. Use more ranks in every row, or remove virtualPipeline.',
  ],
  [
    '--virtual-pipeline-model-parallel-size N > 1',
    'and has more than one stage a rank',
    virtual([[24, 0]], [[14, 14]]),
    'layout.virtualPipeline is {"visionLayersPerStage":[[24,0]],"languageLayersPerStage":[[14,14]]}: it must give each rank at least two stages, one row for each; for one use visionLayersPerStage and languageLayersPerStage. Add a row to both lists, or remove virtualPipeline.',
  ],
  [
    'schedules.py: ValueError, the number of contiguous micro-batches',
    'micro-batches come in rounds of the pipeline',
    {
      ...virtual(
        [
          [24, 0, 0, 0],
          [0, 0, 0, 0],
        ],
        [
          [1, 3, 4, 4],
          [4, 4, 4, 4],
        ],
      ),
      training: { ...publishedInput.training, globalBatchSize: 126 },
    },
    'training.globalBatchSize is 126: it must be a multiple of microBatchSize x data parallel size x pipeline ranks with virtualPipeline = 1 x 1 x 4 = 4. Use 128.',
  ],
  [
    'arguments.py: Must use --overlap-param-gather with --overlap-grad-reduce',
    'parameters are gathered while gradients are reduced',
    asking({ overlapParameterGather: true }),
    'runtime.overlapParameterGather is true: it must go with overlapGradientReduce: Megatron refuses --overlap-param-gather without --overlap-grad-reduce. Set runtime.overlapGradientReduce to true as well, or leave both out.',
  ],
  [
    'arguments.py: only supported with distributed optimizer',
    'by the distributed optimizer',
    asking({ overlapParameterGather: true, overlapGradientReduce: true, distributedOptimizer: false }),
    'runtime.overlapParameterGather is true: it must go with the distributed optimizer, which is what gathers parameters. Leave runtime.distributedOptimizer out, or this.',
  ],
  [
    'pretrain_vlm.py writes "tranfer", vlm_model.py reads transfer',
    'no encoder balance for InternVL3',
    asking({ encoderBalance: true }),
    'runtime.encoderBalance is true: it must be left out with internvl3: pretrain_vlm.py of 2.2.0 passes the balance on under a misspelt name, so the model gets none and fails. Leave it out.',
  ],
  [
    'encoder_dp_balance.md: DP > 1',
    'nor with one replica',
    asking({ encoderBalance: true }, { model: old, layout: { hosts: 1, npusPerHost: 1 } }),
    'runtime.encoderBalance is true: it must be left out with a data parallel size of 1: tiles are balanced between replicas. Leave it out.',
  ],
  [
    'utils.py: EncoderBalanceComm counts in int8',
    'nor with more tiles than a byte counts',
    asking(
      { encoderBalance: true },
      {
        model: old,
        layout: { hosts: 1, npusPerHost: 2 },
        training: { ...publishedInput.training, microBatchSize: 32 },
      },
    ),
    'runtime.encoderBalance is true: it must be left out with up to 32 x 7 = 224 tiles in a micro-batch: MindSpeed MM counts them in a byte, up to 127. Lower training.microBatchSize or data.maximumTiles, or leave it out.',
  ],
  [
    'no document',
    'nor with Dist-train',
    { ...apart({}, {}, 2), runtime: { ...ascend, encoderBalance: true } },
    'runtime.encoderBalance is true: it must be left out with distTrain: nothing says that both work together. Give the vision tower more NPUs instead.',
  ],
  [
    'transformer_config.py',
    'no more layers are recomputed than there are',
    asking({ recompute: { language: { method: 'block', layers: 29 } } }),
    'runtime.recompute.language.layers is 29: it must be at most the 28 layers of the language tower. Use 1 to recompute each layer by itself.',
  ],
  [
    'vlm_model_loss_calculate_type.md: never both',
    'one kind of loss',
    asking({ lossPer: 'both' as never }),
    'runtime.lossPer is "both": it must be microBatch, sample or token. Set it to one of microBatch, sample, token.',
  ],
  [
    'pretrain_internvl.py: loss.mean()',
    'the usual one where pretrain_internvl.py trains',
    asking({ lossPer: 'token' }, { model: old, layout: { hosts: 1, npusPerHost: 8 } }),
    'runtime.lossPer is "token": it must be microBatch with internvl2.5: pretrain_internvl.py knows no other mean. Leave it out.',
  ],
  [
    'the release with both InternVL3 and Dist-train',
    'one release',
    { ...publishedInput, runtime: { kind: 'ascend', mindspeedRelease: '2.3.0' } },
    'runtime.mindspeedRelease is "2.3.0": it must be 2.2.0, the only release with both InternVL3 fine-tuning and Dist-train. Set it to 2.2.0.',
  ],
  // What the CPU trainer leaves to NPUs.
  [
    'CPU trainer',
    'no virtual stages',
    {
      ...demoInput,
      layout: {
        hosts: 2,
        npusPerHost: 1,
        virtualPipeline: TINY_VIRTUAL,
      },
    },
    'layout.virtualPipeline is {"visionLayersPerStage":[[1,1],[0,0]],"languageLayersPerStage":[[0,0],[1,1]]}: it must be left out with runtime.kind "cpu", whose trainer gives each rank one stage. Use visionLayersPerStage and languageLayersPerStage.',
  ],
  [
    'CPU trainer',
    'no Qwen2.5-VL',
    {
      ...demoInput,
      model: { ...publishedQwenInput.model, freeze: [] },
      layout: { hosts: 1, npusPerHost: 1 },
      training: { ...demoInput.training, sequenceLength: 1024 },
    },
    'model.family is "qwen2.5-vl": it must be internvl3 with runtime.kind "cpu", whose trainer knows no other. Use an InternVL3 model, or runtime.kind "ascend".',
  ],
  [
    'CPU trainer',
    "none of MindSpeed MM's switches",
    { ...demoInput, runtime: { kind: 'cpu', recompute: {} } },
    'runtime.recompute is {}: it must be left out with runtime.kind "cpu": only "ascend" has it. Remove it.',
  ],
  [
    'CPU trainer',
    'nothing is dropped by chance',
    { ...demoInput, model: { ...demoInput.model, lora: { rank: 4, alpha: 8, dropout: 0.1 } } },
    'model.lora.dropout is 0.1: it must be 0 with runtime.kind "cpu", whose trainer drops nothing by chance. Leave it out.',
  ],
  [
    'CPU trainer',
    'one tile an image',
    { ...demoInput, data: { ...demoInput.data, maximumTiles: 4 } },
    'data.maximumTiles is 4: it must be 1 with runtime.kind "cpu", whose trainer sees each image as one tile. Leave it out.',
  ],
];

describe('a spec that breaks a rule is refused before a host is taken', () => {
  test.each(RULES)('%s: %s', (_, __, broken, message) => {
    expect(refusalsOf(broken)).toEqual([message]);
  });

  test('no two rules have one sentence', () => {
    expect(new Set(RULES.map(([, , , message]) => message)).size).toBe(RULES.length);
  });
});

describe('what the documents allow is accepted', () => {
  test.each([
    [
      'stages without layers',
      layout({ ...four, visionLayersPerStage: [24, 0, 0, 0], languageLayersPerStage: [0, 9, 9, 10] }),
    ],
    [
      'the virtual pipeline of the guide, cut for 28 layers, with vision trained',
      {
        ...virtual(
          [
            [6, 7, 7, 4],
            [0, 0, 0, 0],
            [0, 0, 0, 0],
          ],
          [
            [0, 0, 0, 1],
            [4, 4, 4, 4],
            [3, 3, 3, 2],
          ],
        ),
        model: { ...publishedInput.model, freeze: [] },
      },
    ],
    [
      'tensors, sequences and rings together',
      layout({ hosts: 2, npusPerHost: 8, tensorParallel: 4, contextParallel: 2, sequenceParallel: true }),
    ],
    [
      'a vision tower of split tensors beside as many replicas of language',
      apart({ npus: 4, tensorParallel: 2 }, { npus: 4, layersPerStage: [14, 14] }, 8),
    ],
    [
      'buckets, fused operators and overlap',
      asking({
        dataBuckets: 'accuracy',
        fusedOperators: ['rmsnorm', 'swiglu', 'rotary'],
        overlapGradientReduce: true,
        overlapParameterGather: true,
        deterministic: true,
        lossPer: 'sample',
        recompute: { vision: { method: 'uniform', layers: 1 } },
      }),
    ],
    [
      'encoder balance for InternVL2.5',
      asking({ encoderBalance: true }, { model: old, layout: { hosts: 1, npusPerHost: 8 } }),
    ],
  ] as const)('%s', (_, input) => {
    expect(refusalsOf(input)).toEqual([]);
  });
});

/** Rules that no spec can break, since the plan is made so, or that only files can tell: each with the assertion that holds it. */
test.each([
  [
    'the lists of converter and model.json are equal, and as long as the pipeline',
    'unit/backends/plan-properties.test.ts',
    'if (together)',
  ],
  [
    'dist_config: order, names and indices from 0, main_dp at most once',
    'unit/backends/plan-properties.test.ts',
    'expect(sub.model_index).toBe(index)',
  ],
  [
    'Dist-train: pretrain_internvl.py, model_name internvl2, no other key, rope_scaling null',
    'unit/backends/mindspeed-arguments.test.ts',
    "model_name: 'internvl2'",
  ],
  ['drop_last is true', 'unit/backends/mindspeed-arguments.test.ts', 'drop_last: true'],
  [
    'no flag that the release raises on',
    'unit/backends/plan-properties.test.ts',
    "'--num-layers-per-virtual-pipeline-stage', '--num-virtual-stages-per-pipeline-rank'",
  ],
  [
    'export with split tensors or virtual stages, which the release permutes or cannot read',
    'conformance/conversion.test.ts',
    'and back bit for bit',
  ],
  ['a missing shard', 'e2e/stages.test.ts', 'whose index names a shard that is missing'],
  ['a converter that ends with 0 and leaves less, or another rank', 'e2e/stages.test.ts', 'an-extra-rank'],
  ['repeat_time above 1 is a whole number', '../trainer/tests/test_prepare.py', "'repeat_time': 1.5}, 'whole number'"],
  ['rows without an image, and images that cannot be read', 'e2e/stages.test.ts', 'row-without-image'],
])('%s (%s)', (_, file, assertion) => {
  expect(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')).toContain(assertion);
});
