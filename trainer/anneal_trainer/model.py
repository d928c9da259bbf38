"""InternVL3 in plain torch under MindSpeed MM's parameter names, sliced by pipeline stage.

The maths is that of `transformers`' InternVL (InternViT, pixel shuffle v2, mlp1, Qwen2); only the names and the fused
tensors (qkv per KV group, gate over up) are MindSpeed MM's, so that checkpoints need no translation on the way in.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import ModelConfig
from .language import LanguageModel
from .layout import Stage, whole
from .vision import ImageEncoder, Projector, VisionTower, hash64

__all__ = ['ImageEncoder', 'InternVL', 'LanguageModel', 'ModelConfig', 'Projector', 'VisionTower', 'init_weights']


class InternVL(nn.Module):
    """The model, or the part of it that `stage` names; a part that a stage does not hold is None."""

    def __init__(self, config: ModelConfig, stage: Stage | None = None) -> None:
        super().__init__()
        self.config = config
        self.adapted = False  # only the adapters are trained and saved
        self.stage = stage or whole(config)
        self.image_encoder = ImageEncoder(config, self.stage) if self.stage.vit_count else None
        self.text_decoder = LanguageModel(config, self.stage) if self.stage.llm_count else None

    def forward(self, input_ids: Tensor, pixel_values: Tensor | None = None) -> Tensor:
        """Logits (batch, length, vocabulary) of the whole model for ids (batch, length), images (n, 3, size, size)."""
        if self.image_encoder is None or self.text_decoder is None or self.image_encoder.projector is None:
            raise RuntimeError('A pipeline stage cannot run alone: build InternVL(config) without a stage.')
        features = None if pixel_values is None else self.image_encoder(pixel_values)
        return self.text_decoder(input_ids, features)


def init_weights(model: InternVL, seed: int) -> None:
    """Fill every parameter from (seed, its name in the unsplit model), so that all layouts start from equal weights."""
    for name, parameter in model.named_parameters():
        unsplit = model.stage.global_name(name)
        if model.config.language.tie_word_embeddings and unsplit == 'text_decoder.output_layer.weight':
            unsplit = 'text_decoder.embedding.word_embeddings.weight'
        with torch.no_grad():
            if parameter.dim() == 1:
                if name.endswith('bias'):
                    parameter.zero_()
                continue  # norms are built as ones, LayerScale as its constant
            generator = torch.Generator().manual_seed(hash64(f'{seed}/{unsplit}') >> 1)
            std = 0.02 if unsplit.endswith(('class_embedding', 'position_embedding')) else parameter[0].numel() ** -0.5
            parameter.normal_(0.0, std, generator=generator)
