"""Reads MindSpeed MM's `model.json` into plain dataclasses; what the CPU model cannot compute is refused by key."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UsageError


@dataclass(frozen=True)
class VisionConfig:
    """`image_encoder.vision_encoder`: InternViT. Sizes in elements, image and patch in pixels."""

    num_layers: int
    hidden_size: int
    ffn_hidden_size: int
    num_attention_heads: int
    patch_size: int
    image_size: int
    layernorm_epsilon: float
    rms_norm: bool
    qkv_bias: bool
    qk_layernorm: bool
    drop_path_rate: float
    pipeline_num_layers: tuple[int, ...] | None
    freeze: bool

    @property
    def num_patches(self) -> int:
        """Patches of one image, without the class token."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class LanguageConfig:
    """`text_decoder`: a Qwen2 decoder with grouped-query attention."""

    num_layers: int
    hidden_size: int
    ffn_hidden_size: int
    num_attention_heads: int
    num_query_groups: int
    head_dim: int
    vocab_size: int
    rotary_base: float
    layernorm_epsilon: float
    qkv_bias: bool
    max_position_embeddings: int
    tie_word_embeddings: bool
    pipeline_num_layers: tuple[int, ...] | None
    freeze: bool


@dataclass(frozen=True)
class ModelConfig:
    """The whole `model.json`; `dist_config` is kept as read, the layout checks it."""

    vision: VisionConfig
    language: LanguageConfig
    projector_freeze: bool
    downsample_ratio: float
    select_layer: int
    img_context_token_id: int
    dist_config: dict[str, Any] | None

    @property
    def tokens_per_image(self) -> int:
        """Image tokens that one image becomes after the pixel shuffle."""
        return int(self.vision.num_patches * self.downsample_ratio**2)

    @classmethod
    def from_file(cls, path: str | Path) -> ModelConfig:
        """Read a `model.json`. Raises UsageError naming the file and the key."""
        return cls.from_dict(read_json(path), str(path))

    @classmethod
    def from_dict(cls, raw: dict[str, Any], source: str = 'model.json') -> ModelConfig:
        """Build from parsed JSON; `source` names the file in messages."""
        encoder = _get(raw, 'image_encoder', source)
        language = _language(_get(raw, 'text_decoder', source), raw, f'{source}: text_decoder')
        vision = _vision(_get(encoder, 'vision_encoder', source), f'{source}: image_encoder.vision_encoder')
        projector = encoder.get('vision_projector') or {}
        config = cls(
            vision=vision,
            language=language,
            projector_freeze=bool(projector.get('freeze', False)),
            downsample_ratio=float(raw.get('downsample_ratio', 0.5)),
            select_layer=int(raw.get('select_layer', -1)),
            img_context_token_id=int(_get(raw, 'img_context_token_id', source)),
            dist_config=raw.get('dist_config'),
        )
        _check(config, raw, projector, source)
        return config


def read_json(path: str | Path) -> dict[str, Any]:
    """Parse a JSON object file. Raises UsageError that names the file and what is wrong with it."""
    try:
        value = json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise UsageError(f'Cannot read {path}: {error.strerror}.') from error
    except ValueError as error:
        raise UsageError(f'{path} is not valid JSON ({error}); comments are not allowed.') from error
    if not isinstance(value, dict):
        raise UsageError(f'{path} must hold a JSON object, but holds a {type(value).__name__}.')
    return value


def _get(raw: dict[str, Any], key: str, source: str) -> Any:
    if raw.get(key) is None:
        raise UsageError(f'{source} has no "{key}"; the model cannot be built without it.')
    return raw[key]


def _counts(raw: dict[str, Any], source: str) -> tuple[int, ...] | None:
    counts = raw.get('pipeline_num_layers')
    if counts is None:
        return None
    if any(isinstance(item, list) for item in counts):
        raise UsageError(
            f'{source}.pipeline_num_layers is {counts}: a two-dimensional list means virtual pipeline stages, '
            'which the CPU trainer does not have; give one number of layers per pipeline rank.'
        )
    return tuple(int(item) for item in counts)


def _vision(raw: dict[str, Any], source: str) -> VisionConfig:
    return VisionConfig(
        num_layers=int(_get(raw, 'num_layers', source)),
        hidden_size=int(_get(raw, 'hidden_size', source)),
        ffn_hidden_size=int(_get(raw, 'ffn_hidden_size', source)),
        num_attention_heads=int(_get(raw, 'num_attention_heads', source)),
        patch_size=int(_get(raw, 'patch_size', source)),
        image_size=int(_get(raw, 'image_size', source)),
        layernorm_epsilon=float(raw.get('layernorm_epsilon', 1e-6)),
        rms_norm=raw.get('normalization', 'LayerNorm') == 'RMSNorm',
        qkv_bias=bool(raw.get('add_qkv_bias', True)),
        qk_layernorm=bool(raw.get('qk_layernorm', False)),
        drop_path_rate=float(raw.get('drop_path_rate', 0.0)),
        pipeline_num_layers=_counts(raw, source),
        freeze=bool(raw.get('freeze', True)),  # MindSpeed MM freezes the encoder unless told otherwise
    )


def _language(raw: dict[str, Any], top: dict[str, Any], source: str) -> LanguageConfig:
    heads = int(_get(raw, 'num_attention_heads', source))
    hidden = int(_get(raw, 'hidden_size', source))
    tied = raw.get('tie_word_embeddings', top.get('tie_word_embeddings'))
    if tied is None:
        tied = not raw.get('untie_embeddings_and_output_weights', True)
    return LanguageConfig(
        num_layers=int(_get(raw, 'num_layers', source)),
        hidden_size=hidden,
        ffn_hidden_size=int(_get(raw, 'ffn_hidden_size', source)),
        num_attention_heads=heads,
        num_query_groups=int(raw.get('num_query_groups') or raw.get('num_key_value_heads') or heads),
        head_dim=int(raw.get('kv_channels') or hidden // heads),
        vocab_size=int(_get(raw, 'vocab_size', source)),
        rotary_base=float(raw.get('rotary_base', 1000000)),
        layernorm_epsilon=float(raw.get('layernorm_epsilon', 1e-6)),
        qkv_bias=bool(raw.get('add_qkv_bias', True)),
        max_position_embeddings=int(raw.get('max_position_embeddings', 32768)),
        tie_word_embeddings=bool(tied),
        pipeline_num_layers=_counts(raw, source),
        freeze=bool(raw.get('freeze', False)),
    )


def _check(config: ModelConfig, raw: dict[str, Any], projector: dict[str, Any], source: str) -> None:
    vision, language = config.vision, config.language
    if raw.get('ps_version', 'v2') != 'v2':
        raise UsageError(f'{source}: ps_version is {raw["ps_version"]!r}; only "v2" is built.')
    if vision.image_size % vision.patch_size or vision.hidden_size % vision.num_attention_heads:
        raise UsageError(
            f'{source}: vision_encoder does not divide: image_size {vision.image_size} by patch_size '
            f'{vision.patch_size}, or hidden_size {vision.hidden_size} by {vision.num_attention_heads} heads.'
        )
    side = vision.image_size // vision.patch_size * config.downsample_ratio
    if side != int(side) or side < 1:
        raise UsageError(f'{source}: downsample_ratio {config.downsample_ratio} leaves {side} tokens a side.')
    if language.num_attention_heads % language.num_query_groups:
        raise UsageError(
            f'{source}: text_decoder.num_attention_heads {language.num_attention_heads} is not a multiple of '
            f'num_query_groups {language.num_query_groups}.'
        )
    if not -vision.num_layers <= config.select_layer <= -1:
        raise UsageError(f'{source}: select_layer {config.select_layer} must lie in -{vision.num_layers}..-1.')
    for key, want in (('vit_hidden_size', vision.hidden_size), ('llm_hidden_size', language.hidden_size)):
        if int(projector.get(key, want)) != want:
            raise UsageError(f'{source}: vision_projector.{key} is {projector[key]}, the model itself has {want}.')
    parts = (('text_decoder', raw['text_decoder']), ('vision_encoder', raw['image_encoder']['vision_encoder']))
    for name, part in parts:
        for key in ('hidden_dropout', 'attention_dropout'):
            if part.get(key):
                raise UsageError(f'{source}: {name}.{key} is {part[key]}; the CPU trainer has no dropout, set it to 0.')
