"""What the base model's folder holds beside its weights: configuration, tokenizer, and the names of its tensors.

The sizes are those of the engine's preset `internvl3-tiny`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import digits
from .convert_names import TEXT_NAMES, VISION_LAYER, VISION_REST, place_of
from .hf_config import read_hf_config
from .model import InternVL
from .tokenizer import VOCAB_SIZE, save_tokenizer, train_tokenizer

LAYERS = 2

CONFIG: dict[str, Any] = {
    'architectures': ['InternVLChatModel'],
    'model_type': 'internvl_chat',
    'downsample_ratio': 0.5,
    'dynamic_image_size': False,
    'force_image_size': digits.IMAGE_SIZE,
    'max_dynamic_patch': 1,
    'min_dynamic_patch': 1,
    'pad2square': False,
    'ps_version': 'v2',
    'select_layer': -1,
    'template': 'internvl2_5',
    'tie_word_embeddings': False,
    'torch_dtype': 'float32',
    'use_backbone_lora': 0,
    'use_llm_lora': 0,
    'use_thumbnail': False,
    'llm_config': {
        'architectures': ['Qwen2ForCausalLM'],
        'model_type': 'qwen2',
        'attention_dropout': 0.0,
        'hidden_act': 'silu',
        'hidden_size': 64,
        'initializer_range': 0.02,
        'intermediate_size': 172,
        'max_position_embeddings': 512,
        'num_attention_heads': 4,
        'num_hidden_layers': LAYERS,
        'num_key_value_heads': 2,
        'rms_norm_eps': 1e-6,
        'rope_scaling': None,
        'rope_theta': 10000.0,
        'tie_word_embeddings': False,
        'torch_dtype': 'float32',
        'use_sliding_window': False,
        'vocab_size': VOCAB_SIZE,
    },
    'vision_config': {
        'architectures': ['InternVisionModel'],
        'model_type': 'intern_vit_6b',
        'attention_dropout': 0.0,
        'drop_path_rate': 0.0,
        'dropout': 0.0,
        'hidden_act': 'gelu',
        'hidden_size': 48,
        'image_size': digits.IMAGE_SIZE,
        'initializer_factor': 0.1,
        'initializer_range': 0.02,
        'intermediate_size': 192,
        'layer_norm_eps': 1e-6,
        'norm_type': 'layer_norm',
        'num_attention_heads': 4,
        'num_channels': 3,
        'num_hidden_layers': LAYERS,
        'patch_size': 7,
        'qk_normalization': False,
        'qkv_bias': True,
        'torch_dtype': 'float32',
        'use_flash_attn': False,
    },
}


def write_skeleton(folder: Path) -> None:
    """Write what a model folder has beside its weights: configuration, tokenizer, and the index of tensor names."""
    rows = digits.build_rows('vqa') + digits.build_rows('ink')
    turns = [turn['value'].replace('<image>', '') for row in rows for turn in row['conversations']]
    save_tokenizer(train_tokenizer([*turns, 'system\n', 'user\n', 'assistant\n']), folder)
    write_json(folder / 'config.json', CONFIG)
    write_json(folder / 'preprocessor_config.json', _preprocessor())
    model = InternVL(read_hf_config(folder))
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    names = dict.fromkeys(hf_names({name for name, _ in model.named_parameters()}), 'model.safetensors')
    write_json(folder / 'model.safetensors.index.json', {'metadata': {'total_size': size}, 'weight_map': names})


def hf_names(mm_names: set[str]) -> list[str]:
    """Return the original tensor names of a Qwen2 InternVL whose MindSpeed MM names these are."""
    text = TEXT_NAMES['Qwen2ForCausalLM']
    modules = [*VISION_REST, *(f'language_model.{module}' for module in (text.embedding, text.norm, text.head))]
    for layer in range(LAYERS):
        modules += [f'vision_model.encoder.layers.{layer}.{module}' for module in VISION_LAYER]
        modules += [f'language_model.model.layers.{layer}.{module}' for module in text.layer]
    candidates = [module + leaf for module in modules for leaf in ('', '.weight', '.bias')]
    places = {name: place_of(name, text) for name in candidates}
    return sorted(name for name, place in places.items() if place is not None and place.name in mm_names)


def _preprocessor() -> dict[str, Any]:
    return {
        'crop_size': digits.IMAGE_SIZE,
        'do_center_crop': True,
        'do_normalize': True,
        'do_resize': True,
        'feature_extractor_type': 'CLIPFeatureExtractor',
        'image_mean': [0.485, 0.456, 0.406],
        'image_std': [0.229, 0.224, 0.225],
        'resample': 3,
        'size': digits.IMAGE_SIZE,
    }


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + '\n', encoding='utf-8')
