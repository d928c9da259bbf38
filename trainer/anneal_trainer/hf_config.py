"""Translate the `config.json` of an original InternVL model (InternVLChatModel) into MindSpeed MM's `model.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .config import ModelConfig, read_json
from .errors import UsageError

IMAGE_TOKEN = '<IMG_CONTEXT>'


def image_token_id(folder: Path) -> int:
    """Return the id of <IMG_CONTEXT> in a model folder's tokenizer; raises UsageError if it has none."""
    tokenizer = read_json(folder / 'tokenizer.json')
    for token in tokenizer.get('added_tokens', []):
        if token.get('content') == IMAGE_TOKEN:
            return int(token['id'])
    raise UsageError(
        f'{folder / "tokenizer.json"} has no token {IMAGE_TOKEN}: it is not the tokenizer of an InternVL model.'
    )


def to_model_json(folder: Path) -> dict[str, Any]:
    """Return MindSpeed MM's model.json, for one pipeline stage, of the original-layout model in `folder`.

    Raises UsageError that names the key when the folder holds another kind of model.
    """
    source = folder / 'config.json'
    config = read_json(source)
    if 'InternVLChatModel' not in config.get('architectures', []):
        raise UsageError(
            f'{source} has architectures {config.get("architectures")}: only the original layout, InternVLChatModel, '
            'is read.'
        )
    text, vision = config['llm_config'], config['vision_config']
    if 'Qwen2ForCausalLM' not in text.get('architectures', []):
        raise UsageError(
            f'{source}: llm_config.architectures is {text.get("architectures")}; only Qwen2ForCausalLM is built.'
        )
    tied = bool(config.get('tie_word_embeddings', text.get('tie_word_embeddings', False)))
    norm = {'layer_norm': 'LayerNorm', 'rms_norm': 'RMSNorm'}[vision.get('norm_type', 'layer_norm')]
    return {
        'model_id': 'InternVL3',
        'pre_process': True,
        'post_process': True,
        'add_text_encoder': False,
        'img_embedding_idx': 1,
        'downsample_ratio': config.get('downsample_ratio', 0.5),
        'select_layer': config.get('select_layer', -1),
        'ps_version': config.get('ps_version', 'v2'),
        'img_context_token_id': image_token_id(folder),
        'text_encoder': None,
        'video_encoder': None,
        'text_decoder': {
            'model_id': 'internllm',
            'num_layers': text['num_hidden_layers'],
            'pipeline_num_layers': [text['num_hidden_layers']],
            'hidden_size': text['hidden_size'],
            'ffn_hidden_size': text['intermediate_size'],
            'num_attention_heads': text['num_attention_heads'],
            'num_key_value_heads': text['num_key_value_heads'],
            'num_query_groups': text['num_key_value_heads'],
            'group_query_attention': True,
            'max_position_embeddings': text['max_position_embeddings'],
            'vocab_size': text['vocab_size'],
            'rotary_base': text.get('rope_theta', 1000000.0),
            'normalization': 'RMSNorm',
            'layernorm_epsilon': text.get('rms_norm_eps', 1e-6),
            'activation_func': 'silu',
            'gated_linear_unit': True,
            'add_bias_linear': False,
            'add_qkv_bias': True,
            'attention_dropout': 0.0,
            'hidden_dropout': 0.0,
            'untie_embeddings_and_output_weights': not tied,
        },
        'image_encoder': {
            'vision_encoder': {
                'model_id': 'InternViT',
                'num_layers': vision['num_hidden_layers'],
                'pipeline_num_layers': [vision['num_hidden_layers']],
                'hidden_size': vision['hidden_size'],
                'ffn_hidden_size': vision['intermediate_size'],
                'num_attention_heads': vision['num_attention_heads'],
                'patch_size': vision['patch_size'],
                'image_size': vision['image_size'],
                'add_qkv_bias': vision.get('qkv_bias', True),
                'qk_layernorm': vision.get('qk_normalization', False),
                'normalization': norm,
                'layernorm_epsilon': vision.get('layer_norm_eps', 1e-6),
                'drop_path_rate': vision.get('drop_path_rate', 0.0),
                'freeze': False,
            },
            'vision_projector': {
                'model_id': 'InternVLMLP',
                'vit_hidden_size': vision['hidden_size'],
                'llm_hidden_size': text['hidden_size'],
                'freeze': False,
            },
        },
    }


def read_hf_config(folder: Path) -> ModelConfig:
    """Return the model's configuration from its Hugging Face folder."""
    return ModelConfig.from_dict(to_model_json(folder), str(folder / 'config.json'))
