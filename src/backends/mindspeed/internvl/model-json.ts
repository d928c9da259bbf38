/** model.json, as the trainer reads it: MindSpeed MM's own file with what the spec and the layout decide. */
import type { TowerLayout } from '../../../plan/layout.js';
import { fusedOperatorsOf } from '../fused.js';
import type { Job, JsonObject } from '../job.js';
import { pipelineLayers } from '../pipeline-layers.js';
import { recomputeKeys } from '../recompute.js';
import type { InternvlPreset } from './presets.js';

/** `--mm-model`. Its sizes override those of the command line. */
export function modelJson(preset: InternvlPreset, job: Job): JsonObject {
  const { family, dimensions } = preset;
  return {
    model_id: family === 'internvl2.5' ? 'InternVL2.5' : 'InternVL3',
    pre_process: true,
    post_process: true,
    add_text_encoder: false,
    img_embedding_idx: 1,
    downsample_ratio: dimensions.downsampleRatio,
    select_layer: -1,
    ps_version: 'v2',
    add_rmsnorm_offset: false,
    img_context_token_id: dimensions.language.imageTokenId,
    ...(job.layout.distTrain ? { dist_config: distConfig(job) } : {}),
    text_decoder: textDecoder(preset, job),
    image_encoder: { vision_encoder: visionEncoder(preset, job), vision_projector: visionProjector(preset, job) },
    text_encoder: null,
    video_encoder: null,
  };
}

/** Dist-train knows InternVL by the name of its second version only; the towers are the same. */
function distConfig({ layout }: Job): JsonObject {
  // main_dp may be set only where the towers' replicas differ in number, which the CPU trainer alone can do right; several of vision then feed one of language.
  const mainDataParallel = layout.vision.dataParallel !== layout.language.dataParallel;
  return {
    model_name: 'internvl2',
    use_multiparam_send_recv: false,
    model_config: [
      subModel('vit', 0, layout.vision),
      { ...subModel('gpt', 1, layout.language), ...(mainDataParallel ? { main_dp: true } : {}) },
    ],
  };
}

function subModel(name: string, index: number, tower: TowerLayout): JsonObject {
  return {
    name,
    model_index: index,
    world_size: tower.ranks,
    tensor_model_parallel_size: tower.tensorParallel,
    pipeline_model_parallel_size: tower.pipelineParallel,
    context_parallel_size: tower.contextParallel,
    forward_only: false,
  };
}

function textDecoder({ dimensions: { language }, extras }: InternvlPreset, job: Job): JsonObject {
  const { spec, layout, profile } = job;
  // Only the model class of pretrain_vlm.py has dynamic scaling; Dist-train runs the other one.
  const factor = layout.distTrain ? null : extras.ropeScalingFactor;
  return {
    model_id: 'internllm',
    num_layers: language.layers,
    pipeline_num_layers: pipelineLayers(layout.language),
    hidden_size: language.hiddenSize,
    ffn_hidden_size: language.ffnHiddenSize,
    num_attention_heads: language.attentionHeads,
    num_key_value_heads: language.keyValueHeads,
    max_position_embeddings: language.maxPositions,
    vocab_size: language.vocabularySize,
    rotary_percent: 1,
    rotary_base: language.rotaryBase,
    attention_dropout: 0,
    init_method_std: extras.languageInitStd,
    hidden_dropout: 0,
    position_embedding_type: 'rope',
    normalization: 'RMSNorm',
    activation_func: 'silu',
    attention_softmax_in_fp32: true,
    use_fused_rotary_pos_emb: fusedOperatorsOf(job).includes('rotary'),
    params_dtype: profile.precision,
    bf16: profile.precision === 'bf16',
    fp16_lm_cross_entropy: false,
    parallel_output: true,
    rope_scaling: factor === null ? null : { factor, type: 'dynamic' },
    group_query_attention: true,
    num_query_groups: language.keyValueHeads,
    gated_linear_unit: true,
    layernorm_epsilon: language.layerNormEpsilon,
    add_bias_linear: false,
    add_qkv_bias: true,
    ...(language.tieWordEmbeddings ? { untie_embeddings_and_output_weights: false } : {}),
    ...(spec.model.freeze.includes('language') ? { freeze: true } : {}),
    ...extras.languageKeys,
    ...recomputeKeys(job, 'language'),
  };
}

function visionEncoder({ dimensions, extras }: InternvlPreset, job: Job): JsonObject {
  const { spec, layout, profile } = job;
  const { vision, downsampleRatio } = dimensions;
  return {
    model_id: 'InternViT',
    num_layers: vision.layers,
    pipeline_num_layers: pipelineLayers(layout.vision),
    hidden_size: vision.hiddenSize,
    ffn_hidden_size: vision.ffnHiddenSize,
    num_attention_heads: vision.attentionHeads,
    num_channels: 3,
    patch_size: vision.patchSize,
    image_size: vision.imageSize,
    add_qkv_bias: vision.qkvBias,
    qk_layernorm: vision.qkLayerNorm,
    ...(vision.qkLayerNorm ? { q_layernorm: 'RMSNorm', k_layernorm: 'RMSNorm' } : {}),
    activation_func: 'gelu',
    normalization: vision.normalization,
    layernorm_epsilon: 1e-6,
    hidden_dropout: 0,
    drop_path_rate: vision.dropPathRate,
    attention_dropout: 0,
    init_method_std: 0.02,
    initializer_factor: 1,
    output_hidden_states: false,
    use_return_dict: false,
    params_dtype: profile.precision,
    post_layer_norm: false,
    downsample_ratio: downsampleRatio,
    fp16: false,
    bf16: profile.precision === 'bf16',
    attention_softmax_in_fp32: false,
    select_layer: -1,
    ps_version: 'v2',
    ...extras.visionKeys,
    ...recomputeKeys(job, 'vision'),
    // Said aloud: left out, MindSpeed MM freezes the vision tower.
    freeze: spec.model.freeze.includes('vision'),
  };
}

function visionProjector({ dimensions, extras }: InternvlPreset, { spec }: Job): JsonObject {
  return {
    model_id: 'InternVLMLP',
    downsample_ratio: dimensions.downsampleRatio,
    vit_hidden_size: dimensions.vision.hiddenSize,
    llm_hidden_size: dimensions.language.hiddenSize,
    ...extras.projectorKeys,
    ...(spec.model.freeze.includes('projector') ? { freeze: true } : {}),
  };
}
