"""AdamW as Megatron sets it up, with its state by tensor name; the arithmetic is torch's own functional form.

`torch.optim.AdamW` itself is not used: making one loads torch's compiler, which doubles the start-up time (measured).
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw


class AdamW:
    """Two groups: matrices decay; biases, norms and other vectors do not. Parameters without a gradient stay put."""

    def __init__(self, parameters: dict[str, nn.Parameter], args: argparse.Namespace) -> None:
        self.parameters = parameters
        self.betas, self.eps, self.weight_decay = (args.adam_beta1, args.adam_beta2), args.adam_eps, args.weight_decay
        self.steps = 0
        self.moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in parameters.items()}

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One update with learning rate `lr` from the gradients that are set."""
        vectors = {name for name, parameter in self.parameters.items() if parameter.dim() <= 1}
        for names, decay in ((self.parameters.keys() - vectors, self.weight_decay), (vectors, 0.0)):
            chosen = [name for name in self.parameters if name in names]
            if not chosen:
                continue
            adamw(
                [self.parameters[name] for name in chosen],
                [self.parameters[name].grad for name in chosen],
                [self.moments[name][0] for name in chosen],
                [self.moments[name][1] for name in chosen],
                [],
                [torch.tensor(float(self.steps)) for _ in chosen],
                foreach=False,
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=lr,
                weight_decay=decay,
                eps=self.eps,
                maximize=False,
            )
        self.steps += 1

    def settings(self) -> dict[str, Any]:
        """What a checkpoint says about the optimizer besides its tensors."""
        return {'steps': self.steps, 'betas': self.betas, 'eps': self.eps, 'weight_decay': self.weight_decay}

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """First and second moment of each parameter, by name."""
        return {name: {'exp_avg': first, 'exp_avg_sq': second} for name, (first, second) in self.moments.items()}

    def restore(self, settings: dict[str, Any], tensors: dict[str, dict[str, Tensor]]) -> None:
        """Take up saved moments and the step count; the names must be those of `tensors()`."""
        self.steps = int(settings['steps'])
        for name, (first, second) in self.moments.items():
            first.copy_(tensors[name]['exp_avg'])
            second.copy_(tensors[name]['exp_avg_sq'])
