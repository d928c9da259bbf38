"""InternViT, pixel shuffle and mlp1: `image_encoder.*` in MindSpeed MM's names, sliced by pipeline stage."""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import ModelConfig, VisionConfig
from .layout import Stage

LAYER_SCALE_INIT = 0.1  # InternViT's own value; smaller ones starve a model this small (measured)


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last dimension, written as Qwen2 writes it so that rounding agrees."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon))


class VisionAttention(nn.Module):
    """Bidirectional attention; `linear_qkv` stacks all q, then all k, then all v."""

    def __init__(self, c: VisionConfig) -> None:
        super().__init__()
        self.heads = c.num_attention_heads
        self.linear_qkv = nn.Linear(c.hidden_size, 3 * c.hidden_size, bias=c.qkv_bias)
        self.linear_proj = nn.Linear(c.hidden_size, c.hidden_size)
        self.q_layernorm = RMSNorm(c.hidden_size, c.layernorm_epsilon) if c.qk_layernorm else None
        self.k_layernorm = RMSNorm(c.hidden_size, c.layernorm_epsilon) if c.qk_layernorm else None

    def forward(self, x: Tensor) -> Tensor:
        batch, length, hidden = x.shape
        q, k, v = self.linear_qkv(x).chunk(3, dim=-1)
        if self.q_layernorm is not None and self.k_layernorm is not None:
            q, k = self.q_layernorm(q), self.k_layernorm(k)
        q, k, v = (part.view(batch, length, self.heads, -1).transpose(1, 2) for part in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.linear_proj(out.transpose(1, 2).reshape(batch, length, hidden))


class VisionMlp(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, c: VisionConfig) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(c.hidden_size, c.ffn_hidden_size)
        self.linear_fc2 = nn.Linear(c.ffn_hidden_size, c.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_fc2(F.gelu(self.linear_fc1(x)))


class VisionLayer(nn.Module):
    """InternViT block: pre-norm, LayerScale `ls1`/`ls2`, stochastic depth while training."""

    def __init__(self, c: VisionConfig, layer: int) -> None:
        super().__init__()
        norm = RMSNorm if c.rms_norm else nn.LayerNorm
        self.input_layernorm = norm(c.hidden_size, c.layernorm_epsilon)
        self.self_attention = VisionAttention(c)
        self.pre_mlp_layernorm = norm(c.hidden_size, c.layernorm_epsilon)
        self.mlp = VisionMlp(c)
        self.ls1 = nn.Parameter(torch.full((c.hidden_size,), LAYER_SCALE_INIT))
        self.ls2 = nn.Parameter(torch.full((c.hidden_size,), LAYER_SCALE_INIT))
        self.layer = layer
        self.drop_rate = c.drop_path_rate * layer / max(c.num_layers - 1, 1)

    def forward(self, x: Tensor, drop_keys: list[str] | None) -> Tensor:
        x = x + self._drop(self.self_attention(self.input_layernorm(x)) * self.ls1, drop_keys, 1)
        return x + self._drop(self.mlp(self.pre_mlp_layernorm(x)) * self.ls2, drop_keys, 2)

    def _drop(self, x: Tensor, keys: list[str] | None, branch: int) -> Tensor:
        if keys is None or self.drop_rate == 0.0:
            return x
        # Drawn from a hash of the sample's place in the run, not from a generator: every layout and every resumed
        # run then drops the same branches.
        keep = [hash64(f'{key}/{self.layer}/{branch}') >= self.drop_rate * 2.0**64 for key in keys]
        return x * (torch.tensor(keep, dtype=x.dtype) / (1.0 - self.drop_rate)).view(-1, 1, 1)


class VisionEmbeddings(nn.Module):
    """Patches by a strided convolution, a class token in front, learned positions."""

    def __init__(self, c: VisionConfig) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(1, 1, c.hidden_size))
        self.patch_embedding = nn.Conv2d(3, c.hidden_size, c.patch_size, c.patch_size)
        self.position_embedding = nn.Parameter(torch.zeros(1, c.num_patches + 1, c.hidden_size))

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch_embedding(images).flatten(2).transpose(1, 2)
        return torch.cat([self.class_embedding.expand(len(images), -1, -1), patches], dim=1) + self.position_embedding


class VisionTower(nn.Module):
    """InternViT, or a stage's slice of it: images (n, 3, size, size) or hidden states in, hidden states out."""

    def __init__(self, config: ModelConfig, stage: Stage) -> None:
        super().__init__()
        c = config.vision
        self.embeddings = VisionEmbeddings(c) if stage.vit_begin else None
        numbers = range(stage.vit_first, stage.vit_first + stage.vit_count)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(VisionLayer(c, number) for number in numbers)
        self.last_used = c.num_layers + config.select_layer  # select_layer -1 uses every layer

    def forward(self, x: Tensor, drop_keys: list[str] | None = None) -> Tensor:
        if self.embeddings is not None:
            x = self.embeddings(x)
        for layer in self.encoder.layers:
            if layer.layer <= self.last_used:
                x = layer(x, drop_keys)
        return x


class Projector(nn.Module):
    """Pixel shuffle v2, then mlp1: (n, patches + 1, vit hidden) to (n * tokens, text hidden)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.side = config.vision.image_size // config.vision.patch_size
        self.ratio = config.downsample_ratio
        merged = int(config.vision.hidden_size / self.ratio**2)
        self.norm = nn.LayerNorm(merged)
        self.linear_fc1 = nn.Linear(merged, config.language.hidden_size)
        self.linear_fc2 = nn.Linear(config.language.hidden_size, config.language.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        n, _, c = hidden.shape
        side, small, wide = self.side, int(self.side * self.ratio), int(c / self.ratio)
        x = hidden[:, 1:].reshape(n, side, small, wide).permute(0, 2, 1, 3).contiguous()
        x = x.view(n, small, small, int(c / self.ratio**2)).permute(0, 2, 1, 3)
        x = x.reshape(n * small * small, -1)
        return self.linear_fc2(F.gelu(self.linear_fc1(self.norm(x))))


class ImageEncoder(nn.Module):
    """`image_encoder.*`: the tower and, on its last stage, the projector."""

    def __init__(self, config: ModelConfig, stage: Stage) -> None:
        super().__init__()
        self.encoder = VisionTower(config, stage)
        self.projector = Projector(config) if stage.vit_end else None

    def forward(self, x: Tensor, drop_keys: list[str] | None = None) -> Tensor:
        hidden = self.encoder(x, drop_keys)
        return hidden if self.projector is None else self.projector(hidden)


def hash64(text: str) -> int:
    """64 bits that depend only on the text, on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], 'little')
