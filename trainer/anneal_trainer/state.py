"""What a run must keep to go on in the same bits: weights, optimizer, learning rate, generators, data position."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor

from . import checkpoint, lora
from .errors import TrainerError
from .log import Logger
from .model import InternVL
from .optimizer import AdamW
from .runtime import agree
from .schedule import LearningRate
from .topology import Place, Topology


@dataclass
class RunState:
    """The moving parts of a run on one rank, and where it stands."""

    args: argparse.Namespace
    log: Logger
    topology: Topology
    place: Place
    model: InternVL
    optimizer: AdamW
    schedule: LearningRate
    iteration: int = 0
    consumed: int = 0
    saved_at: int = -1

    def save(self) -> None:
        """Write this rank's shard, wait for all ranks, then let rank 0 move the tracker. Nothing without --save."""
        args, root = self.args, self.args.save
        if root is None or self.saved_at == self.iteration:
            return
        self.log.first(f'saving checkpoint at iteration {self.iteration:7d} to {root} in torch format')
        if self.log.rank == self.place.ranks[0]:
            tensors = self._optimizer_tensors()
            apart = args.use_distributed_optimizer and not args.no_save_optim
            payload = self._payload({} if apart else tensors)
            checkpoint.save_shard(root, self.iteration, self.place.folder, payload, tensors if apart else None)
        # Only when every rank's files are on its disk may a tracker name them.
        dist.barrier()
        if self.log.rank == 0:
            checkpoint.write_tracker(root, self.iteration)
        self.log.first(f'  successfully saved checkpoint from iteration {self.iteration:7d} to {root} [ t 1/1, p 1/1 ]')
        dist.barrier()
        self.saved_at = self.iteration

    def load(self) -> bool:
        """Take up the checkpoint that --load's tracker names; False if there is none.

        Raises TrainerError when a shard is missing or unfit, or when ranks see different checkpoints.
        """
        root = self.args.load
        tracked = checkpoint.read_tracker(root)
        found = agree([-1 if tracked is None else tracked.iteration, int(tracked is not None and tracked.release)])
        if any(item != found[0] for item in found):
            raise TrainerError(
                f'Ranks see different checkpoints in their --load folders (iteration, release): {found}.'
            )
        if tracked is None:
            return False
        what = ' release checkpoint' if tracked.release else ' checkpoint'
        self.log.first(f' loading{what} from {root} at iteration {tracked.iteration}')
        shard = checkpoint.load_shard(root, tracked, self.place.folder)
        source = str(Path(root) / tracked.folder / self.place.folder)
        checkpoint.load_weights(self.model, self._weights(shard['model'], source), source)
        if not tracked.release and not self.args.finetune:
            self.iteration = int(shard['iteration'])
            self.consumed = int(shard['args']['consumed_train_samples'])
            self.saved_at = self.iteration if root == self.args.save else -1
            self._restore(shard, tracked, source)
        self.log.first(
            f'  successfully loaded checkpoint from {root} [ t 1/1, p {self.place.pp_rank + 1}/'
            f'{self.place.submodel.pp} ] at iteration {self.iteration}'
        )
        return True

    def _weights(self, loaded: dict[str, Any], source: str) -> dict[str, Any]:
        """Of an adapted model: the base, which no checkpoint holds, and beside it what was loaded."""
        if not self.model.adapted:
            return loaded
        root = self.args.load_base_model
        if root is None:
            return lora.whole_state(self.model, loaded, None, source)
        tracked = checkpoint.read_tracker(root)
        if tracked is None:
            raise TrainerError(f'--load-base-model {root} holds no checkpoint; name the folder of the base model.')
        base = checkpoint.load_shard(root, tracked, self.place.folder)
        return lora.whole_state(self.model, loaded, base['model'], source)

    def _restore(self, shard: dict[str, Any], tracked: checkpoint.Tracked, source: str) -> None:
        if not self.args.no_load_optim:
            if 'optimizer' not in shard:
                raise TrainerError(f'{source} holds no optimizer state; pass --no-load-optim to start it afresh.')
            state = shard['optimizer']['state']
            if not state and self.optimizer.parameters:  # it was saved with --use-distributed-optimizer
                state = checkpoint.load_optimizer_tensors(self.args.load, tracked, self.place.folder)
            self._load_optimizer(shard['optimizer']['settings'], state, source)
            # Megatron keeps the schedule with the optimizer: without the one, the other starts again too.
            self.schedule.load_state_dict(shard['opt_param_scheduler'])
        if not self.args.no_load_rng:
            if 'rng_state' not in shard:
                raise TrainerError(f'Unable to load rng state from {source}; pass --no-load-rng to start it afresh.')
            checkpoint.restore_rng(shard['rng_state'])

    def _payload(self, optimizer_tensors: dict[str, Any]) -> dict[str, Any]:
        payload: dict[str, Any] = {
            'args': self._plain_args(),
            'checkpoint_version': checkpoint.VERSION,
            'iteration': self.iteration,
            'model': {name: value.detach().clone() for name, value in self._saved_tensors()},
        }
        if not self.args.no_save_optim:
            payload['optimizer'] = {'settings': self.optimizer.settings(), 'state': optimizer_tensors}
            payload['opt_param_scheduler'] = self.schedule.state_dict()
        if not self.args.no_save_rng:
            payload['rng_state'] = checkpoint.rng_state()
        return payload

    def _saved_tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, value in self.model.state_dict().items():
            if lora.is_adapter(name) or not self.model.adapted:
                yield name, value

    def _plain_args(self) -> dict[str, Any]:
        """A plain dict, not Megatron's Namespace: torch refuses to unpickle classes by default."""
        config = self.model.config
        plain = {k: v for k, v in vars(self.args).items() if v is None or isinstance(v, (bool, int, float, str, list))}
        return {
            **plain,
            'consumed_train_samples': self.consumed,
            'world_size': self.place.submodel.world_size,
            'pipeline_model_parallel_size': self.place.submodel.pp,
            'data_parallel_size': self.place.submodel.dp,
            'num_layers': config.language.num_layers,
            'hidden_size': config.language.hidden_size,
            'num_attention_heads': config.language.num_attention_heads,
        }

    def _optimizer_tensors(self) -> dict[str, Any]:
        return {self.place.stage.local_name(name): state for name, state in self.optimizer.tensors().items()}

    def _load_optimizer(self, settings: dict[str, Any], tensors: dict[str, Any], source: str) -> None:
        saved = {self.place.stage.global_name(name): state for name, state in tensors.items()}
        differing = sorted(set(saved) ^ set(self.optimizer.parameters))
        if differing:
            raise TrainerError(
                f'The optimizer state in {source} belongs to other parameters, such as {differing[0]} '
                '(was freeze changed?); pass --no-load-optim to start it afresh.'
            )
        self.optimizer.restore(settings, saved)
