"""Files of Megatron's layout: tracker, rank directories, payloads; each is written as temporary, fsync, rename."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from .hf_files import ConvertError, shorten
from .megatron_files import TRACKER_FILE

CHECKPOINT_VERSION = 3.0
RANK_NAME = re.compile(r'mp_(?:([a-z]+)_)?rank_(\d{2})(?:_(\d{3}))?')


def find_iteration(root: Path) -> tuple[str, Path]:
    """What the tracker names, `release` or a number, and its folder; raises ConvertError where either is missing."""
    tracker = root / TRACKER_FILE
    if not tracker.is_file():
        raise ConvertError(f'{root} holds no {TRACKER_FILE}: it is no checkpoint, or its writer was stopped half-way.')
    word = tracker.read_text(encoding='utf-8').strip()
    if word != 'release' and not word.isdecimal():
        raise ConvertError(f'{tracker} holds {word!r}, which is neither "release" nor an iteration.')
    folder = root / (word if word == 'release' else f'iter_{int(word):07d}')
    if not folder.is_dir():
        raise ConvertError(f'{tracker} names {folder.name}, which is not in {root}: the checkpoint is incomplete.')
    return word, folder


def rank_directories(folder: Path) -> dict[str, dict[tuple[int, int], Path]]:
    """Rank directories by label ('' for a plain checkpoint, `vit`, `gpt` for Dist-train's) and (TP rank, PP rank).

    Raises ConvertError for a set with gaps and for a directory of another layout, which is how left-overs show.
    """
    found: dict[str, dict[tuple[int, int], Path]] = {}
    numbered: dict[str, set[bool]] = {}
    for path in sorted(folder.iterdir()):
        match = RANK_NAME.fullmatch(path.name)
        if match is None:
            if path.is_dir() and path.name.startswith('mp_'):
                raise ConvertError(f'{path} is a rank directory of a kind that this converter does not know.')
            continue
        label = match[1] or ''
        found.setdefault(label, {})[int(match[2]), int(match[3] or 0)] = path
        numbered.setdefault(label, set()).add(match[3] is not None)
    if not found:
        raise ConvertError(f'{folder} holds no mp_rank_… directory: the checkpoint is incomplete.')
    for label, ranks in found.items():
        wanted = {(t, p) for t in range(max(r[0] for r in ranks) + 1) for p in range(max(r[1] for r in ranks) + 1)}
        if wanted != set(ranks) or len(numbered[label]) > 1:
            names = ', '.join(sorted(path.name for path in folder.iterdir() if RANK_NAME.fullmatch(path.name)))
            raise ConvertError(f'{folder} holds rank directories with gaps or of two layouts: {names}.')
    return found


def require_fresh(target: Path, what: str) -> None:
    """Refuses a target that is not empty: old rank directories in it would be taken for part of the new model."""
    if target.exists() and not target.is_dir():
        raise ConvertError(f'{what} {target} is a file: name a folder that is absent or empty.')
    left = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
    if left:
        raise ConvertError(
            f'{what} {target} is not empty (it holds {shorten(left)}): name a folder that is absent or empty.'
        )


def write_payload(path: Path, chunks: dict[str, dict[str, Tensor]]) -> None:
    payload: dict[str, Any] = {**chunks, 'checkpoint_version': CHECKPOINT_VERSION}
    # through a file object: the archive inside then has the same name always, so equal weights make equal files
    _write(path, lambda stream: torch.save(payload, stream))


def write_tracker(root: Path) -> None:
    """Comes after every rank file, so that its presence proves a complete conversion."""
    _write(root / TRACKER_FILE, lambda stream: stream.write(b'release'))


def write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    temporary = _temporary(path)
    save_file(tensors, temporary, metadata={'format': 'pt'})
    with temporary.open('rb+') as stream:
        os.fsync(stream.fileno())
    _publish(temporary, path)


def copy_file(source: Path, target: Path) -> None:
    with source.open('rb') as reader:
        _write(target, lambda stream: shutil.copyfileobj(reader, stream))


def make_directory(path: Path) -> None:
    """Creates a folder and its parents, 750 like MindSpeed MM's where it is new."""
    path.mkdir(parents=True, exist_ok=True, mode=0o750)


def _temporary(path: Path) -> Path:
    return path.with_name(f'.{path.name}.tmp-{os.getpid()}')


def _write(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    temporary = _temporary(path)
    with temporary.open('wb') as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
    _publish(temporary, path)


def _publish(temporary: Path, path: Path) -> None:
    temporary.chmod(0o640)
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
