"""Cutting tensors over tensor-parallel ranks and putting them together again: pure functions, exact both ways.

A rule is a function of the MM name alone. `heads` is needed for cutting only; each merge reads what it needs from the
blocks, so a checkpoint can be merged without its config.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .convert_names import EMBEDDING, FC1, FC2, IMAGE, OUTPUT, PROJ, QKV, layer_of
from .hf_files import ConvertError


@dataclass(frozen=True)
class Heads:
    """Head counts: of the vision model, of the language model, and its key-value groups."""

    vision: int
    text: int
    groups: int


def rule_of(name: str) -> str:
    """`copy`, `rows`, `columns`, `glu`, `vocabulary`, `vision-qkv` or `vision-columns`: how a tensor is cut."""
    if name in (EMBEDDING, OUTPUT):
        return 'vocabulary'
    layer = layer_of(name)
    if layer is None:
        return 'copy'
    module, _, rest = layer
    vision = module == IMAGE
    if rest in (f'{QKV}.weight', f'{QKV}.bias'):
        return 'vision-qkv' if vision else 'rows'
    if rest in (f'{FC1}.weight', f'{FC1}.bias'):
        return 'rows' if vision else 'glu'
    if rest == f'{PROJ}.weight':
        return 'vision-columns' if vision else 'columns'
    return 'columns' if rest == f'{FC2}.weight' else 'copy'


def uneven_range(total: int, parts: int, rank: int) -> tuple[int, int]:
    """Start and end of a rank's share where the first `total % parts` ranks get one more."""
    size, more = divmod(total, parts)
    start = rank * size + min(rank, more)
    return start, start + size + (1 if rank < more else 0)


def split(name: str, value: Tensor, size: int, rank: int, heads: Heads | None) -> Tensor:
    """The share of one rank out of `size`; a view or a new tensor. Raises ConvertError where it cannot be cut."""
    rule = rule_of(name)
    if size == 1 or rule == 'copy':
        return value
    if rule == 'vocabulary':
        start, end = uneven_range(value.shape[0], size, rank)
        return value[start:end]
    if rule == 'vision-qkv':
        start, end = uneven_range(_vision_heads(heads), size, rank)
        by_head = _view(name, value, 0, 3, _vision_heads(heads))
        return by_head[:, start:end].reshape(-1, *value.shape[1:])
    if rule == 'vision-columns':
        start, end = uneven_range(_vision_heads(heads), size, rank)
        width = _divide(name, value.shape[1], _vision_heads(heads))
        return value[:, start * width : end * width]
    if rule == 'glu':
        share = _view(name, value, 0, 2, size)[:, rank]
        return share.reshape(-1, *value.shape[1:])
    axis = 0 if rule == 'rows' else 1
    width = _divide(name, value.shape[axis], size)
    return value.narrow(axis, rank * width, width)


def _vision_heads(heads: Heads | None) -> int:
    if heads is None:
        raise ConvertError('The head counts are unknown: name the Hugging Face folder, whose config.json holds them.')
    return heads.vision


def _divide(name: str, total: int, parts: int) -> int:
    # MindSpeed MM's own converter drops the remainder here without a word
    if total % parts != 0:
        raise ConvertError(
            f'Tensor {name} has {total} rows or columns, which {parts} does not divide: use another TP size.'
        )
    return total // parts


def _view(name: str, value: Tensor, axis: int, first: int, second: int) -> Tensor:
    width = _divide(name, value.shape[axis], first * second)
    return value.reshape(first, second, width, *value.shape[1:])


def merge(name: str, blocks: Sequence[Tensor]) -> Tensor:
    """The whole tensor from the shares of all ranks in rank order.

    Each rank's vision block is [q_r; k_r; v_r], so concatenating blocks would permute rows as the upstream converter
    does: all q come first, then all k, then all v.
    """
    rule = rule_of(name)
    if len(blocks) == 1 or rule == 'copy':
        return blocks[0]
    if rule in ('vision-qkv', 'glu'):
        first = 3 if rule == 'vision-qkv' else 2
        thirds = [block.reshape(first, _divide(name, block.shape[0], first), *block.shape[1:]) for block in blocks]
        return torch.cat(thirds, dim=1).reshape(-1, *blocks[0].shape[1:])
    return torch.cat(list(blocks), dim=0 if rule in ('rows', 'vocabulary') else 1)


def join_parts(parts: dict[str, Tensor], heads: Heads, name: str) -> Tensor:
    """One MM tensor from its Hugging Face parts: [q of g; k_g; v_g] over the groups g, or gate over up."""
    if set(parts) == {''}:
        return parts['']
    if set(parts) == {'gate', 'up'}:
        return torch.cat([parts['gate'], parts['up']])
    if set(parts) != {'q', 'k', 'v'}:
        raise ConvertError(f'Tensor {name} needs other parts than {sorted(parts)}: the model folder is incomplete.')
    by_group = [_grouped(name, parts[part], heads.groups) for part in ('q', 'k', 'v')]
    if (
        by_group[0].shape[1] * heads.groups != by_group[1].shape[1] * heads.text
        or by_group[1].shape != by_group[2].shape
    ):
        shapes = {part: list(value.shape) for part, value in parts.items()}
        raise ConvertError(f'Tensor {name}: shapes {shapes} do not fit {heads.text} heads in {heads.groups} groups.')
    return torch.cat(by_group, dim=1).reshape(-1, *parts['q'].shape[1:])


def _grouped(name: str, value: Tensor, groups: int) -> Tensor:
    return value.reshape(groups, _divide(name, value.shape[0], groups), *value.shape[1:])


def take_part(value: Tensor, part: str, heads: Heads, name: str) -> Tensor:
    """One Hugging Face part of an MM tensor, the inverse of join_parts."""
    if part == '':
        return value
    if part in ('gate', 'up'):
        half = _divide(name, value.shape[0], 2)
        return value[:half] if part == 'gate' else value[half:]
    queries = heads.text // heads.groups
    by_head = _view(name, value, 0, heads.groups, queries + 2)
    chosen = {'q': slice(0, queries), 'k': slice(queries, queries + 1), 'v': slice(queries + 1, queries + 2)}[part]
    return by_head[:, chosen].reshape(-1, *value.shape[1:])
