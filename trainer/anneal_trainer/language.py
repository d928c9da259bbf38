"""Qwen2 with image features in its embeddings: `text_decoder.*` in MindSpeed MM's names, sliced by pipeline stage."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import LanguageConfig, ModelConfig
from .layout import Stage
from .vision import RMSNorm


class LanguageAttention(nn.Module):
    """Causal grouped-query attention with RoPE; `linear_qkv` is [q heads of g; k_g; v_g] for each KV group g."""

    def __init__(self, c: LanguageConfig) -> None:
        super().__init__()
        self.groups, self.head_dim = c.num_query_groups, c.head_dim
        self.repeat = c.num_attention_heads // c.num_query_groups
        rows = c.num_query_groups * (self.repeat + 2) * c.head_dim
        self.linear_qkv = nn.Linear(c.hidden_size, rows, bias=c.qkv_bias)
        self.linear_proj = nn.Linear(c.num_attention_heads * c.head_dim, c.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        qkv = self.linear_qkv(x).view(batch, length, self.groups, self.repeat + 2, self.head_dim)
        q = qkv[..., : self.repeat, :].reshape(batch, length, -1, self.head_dim).transpose(1, 2)
        k, v = qkv[..., -2, :].transpose(1, 2), qkv[..., -1, :].transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = k.repeat_interleave(self.repeat, dim=1), v.repeat_interleave(self.repeat, dim=1)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.linear_proj(out.transpose(1, 2).reshape(batch, length, -1))


class LanguageMlp(nn.Module):
    """SwiGLU; `linear_fc1` is gate over up."""

    def __init__(self, c: LanguageConfig) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(c.hidden_size, 2 * c.ffn_hidden_size, bias=False)
        self.linear_fc2 = nn.Linear(c.ffn_hidden_size, c.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.linear_fc1(x).chunk(2, dim=-1)
        return self.linear_fc2(F.silu(gate) * up)


class LanguageLayer(nn.Module):
    """Qwen2 block."""

    def __init__(self, c: LanguageConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(c.hidden_size, c.layernorm_epsilon)
        self.self_attention = LanguageAttention(c)
        self.pre_mlp_layernorm = RMSNorm(c.hidden_size, c.layernorm_epsilon)
        self.mlp = LanguageMlp(c)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attention(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.pre_mlp_layernorm(x))


class LanguageModel(nn.Module):
    """`text_decoder.*`: Qwen2, or a stage's slice of it.

    Padding must be on the right: attention is causal without a mask, so what follows a token cannot change it.
    """

    def __init__(self, config: ModelConfig, stage: Stage) -> None:
        super().__init__()
        c = self.config = config.language
        self.image_token = config.img_context_token_id
        if stage.llm_begin:
            self.embedding = nn.Module()
            self.embedding.word_embeddings = nn.Embedding(c.vocab_size, c.hidden_size)
        self.decoder = nn.Module()
        self.decoder.layers = nn.ModuleList(LanguageLayer(c) for _ in range(stage.llm_count))
        self.begin, self.end = stage.llm_begin, stage.llm_end
        # Tied on one stage means one tensor; over several the last stage holds a copy under output_layer.
        self.shares_embedding = c.tie_word_embeddings and stage.llm_begin and stage.llm_end
        if stage.llm_end:
            self.decoder.final_layernorm = RMSNorm(c.hidden_size, c.layernorm_epsilon)
            if not self.shares_embedding:
                self.output_layer = nn.Linear(c.hidden_size, c.vocab_size, bias=False)
        self._rope: tuple[Tensor, Tensor] | None = None

    def embed(self, input_ids: Tensor, features: Tensor | None) -> Tensor:
        """Token embeddings (batch, length, hidden), image-context positions replaced by `features` in order."""
        hidden = self.embedding.word_embeddings(input_ids)
        if features is None:
            return hidden
        mask = (input_ids == self.image_token).unsqueeze(-1).expand_as(hidden)
        return hidden.masked_scatter(mask, features)

    def forward(self, x: Tensor, features: Tensor | None = None, positions: tuple[Tensor, ...] | None = None) -> Tensor:
        """Ids (first stage) or hidden states in; hidden states or, on the last stage, logits out.

        `positions` (row and column indices) restricts the logits to those tokens: (picked, vocabulary).
        """
        hidden = self.embed(x, features) if self.begin else x
        cos, sin = self._angles(hidden.shape[1])
        for layer in self.decoder.layers:
            hidden = layer(hidden, cos, sin)
        if not self.end:
            return hidden
        if positions is not None:
            hidden = hidden[positions]
        hidden = self.decoder.final_layernorm(hidden)
        if self.shares_embedding:
            return F.linear(hidden, self.embedding.word_embeddings.weight)
        return self.output_layer(hidden)

    def _angles(self, length: int) -> tuple[Tensor, Tensor]:
        if self._rope is None or len(self._rope[0]) < length:
            dim = self.config.head_dim
            inverse = 1.0 / self.config.rotary_base ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
            angles = torch.outer(torch.arange(length, dtype=torch.float32), inverse)
            angles = torch.cat([angles, angles], dim=-1)
            self._rope = (angles.cos(), angles.sin())
        return self._rope[0][:length], self._rope[1][:length]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of (batch, heads, length, head_dim), halves paired as in Qwen2."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-right, left], dim=-1) * sin
