"""One training step of one rank: micro-batches through the chain of stages, gradients back, sums over replicas."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from .config import ModelConfig
from .data import Batches, TextBatch
from .model import InternVL
from .reduce import is_finite
from .topology import Place, Topology


@dataclass
class _Flight:
    """A unit between its forward and its backward pass: what came in and what went out."""

    received: Tensor | None
    output: Tensor


@dataclass
class Exchange:
    """Runs the units of an iteration on one rank.

    All forwards, then all backwards (GPipe), but the last stage runs a unit's backward right after its forward, so the
    stages before it have something to do. Sends never block: each is kept until the step ends, receives are in unit
    order on both sides, so no two ranks can wait for each other.
    """

    rank: int
    topology: Topology
    place: Place
    model: InternVL
    config: ModelConfig
    batches: Batches
    seed: int
    needs_grad_in: bool  # whether what arrives needs a gradient, so something before this stage is trained
    needs_grad_out: bool  # whether the stage after this one sends a gradient
    sends: list[tuple[dist.Work, Tensor]] = field(default_factory=list)
    # What of this iteration was not finite first on this rank: what it `came` by, or what it `made` of finite values.
    spoilt: str | None = None

    def run(self, consumed: int) -> dict[int, float]:
        """One iteration's forward and backward passes; gradients are summed in `.grad`, the loss of each own unit is
        returned by the last stage (elsewhere: empty)."""
        dp = self.place.submodel.dp
        units = range(self.place.ranks.index(self.rank), self.batches.units, dp)
        self.spoilt = None
        flights: dict[int, _Flight] = {}
        losses: dict[int, float] = {}
        for unit in units:
            flight = self._forward(consumed, unit)
            self._judge(flight.output, 'made')
            if self.place.stage.llm_end:
                losses[unit] = flight.output.item()
                self._backward(unit, flight)
            else:
                self._send(flight.output.detach(), 1, unit)
                flights[unit] = flight
        for unit, flight in flights.items():
            self._backward(unit, flight)
        for work, _ in self.sends:
            work.wait()
        self.sends.clear()
        return losses

    def _forward(self, consumed: int, unit: int) -> _Flight:
        samples = self.batches.samples(consumed, unit)
        stage, model = self.place.stage, self.model
        text = self.batches.text(samples) if model.text_decoder is not None else None
        received = None if self.place.index == 0 else self._receive_input(samples, unit, text)
        x = received
        if model.image_encoder is not None:
            pixels = self.batches.images(samples) if stage.vit_begin else x
            x = model.image_encoder(pixels, self._drop_keys(consumed, unit, samples))
        if model.text_decoder is None or text is None:
            return _Flight(received, x)
        source, features = (text.ids, x) if stage.llm_begin else (x, None)
        x = model.text_decoder(source, features, text.positions if stage.llm_end else None)
        if stage.llm_end:
            x = F.cross_entropy(x, text.targets)
        return _Flight(received, x)

    def _backward(self, unit: int, flight: _Flight) -> None:
        if self.place.stage.llm_end:
            if flight.output.requires_grad:
                # Megatron's default: mean over a micro-batch's tokens, then mean over micro-batches of all replicas.
                (flight.output / self.batches.units).backward()
        elif self.needs_grad_out:
            gradient = torch.empty_like(flight.output)
            dist.recv(gradient, self._peer(1, unit), tag=2 * unit + 1)
            self._judge(gradient, 'came')
            if flight.output.requires_grad:  # not when select_layer leaves all trained layers unused
                flight.output.backward(gradient)
        if flight.received is not None and self.needs_grad_in:
            gradient = flight.received.grad
            self._send(torch.zeros_like(flight.received) if gradient is None else gradient, -1, unit)

    def _receive_input(self, samples: list[int], unit: int, text: TextBatch | None) -> Tensor:
        before = self.topology.places[self.place.index - 1].stage
        vision, language = self.config.vision, self.config.language
        images = self.batches.image_count(samples)
        if before.llm_count and text is not None:
            shape = (*text.ids.shape, language.hidden_size)
        elif before.vit_end:
            shape = (images * self.config.tokens_per_image, language.hidden_size)
        else:
            shape = (images, vision.num_patches + 1, vision.hidden_size)
        received = torch.empty(shape)
        dist.recv(received, self._peer(-1, unit), tag=2 * unit)
        self._judge(received, 'came')
        return received.requires_grad_(self.needs_grad_in)

    def _judge(self, tensor: Tensor, how: str) -> None:
        if self.spoilt is None and not is_finite(tensor):
            self.spoilt = how

    def _send(self, tensor: Tensor, direction: int, unit: int) -> None:
        tensor = tensor.contiguous()
        work = dist.isend(tensor, self._peer(direction, unit), tag=2 * unit + (direction < 0))
        self.sends.append((work, tensor))  # the buffer must outlive the send

    def _peer(self, direction: int, unit: int) -> int:
        ranks = self.topology.places[self.place.index + direction].ranks
        return ranks[unit % len(ranks)]

    def _drop_keys(self, consumed: int, unit: int, samples: list[int]) -> list[str] | None:
        if self.config.vision.drop_path_rate == 0.0:
            return None
        first = consumed + unit * self.batches.micro_batch
        return [
            f'{self.seed}/{first + offset}/{image}'
            for offset, sample in enumerate(samples)
            for image in range(self.batches.image_count([sample]))
        ]
