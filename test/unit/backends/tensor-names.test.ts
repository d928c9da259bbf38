/** Which tensors each rank folder of a converted model must hold. */
import { expect, test } from 'vitest';
import { expectedTensors } from '../../../src/backends/mindspeed/tensor-names.js';
import type { LayerRange, RankPlan, RankShare } from '../../../src/plan/plan.js';

const share = (pipelineStage: number, ...layers: readonly LayerRange[]): RankShare => ({
  tensorRank: 0,
  contextRank: 0,
  dataRank: 0,
  pipelineStage,
  layers,
});
const rank = (number: number, towers: Partial<RankPlan>): RankPlan => ({
  rank: number,
  nodeRank: 0,
  localRank: number,
  ...towers,
});

const MODEL = [
  'vision_model.embeddings.class_embedding',
  ...[0, 1].map((layer) => `vision_model.encoder.layers.${String(layer)}.attn.qkv.weight`),
  ...[0, 1].map((layer) => `vision_model.encoder.layers.${String(layer)}.ls1`),
  'mlp1.0.weight',
  'language_model.model.embed_tokens.weight',
  ...[0, 1, 2].flatMap((layer) =>
    ['q', 'k', 'v'].map((part) => `language_model.model.layers.${String(layer)}.self_attn.${part}_proj.bias`),
  ),
  'language_model.model.norm.weight',
  'language_model.lm_head.weight',
];

test('Dist-train gives each tower its own folders, with layers numbered from 0 in every stage', () => {
  const ranks = [
    rank(0, { vision: share(0, [0, 2]) }),
    rank(1, { language: share(0, [0, 1]) }),
    rank(2, { language: share(1, [1, 3]) }),
  ];
  expect(Object.fromEntries(expectedTensors(MODEL, ranks, true))).toEqual({
    mp_vit_rank_00: [
      'image_encoder.encoder.embeddings.class_embedding',
      'image_encoder.encoder.encoder.layers.0.ls1',
      'image_encoder.encoder.encoder.layers.0.self_attention.linear_qkv.weight',
      'image_encoder.encoder.encoder.layers.1.ls1',
      'image_encoder.encoder.encoder.layers.1.self_attention.linear_qkv.weight',
      'image_encoder.projector.norm.weight',
    ],
    mp_gpt_rank_00_000: [
      'text_decoder.decoder.layers.0.self_attention.linear_qkv.bias',
      'text_decoder.embedding.word_embeddings.weight',
    ],
    mp_gpt_rank_00_001: [
      'text_decoder.decoder.final_layernorm.weight',
      'text_decoder.decoder.layers.0.self_attention.linear_qkv.bias',
      'text_decoder.decoder.layers.1.self_attention.linear_qkv.bias',
      'text_decoder.output_layer.weight',
    ],
  });
});

test('the projector lies on the last vision stage that has layers, embeddings on the first', () => {
  const ranks = [rank(0, { vision: share(0, [0, 2]) }), rank(1, { language: share(1, [0, 3]) })];
  const expected = expectedTensors(MODEL, ranks, false);
  expect(expected.get('mp_rank_00_000')).toContain('image_encoder.projector.norm.weight');
  expect(expected.get('mp_rank_00_001')).toContain('text_decoder.embedding.word_embeddings.weight');
});

test('all vision on the first of several stages, as published: its folder is numbered all the same', () => {
  const ranks = [
    rank(0, { vision: share(0, [0, 2]), language: share(0, [0, 1]) }),
    rank(1, { language: share(1, [1, 3]) }),
  ];
  expect([...expectedTensors(MODEL, ranks, false).keys()]).toEqual(['mp_rank_00_000', 'mp_rank_00_001']);
});

test('with virtual stages each tensor stands behind its chunk, and what is between the towers on the stage that has it', () => {
  // One row passes rank 0, rank 1, rank 0, rank 1: vision, vision and a language layer, then one language layer each.
  const ranks = [
    rank(0, { vision: share(0, [0, 1], [2, 2]), language: share(0, [0, 0], [1, 2]) }),
    rank(1, { vision: share(1, [1, 2], [2, 2]), language: share(1, [0, 1], [2, 3]) }),
  ];
  expect(Object.fromEntries(expectedTensors(MODEL, ranks, false))).toEqual({
    mp_rank_00_000: [
      'model0/image_encoder.encoder.embeddings.class_embedding',
      'model0/image_encoder.encoder.encoder.layers.0.ls1',
      'model0/image_encoder.encoder.encoder.layers.0.self_attention.linear_qkv.weight',
      'model1/text_decoder.decoder.layers.0.self_attention.linear_qkv.bias',
    ],
    mp_rank_00_001: [
      'model0/image_encoder.encoder.encoder.layers.0.ls1',
      'model0/image_encoder.encoder.encoder.layers.0.self_attention.linear_qkv.weight',
      'model0/image_encoder.projector.norm.weight',
      'model0/text_decoder.decoder.layers.0.self_attention.linear_qkv.bias',
      'model0/text_decoder.embedding.word_embeddings.weight',
      'model1/text_decoder.decoder.final_layernorm.weight',
      'model1/text_decoder.decoder.layers.0.self_attention.linear_qkv.bias',
      'model1/text_decoder.output_layer.weight',
    ],
  });
});

test('a tied head is a copy on the last of several stages, and nothing on a single one', () => {
  const tied = MODEL.filter((name) => name !== 'language_model.lm_head.weight');
  const one = expectedTensors(tied, [rank(0, { language: share(0, [0, 3]) })], true);
  const two = expectedTensors(
    tied,
    [rank(0, { language: share(0, [0, 1]) }), rank(1, { language: share(1, [1, 3]) })],
    true,
  );
  expect(one.get('mp_gpt_rank_00')).not.toContain('text_decoder.output_layer.weight');
  expect(two.get('mp_gpt_rank_00_001')).toContain('text_decoder.output_layer.weight');
});

test('a tensor that the conversion does not know is named', () => {
  expect(() => expectedTensors(['vision_model.new.weight'], [], true)).toThrow('"vision_model.new.weight"');
});

test('Qwen2.5-VL: patches before the first layer, the merger behind the last, and a tied head copied to the last stage', () => {
  const qwen = [
    'visual.patch_embed.proj.weight',
    ...[0, 1].flatMap((layer) =>
      ['norm1.weight', 'attn.qkv.bias', 'mlp.gate_proj.bias', 'mlp.up_proj.bias', 'mlp.down_proj.weight'].map(
        (name) => `visual.blocks.${String(layer)}.${name}`,
      ),
    ),
    'visual.merger.ln_q.weight',
    'visual.merger.mlp.0.bias',
    'visual.merger.mlp.2.weight',
    'model.embed_tokens.weight',
    ...[0, 1, 2].map((layer) => `model.layers.${String(layer)}.self_attn.q_proj.weight`),
    'model.norm.weight',
  ];
  const ranks = [
    rank(0, { vision: share(0, [0, 2]), language: share(0, [0, 1]) }),
    rank(1, { language: share(1, [1, 3]) }),
  ];
  const layer = (number: number): string[] =>
    ['input_layernorm.weight', 'mlp.linear_fc1.bias', 'mlp.linear_fc2.weight', 'self_attention.linear_qkv.bias'].map(
      (name) => `image_encoder.encoder.blocks.layers.${String(number)}.${name}`,
    );
  expect(Object.fromEntries(expectedTensors(qwen, ranks, false))).toEqual({
    mp_rank_00_000: [
      ...layer(0),
      ...layer(1),
      'image_encoder.encoder.patch_embed.proj.weight',
      'image_encoder.projector.encoder.linear_fc1.bias',
      'image_encoder.projector.encoder.linear_fc2.weight',
      'image_encoder.projector.layernorm.weight',
      'text_decoder.decoder.layers.0.self_attention.linear_qkv.weight',
      'text_decoder.embedding.word_embeddings.weight',
    ],
    mp_rank_00_001: [
      'text_decoder.decoder.final_layernorm.weight',
      'text_decoder.decoder.layers.0.self_attention.linear_qkv.weight',
      'text_decoder.decoder.layers.1.self_attention.linear_qkv.weight',
      'text_decoder.output_layer.weight',
    ],
  });
});

test.each([
  ['visual.blocks.0.mlp.fc1.weight', 'Qwen2_5_VLConverter'],
  ['visual.merger.mlp.1.weight', 'Qwen2_5_VLConverter'],
  ['model.visual.patch_embed.proj.weight', 'no converter'],
])('%s, which Qwen2.5-VL has not, is named', (name, converter) => {
  const others = converter === 'no converter' ? [] : ['visual.patch_embed.proj.weight'];
  const ranks = [rank(0, { vision: share(0, [0, 1]), language: share(0, [0, 1]) })];
  expect(() => expectedTensors([name, ...others], ranks, false)).toThrow(`"${name}" that ${converter} does not know`);
});
