"""The process group and the settings that make a run repeatable bit for bit."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist


def make_repeatable(seed: int) -> None:
    """One thread and deterministic kernels: a sum then has one order, on this machine, in every run."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    random.seed(seed)


def join_ranks(timeout_minutes: float) -> tuple[int, int]:
    """Join torchrun's ranks over gloo, or be the only one without torchrun. Returns (rank, world size)."""
    timeout = timedelta(minutes=timeout_minutes)
    if 'RANK' not in os.environ:
        dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1, timeout=timeout)
        return 0, 1
    local = os.environ.get('MASTER_ADDR') in ('127.0.0.1', 'localhost')
    if local and Path('/sys/class/net/lo').exists():
        # gloo would look up the host's own name, which many laptops and bare containers cannot resolve.
        os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    dist.init_process_group('gloo', timeout=timeout)
    return dist.get_rank(), dist.get_world_size()


def agree(values: list[int]) -> list[list[int]]:
    """The values of every rank, by rank."""
    own = torch.tensor(values, dtype=torch.int64)
    everyone = [torch.zeros_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, own)
    return [item.tolist() for item in everyone]
