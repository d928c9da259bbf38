"""Sums over ranks: gradients of replicas, tied embeddings, and one small all-reduce that carries all else of a step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from .config import ModelConfig
from .lora import is_adapter
from .model import InternVL
from .topology import Topology, is_trainable

_EMBEDDING, _OUTPUT = 'text_decoder.embedding.word_embeddings.weight', 'text_decoder.output_layer.weight'


@dataclass(frozen=True)
class StepFacts:
    """What every rank knows after a step."""

    loss: float  # mean over the units of the iteration
    grad_norm: float  # before clipping
    stop_requested: bool  # some rank has got SIGTERM
    time_is_up: bool  # rank 0 says that --exit-duration-in-mins is over
    spoilt_on: tuple[int, ...]  # ranks that made something of this iteration that is not finite, out of finite values

    @property
    def finite(self) -> bool:
        """Whether a step may be taken."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


class Reducer:
    """Holds the groups of one rank. Every rank must build it, since groups are made together."""

    def __init__(self, rank: int, topology: Topology, model: InternVL, config: ModelConfig, units: int) -> None:
        self.rank = rank
        self.place = topology.place_of(rank)
        self.leader = rank == self.place.ranks[0]
        self.units = units
        self.parameters = trainable_parameters(model, config)
        self.slots = _slots(self.parameters, topology, config)
        self.replicas = [dist.new_group(list(p.ranks)) if len(p.ranks) > 1 else None for p in topology.places]
        self.tied = _tied_group(rank, topology, config)

    def reduce_gradients(self) -> bool | None:
        """Sum `.grad` over the replicas of this stage as one flat buffer, then over both ends of a tied embedding.

        Returns whether this rank's own part of a sum was finite; None where nothing was added to it.
        """
        own = None
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        group = self.replicas[self.place.index]
        if group is not None and self.parameters:
            gradients = [parameter.grad for parameter in self.parameters.values()]
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            own = is_finite(flat)
            dist.all_reduce(flat, group=group)
            for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))
        shared = self.parameters.get(_EMBEDDING, self.parameters.get(_OUTPUT))
        if self.tied is not None and shared is not None:
            own = all(is_finite(parameter.grad) for parameter in self.parameters.values()) if own is None else own
            dist.all_reduce(shared.grad, group=self.tied)
        return own

    def share(
        self, losses: dict[int, float], stop_requested: bool, time_is_up: bool, spoilt: bool | None = None
    ) -> StepFacts:
        """One all-reduce over the world: stop flags, the loss of each unit, the squared norm of each parameter.

        Each slot is written by one rank and the sum is taken in one order by all, so loss and norm do not depend on
        the layout, and no rank needs another collective to learn that another one wants to stop. `spoilt` says whether
        this rank made something that is not finite; None: as its own gradients' norms say.
        """
        known = 2 + self.units + len(self.slots)
        vector = torch.zeros(known + dist.get_world_size(), dtype=torch.float64)
        vector[0], vector[1] = float(stop_requested), float(time_is_up)
        for unit, loss in losses.items():
            vector[2 + unit] = loss
        if self.leader:
            for name, parameter in self.parameters.items():
                if name in self.slots:  # the copy of a tied embedding has none: it counts once
                    vector[2 + self.units + self.slots[name]] = parameter.grad.double().pow(2).sum()
        vector[known + self.rank] = float(not is_finite(vector) if spoilt is None else spoilt)
        if dist.get_world_size() > 1:
            dist.all_reduce(vector)
        values = vector.tolist()
        return StepFacts(
            loss=sum(values[2 : 2 + self.units]) / self.units,
            grad_norm=math.sqrt(sum(values[2 + self.units : known])),
            stop_requested=values[0] > 0.0,
            time_is_up=values[1] > 0.0,
            spoilt_on=tuple(rank for rank, flag in enumerate(values[known:]) if flag > 0.0),
        )

    def clip(self, grad_norm: float, limit: float) -> None:
        """Scale all gradients as Megatron does when their norm is above `limit` (0: never)."""
        scale = limit / (grad_norm + 1.0e-6)
        if limit > 0.0 and scale < 1.0:
            for parameter in self.parameters.values():
                parameter.grad.mul_(scale)


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds neither a NaN nor an infinity."""
    return bool(torch.isfinite(tensor).all())


def trainable_parameters(model: InternVL, config: ModelConfig) -> dict[str, nn.Parameter]:
    """What `freeze` leaves to be trained, of an adapted model the adapters alone, by unsplit-model name.

    All other parameters lose `requires_grad`.
    """
    found = {}
    for name, parameter in model.named_parameters():
        unsplit = model.stage.global_name(name)
        parameter.requires_grad_(is_trainable(unsplit, config) and (is_adapter(name) or not model.adapted))
        if parameter.requires_grad:
            found[unsplit] = parameter
    return found


def _slots(own: dict[str, nn.Parameter], topology: Topology, config: ModelConfig) -> dict[str, int]:
    """A number for each trained parameter of the unsplit model, in its order, whoever holds it."""
    names: list[list[str]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(names, list(own))
    ordered = [name for place in topology.places for name in names[place.ranks[0]]]
    if config.language.tie_word_embeddings and _OUTPUT in ordered:
        ordered.remove(_OUTPUT)
    return {name: index for index, name in enumerate(ordered)}


def _tied_group(rank: int, topology: Topology, config: ModelConfig) -> dist.ProcessGroup | None:
    """The group of first and last language stage of this rank's replica, when they hold copies of one embedding."""
    first = next(place for place in topology.places if place.stage.llm_begin)
    last = next(place for place in topology.places if place.stage.llm_end)
    if not config.language.tie_word_embeddings or first is last:
        return None
    own = None
    for pair in zip(first.ranks, last.ranks, strict=True):
        group = dist.new_group(list(pair))
        own = group if rank in pair else own
    return own
