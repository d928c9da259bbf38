"""Megatron's log lines, word for word, so that one parser serves both runtimes; every line is flushed at once."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import perf_counter, time
from typing import TextIO


@dataclass(frozen=True)
class Logger:
    """Prints for one rank: some lines belong to the first rank, the loss line to the last."""

    rank: int
    world_size: int

    def first(self, text: str) -> None:
        """Print on rank 0."""
        if self.rank == 0:
            print(text, flush=True)

    def last(self, text: str) -> None:
        """Print on the last rank, which is on the last node."""
        if self.rank == self.world_size - 1:
            print(text, flush=True)

    def every(self, text: str) -> None:
        """Print on this rank."""
        print(text, flush=True)

    def marker(self, text: str) -> None:
        """A stage marker of rank 0: `[after training is done] datetime: 2026-01-31 12:00:00 `."""
        self.first(f'[{text}] datetime: {datetime.now():%Y-%m-%d %H:%M:%S} ')


@dataclass
class Progress:
    """What happened since the last loss line, and how to print it."""

    log: Logger
    train_iters: int
    global_batch: int
    interval: int
    losses: list[float] = field(default_factory=list)
    started: float = field(default_factory=perf_counter)

    def add(self, iteration: int, consumed: int, loss: float, grad_norm: float, lr: float) -> None:
        """Count one iteration; print when the interval is full. `lr` is the rate that was used, as MindSpeed MM
        prints it since 2.2.0; Megatron's own loop prints that of the coming iteration."""
        self.losses.append(loss)
        if iteration % self.interval:
            return
        elapsed_ms = (perf_counter() - self.started) * 1000.0 / self.interval
        self.log.last(
            f' [{datetime.now():%Y-%m-%d %H:%M:%S}] iteration {iteration:8d}/{self.train_iters:8d} |'
            f' consumed samples: {consumed:12d} | elapsed time per iteration (ms): {elapsed_ms:.1f} |'
            f' learning rate: {lr:.6E} | global batch size: {self.global_batch:5d} |'
            f' loss: {sum(self.losses) / len(self.losses):.6E} | loss scale: 1.0 |'
            f' grad norm: {grad_norm:.3f} | number of skipped iterations: {0:3d} |'
            f' number of nan iterations: {0:3d} |'
        )
        self.losses = []
        self.started = perf_counter()


class MetricsFile:
    """JSON lines of the last rank; floats as `float.hex()`, since rounded numbers cannot prove equal runs."""

    def __init__(self, path: str | None) -> None:
        self.file: TextIO | None = None
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self.file = Path(path).open('a', encoding='utf-8')

    def write(self, iteration: int, loss: float, grad_norm: float, lr: float, consumed: int, seconds: float) -> None:
        """One iteration; `lr` is the rate that was used, `seconds` what it took, `time` when it ended."""
        if self.file is None:
            return
        line = {
            'iteration': iteration,
            'loss': loss.hex(),
            'grad_norm': grad_norm.hex(),
            'lr': lr.hex(),
            'consumed_samples': consumed,
            'seconds': round(seconds, 6),
            'time': round(time(), 3),
        }
        self.file.write(json.dumps(line) + '\n')
        self.file.flush()


def memory_line(rank: int, iteration: int) -> str:
    """Megatron's memory report in MiB; a CPU process has resident memory, so allocated and reserved are that."""
    fields = {'VmRSS': 0.0, 'VmHWM': 0.0}
    for line in Path('/proc/self/status').read_text(encoding='ascii', errors='replace').splitlines():
        key, _, value = line.partition(':')
        if key in fields:
            fields[key] = int(value.split()[0]) / 1024.0
    now, peak = fields['VmRSS'], fields['VmHWM']
    return (
        f'[Rank {rank}] (after {iteration} iterations) memory (MB) | allocated: {now} | max allocated: {peak} | '
        f'reserved: {now} | max reserved: {peak}'
    )


def fail_line(message: str, rank: int) -> None:
    """The last words of a rank, on stderr."""
    print(f'[Rank {rank}] error: {message}', file=sys.stderr, flush=True)
