"""Checkpoints in MindSpeed MM's layout: shards first, each fsynced and renamed, the tracker last, by rank 0 alone.

Nodes share no disk: a rank reads only its own shard and its own node's tracker, and rank 0's node alone gets a tracker.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .errors import TrainerError
from .layout import iteration_folder
from .megatron_files import MODEL_FILE, OPTIMIZER_FILE, TRACKER_FILE

VERSION = 3.0


@dataclass(frozen=True)
class Tracked:
    """What a tracker names: an iteration, or converted weights that start at 0."""

    iteration: int
    release: bool

    @property
    def folder(self) -> str:
        return iteration_folder('release' if self.release else self.iteration)


def read_tracker(root: str | Path) -> Tracked | None:
    """The tracker of a checkpoint folder, None if there is none. Raises TrainerError if it names nothing."""
    path = Path(root) / TRACKER_FILE
    try:
        text = path.read_text(encoding='utf-8').strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if text == 'release':
        return Tracked(0, True)
    if not text.isdigit():
        raise TrainerError(f"Invalid metadata file {path}: it holds {text[:40]!r}, not an iteration or 'release'.")
    return Tracked(int(text), False)


def write_tracker(root: str | Path, iteration: int) -> None:
    """Name `iteration` as the newest complete checkpoint."""
    replace_file(Path(root) / TRACKER_FILE, lambda path: path.write_text(str(iteration), encoding='utf-8'))


def save_shard(
    root: str | Path, iteration: int, folder: str, payload: dict[str, Any], tensors: dict[str, Any] | None
) -> None:
    """Write one stage's files durably; `tensors` (optimizer state) goes to its own file when given."""
    target = Path(root) / iteration_folder(iteration) / folder
    target.mkdir(parents=True, exist_ok=True)
    if tensors is not None:
        replace_file(target / OPTIMIZER_FILE, lambda path: torch.save(tensors, path))
    replace_file(target / MODEL_FILE, lambda path: torch.save(payload, path))
    for parent in (target, target.parent, target.parent.parent):
        _sync_folder(parent)


def load_shard(root: str | Path, tracked: Tracked, folder: str) -> dict[str, Any]:
    """Read one stage's model file. Raises TrainerError naming the file when it is missing or unreadable."""
    return _read(Path(root) / tracked.folder / folder / MODEL_FILE)


def load_optimizer_tensors(root: str | Path, tracked: Tracked, folder: str) -> dict[str, Any]:
    """Read one stage's `distrib_optim.pt`. Raises TrainerError naming the file."""
    return _read(Path(root) / tracked.folder / folder / OPTIMIZER_FILE)


def load_weights(model: torch.nn.Module, weights: dict[str, Any], source: str) -> None:
    """Copy a shard's tensors in. Raises TrainerError naming missing, unexpected and misshapen tensors."""
    given = {name: value for name, value in weights.items() if value is not None}  # Megatron's *_extra_state
    own = model.state_dict()
    wrong = [f'missing {name}' for name in own if name not in given]
    wrong += [f'unexpected {name}' for name in given if name not in own]
    wrong += [
        f'{name} has shape {tuple(given[name].shape)}, the model {tuple(value.shape)}'
        for name, value in own.items()
        if name in given and given[name].shape != value.shape
    ]
    if wrong:
        raise TrainerError(
            f"The checkpoint {source} does not fit model.json's layout: {'; '.join(wrong[:4])}"
            f'{f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""}.'
        )
    model.load_state_dict(given)


def rng_state() -> list[dict[str, Any]]:
    """State of the generators of this process, in the list form of Megatron."""
    return [{'random_rng_state': random.getstate(), 'torch_rng_state': torch.get_rng_state()}]


def restore_rng(state: list[dict[str, Any]]) -> None:
    """Inverse of `rng_state`."""
    version, numbers, gauss = state[0]['random_rng_state']
    random.setstate((version, tuple(numbers), gauss))
    torch.set_rng_state(state[0]['torch_rng_state'])


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, fsync it, and rename it to `path`: never half a file under the final name."""
    temporary = path.with_name(path.name + '.tmp')
    write(temporary)
    with temporary.open('rb') as written:
        os.fsync(written.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise TrainerError(f'The checkpoint file {path} does not exist, though the tracker names its checkpoint.')
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainerError(f'could not load the checkpoint {path}: {first_line}') from error
