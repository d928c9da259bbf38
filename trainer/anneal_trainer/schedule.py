"""Megatron's learning-rate schedule as a function of samples consumed, with the state it keeps in a checkpoint."""

from __future__ import annotations

import argparse
import math
from typing import Any

from .errors import TrainerError

_SETTINGS = ('max_lr', 'min_lr', 'lr_warmup_init', 'lr_warmup_steps', 'lr_decay_steps', 'lr_decay_style')


class LearningRate:
    """Counts in samples (`num_steps`), as Megatron does; the rate of an iteration is that before its samples count."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.settings: dict[str, Any] = {
            'max_lr': args.lr,
            'min_lr': args.min_lr,
            'lr_warmup_init': args.lr_warmup_init,
            'lr_warmup_steps': args.lr_warmup_iters * args.global_batch_size,
            'lr_decay_steps': args.lr_decay_iters * args.global_batch_size,
            'lr_decay_style': args.lr_decay_style,
        }
        self.num_steps = 0
        self.override = args.override_opt_param_scheduler
        self.use_checkpoint = args.use_checkpoint_opt_param_scheduler

    def step(self, samples: int) -> None:
        """Count the samples of one iteration."""
        self.num_steps += samples

    def value(self) -> float:
        """The rate for the samples that come next."""
        s, steps = self.settings, self.num_steps
        low, high, warmup, decay = s['min_lr'], s['max_lr'], s['lr_warmup_steps'], s['lr_decay_steps']
        if warmup > 0 and steps <= warmup:
            return s['lr_warmup_init'] + (high - s['lr_warmup_init']) * steps / warmup
        if s['lr_decay_style'] == 'constant':
            return high
        if steps > decay:
            return low
        ratio = (steps - warmup) / (decay - warmup)
        share = 1.0 - ratio if s['lr_decay_style'] == 'linear' else 0.5 * (math.cos(math.pi * ratio) + 1.0)
        return low + share * (high - low)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return {**self.settings, 'num_steps': self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the checkpoint stopped. Raises TrainerError if its schedule is another than the arguments'."""
        for key in _SETTINGS:
            if state[key] == self.settings[key] or self.override:
                continue
            if not self.use_checkpoint:
                raise TrainerError(
                    f"The checkpoint's schedule has {key} {state[key]}, the arguments give {self.settings[key]}; pass "
                    '--override-opt_param-scheduler to take the arguments or --use-checkpoint-opt_param-scheduler.'
                )
            self.settings[key] = state[key]
        self.num_steps = int(state['num_steps'])
