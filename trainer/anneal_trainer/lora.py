"""LoRA as MindSpeed MM has it: adapters beside the linear layers that are named, all else frozen and not saved.

Names are those of its checkpoints: `….linear_qkv.lora_A.default.weight`, and the layer's own weight, which a base model
calls `….linear_qkv.weight`, is `….linear_qkv.base_layer.weight` inside the model. What its loading takes without a word
(adapters without their base, which leaves the base random) is refused here.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor, nn

from .errors import TrainerError, UsageError
from .model import InternVL
from .topology import is_trainable
from .vision import hash64

TARGETS = ('linear_qkv', 'linear_proj', 'linear_fc1', 'linear_fc2')
_MARK, _BASE = '.lora_', '.base_layer.'


class LoraLinear(nn.Module):
    """A frozen linear layer and its adapter: W x + alpha / rank * B A x."""

    def __init__(self, base_layer: nn.Linear, rank: int, alpha: int) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.ModuleDict({'default': nn.Linear(base_layer.in_features, rank, bias=False)})
        self.lora_B = nn.ModuleDict({'default': nn.Linear(rank, base_layer.out_features, bias=False)})
        self.scaling = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        return self.base_layer(x) + self.lora_B['default'](self.lora_A['default'](x)) * self.scaling


def is_adapter(name: str) -> bool:
    """Whether a tensor of that name is part of an adapter, and so of a checkpoint."""
    return _MARK in name


def add_adapters(model: InternVL, args: argparse.Namespace) -> None:
    """Wrap the target layers of the modules that are not frozen; without targets nothing happens.

    A is drawn from (seed, its name in the unsplit model), so that all layouts start from equal weights; B is zero.
    """
    if not args.lora_target_modules:
        return
    for name, layer in list(model.named_modules()):
        parent, _, last = name.rpartition('.')
        unsplit = model.stage.global_name(name)
        if last not in args.lora_target_modules or not is_trainable(unsplit, model.config):
            continue
        wrapped = LoraLinear(layer, args.lora_r, args.lora_alpha)
        bound = layer.in_features**-0.5
        generator = torch.Generator().manual_seed(hash64(f'{args.seed}/{unsplit}.lora_A') >> 1)
        with torch.no_grad():
            wrapped.lora_A['default'].weight.uniform_(-bound, bound, generator=generator)
            wrapped.lora_B['default'].weight.zero_()
        setattr(model.get_submodule(parent), last, wrapped)
    model.adapted = True


def whole_state(model: nn.Module, loaded: dict[str, Any], base: dict[str, Any] | None, source: str) -> dict[str, Any]:
    """The tensors of an adapted model by its own names.

    At the first start `loaded` is the base model, and the adapters stay as they were drawn; later it holds the adapters
    alone, and `base` the model that they were trained beside. Raises TrainerError for adapters without a base.
    """
    own = model.state_dict()
    if base is None and any(map(is_adapter, loaded)):
        raise TrainerError(f'{source} holds adapters alone; name the model that they belong to with --load-base-model.')
    plain = {name.replace(_BASE, '.'): name for name in own}
    frozen = {plain.get(name, name): value for name, value in (loaded if base is None else base).items()}
    return frozen | {name: value for name, value in (own if base is None else loaded).items() if is_adapter(name)}


def check_lora_args(args: argparse.Namespace) -> None:
    """Fill in MindSpeed MM's defaults; refuse what there would train another thing in silence. Raises UsageError."""
    given = [
        flag
        for flag in ('--lora-r', '--lora-alpha', '--lora-dropout', '--load-base-model')
        if getattr(args, flag[2:].replace('-', '_')) is not None
    ]
    if given and not args.lora_target_modules:
        raise UsageError(f'{given[0]} is given without --lora-target-modules, so all weights would be trained.')
    unknown = [name for name in args.lora_target_modules if name not in TARGETS]
    if unknown:
        raise UsageError(
            f'--lora-target-modules names {unknown[0]}, which no layer is called; take {", ".join(TARGETS)}.'
        )
    if args.lora_dropout:
        raise UsageError(f'--lora-dropout is {args.lora_dropout}: the CPU trainer has no dropout, so it must be 0.')
    args.lora_r = args.lora_r or 8
    args.lora_alpha = args.lora_alpha or 16
