/** model.json of Qwen2.5-VL: MindSpeed MM's own file with what the spec and the layout decide. */
import { fusedOperatorsOf } from '../fused.js';
import type { Job, JsonObject } from '../job.js';
import { pipelineLayers } from '../pipeline-layers.js';
import { recomputeKeys } from '../recompute.js';
import { MERGED_PATCHES, type QwenPreset, VISION } from './presets.js';

/** `--mm-model`. Its sizes override those of the command line. */
export function modelJson(preset: QwenPreset, job: Job): JsonObject {
  return {
    model_id: 'qwen2_5vl',
    img_context_token_id: 151655,
    vision_start_token_id: 151652,
    ...preset.keys,
    image_encoder: { vision_encoder: visionEncoder(preset, job), vision_projector: visionProjector(preset, job) },
    text_decoder: textDecoder(preset, job),
    text_encoder: null,
    video_encoder: null,
  };
}

function visionEncoder({ dimensions: { vision }, visionKeys }: QwenPreset, job: Job): JsonObject {
  return {
    model_id: 'qwen2vit',
    num_layers: vision.layers,
    pipeline_num_layers: pipelineLayers(job.layout.vision),
    hidden_size: vision.hiddenSize,
    ffn_hidden_size: vision.ffnHiddenSize,
    intermediate_size: vision.ffnHiddenSize,
    num_attention_heads: vision.attentionHeads,
    gated_linear_unit: true,
    hidden_dropout: 0,
    attention_dropout: 0,
    in_channels: 3,
    patch_size: VISION.patchSize,
    spatial_merge_size: VISION.spatialMergeSize,
    temporal_patch_size: VISION.temporalPatchSize,
    layernorm_epsilon: 1e-6,
    tokens_per_second: 2,
    window_attn_size: VISION.windowSize,
    fullatt_block_indexes: VISION.fullAttentionLayers,
    fp16: false,
    ...precision(job),
    activation_func: 'silu',
    normalization: 'RMSNorm',
    use_fused_rotary_pos_emb: fusesRotary(job),
    post_layer_norm: false,
    attention_mask_type: 'general',
    ...visionKeys,
    ...recomputeKeys(job, 'vision'),
    // Said aloud: left out, MindSpeed MM freezes the vision tower.
    freeze: job.spec.model.freeze.includes('vision'),
  };
}

function visionProjector({ dimensions: { vision, language }, projectorKeys }: QwenPreset, job: Job): JsonObject {
  return {
    model_id: 'lnmlp',
    num_layers: 1,
    gated_linear_unit: false,
    bias_activation_fusion: false,
    add_bias_linear: true,
    input_size: vision.hiddenSize,
    hidden_size: language.hiddenSize,
    ffn_hidden_size: vision.hiddenSize * MERGED_PATCHES,
    activation_func: 'gelu',
    ...precision(job),
    layernorm_epsilon: 1e-6,
    normalization: 'RMSNorm',
    ...projectorKeys,
    freeze: job.spec.model.freeze.includes('projector'),
  };
}

function textDecoder({ dimensions: { language }, languageKeys }: QwenPreset, job: Job): JsonObject {
  return {
    model_id: 'qwen2_5_lm',
    num_layers: language.layers,
    pipeline_num_layers: pipelineLayers(job.layout.language),
    hidden_size: language.hiddenSize,
    ffn_hidden_size: language.ffnHiddenSize,
    num_attention_heads: language.attentionHeads,
    group_query_attention: true,
    num_query_groups: language.keyValueHeads,
    position_embedding_type: 'mrope',
    // How many of a head's rotating pairs tell the frame, the row and the column.
    mrope_section: [16, 24, 24],
    use_fused_rotary_pos_emb: fusesRotary(job),
    rope_scaling: null,
    normalization: 'RMSNorm',
    layernorm_epsilon: 1e-6,
    activation_func: 'silu',
    gated_linear_unit: true,
    add_bias_linear: false,
    add_qkv_bias: true,
    disable_bias_linear: true,
    attention_softmax_in_fp32: true,
    untie_embeddings_and_output_weights: !language.tieWordEmbeddings,
    attention_dropout: 0,
    init_method_std: 0.01,
    hidden_dropout: 0,
    seq_length: job.spec.training.sequenceLength,
    max_position_embeddings: language.maxPositions,
    vocab_size: language.vocabularySize,
    rope_theta: language.rotaryBase,
    ...precision(job),
    parallel_output: true,
    ...languageKeys,
    ...recomputeKeys(job, 'language'),
  };
}

function precision({ profile }: Job): JsonObject {
  return { params_dtype: profile.precision, bf16: profile.precision === 'bf16' };
}

function fusesRotary(job: Job): boolean {
  return fusedOperatorsOf(job).includes('rotary');
}
