"""Find the data sets of a source: InternVL's meta JSON, the tree `playground/{data,opensource}`, or two given paths.

No path of a meta file may leave the source: a data set from elsewhere must not read this machine's other files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from .errors import TrainerError

MAX_REPEAT = 100
ROOT_PROBE_ROWS = 50


class DataRefused(TrainerError):
    """The data cannot be used (exit code 3); the message says what to do about it."""

    exit_code = 3


@dataclass(frozen=True)
class Dataset:
    """One annotation file, the folder that its image paths start from, and how often its rows count."""

    name: str
    annotation: Path
    images: Path
    repeat_time: float = 1.0


def find_datasets(
    source: Path | None, meta: Path | None = None, annotations: Path | None = None, images: Path | None = None
) -> list[Dataset]:
    """Return the data sets in name order; raises DataRefused when there are none or one of them cannot be read."""
    if annotations is not None and images is not None:
        return [_dataset(annotations.stem, annotations, images, 1.0)]
    if source is None or not source.is_dir():
        raise DataRefused(
            f'The source {source} is not a folder: give the folder that holds playground/ or a meta JSON.'
        )
    metas = [meta] if meta is not None else _meta_files(source)
    if metas:
        found = [dataset for path in metas for dataset in _from_meta(source, path)]
    else:
        found = _from_playground(source)
    if not found:
        raise DataRefused(
            f'No data set was found under {source}: neither playground/opensource/*.jsonl nor a meta JSON '
            '({"name": {"root": ..., "annotation": ...}}). Give --meta, or --annotations with --images.'
        )
    names = [dataset.name for dataset in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataRefused(f'The data set {twice[0]!r} is described twice under {source}: choose one with --meta.')
    return sorted(found, key=lambda dataset: dataset.name)


def read_rows(dataset: Dataset) -> Iterator[tuple[int, Any]]:
    """Yield (line number from 1, row); a row that is no JSON comes as the ValueError that says why."""
    if dataset.annotation.suffix == '.json':
        try:
            rows = json.loads(dataset.annotation.read_text(encoding='utf-8-sig'))
        except ValueError as error:
            raise DataRefused(f'The annotation file {dataset.annotation} is no JSON ({error}): repair it.') from error
        if not isinstance(rows, list):
            raise DataRefused(f'The annotation file {dataset.annotation} is no JSON array of rows: make it one.')
        yield from enumerate(rows, 1)
        return
    with dataset.annotation.open('rb') as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, error


def _dataset(name: str, annotation: Path, images: Path, repeat: Any) -> Dataset:
    if not annotation.is_file():
        raise DataRefused(f'The annotation file {annotation} of data set {name!r} does not exist: correct its path.')
    if annotation.suffix not in ('.jsonl', '.json'):
        raise DataRefused(f'The annotation file {annotation} of data set {name!r} must end in .jsonl or .json.')
    if not images.is_dir():
        raise DataRefused(f'The image folder {images} of data set {name!r} does not exist: correct its path.')
    whole = isinstance(repeat, (int, float)) and not isinstance(repeat, bool) and float(repeat).is_integer()
    if not (whole and 1 <= repeat <= MAX_REPEAT or isinstance(repeat, float) and 0 < repeat < 1):
        raise DataRefused(
            f'repeat_time of data set {name!r} is {repeat!r}: it must be a whole number from 1 to {MAX_REPEAT}, or a '
            'fraction between 0 and 1.'
        )
    return Dataset(name, annotation, images.resolve(), float(repeat))


def _read_meta(path: Path) -> dict[str, dict[str, Any]] | None:
    """Return a meta file's entries, or None if the file is something else."""
    try:
        value = json.loads(path.read_text(encoding='utf-8-sig'))
    except (OSError, ValueError):
        return None
    entries = value.values() if isinstance(value, dict) else []
    usable = bool(entries) and all(
        isinstance(entry, dict) and {'root', 'annotation'} <= entry.keys() for entry in entries
    )
    return value if usable else None


def _meta_files(source: Path) -> list[Path]:
    folders = [source, source / 'playground', source / 'train_meta', source / 'playground' / 'train_meta']
    candidates = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob('*.json'))]
    return [path for path in candidates if _read_meta(path) is not None]


def _from_meta(source: Path, path: Path) -> list[Dataset]:
    entries = _read_meta(path)
    if entries is None:
        raise DataRefused(
            f'The meta file {path} must be JSON of the form {{"name": {{"root": ..., "annotation": ...}}}}.'
        )
    found = []
    for name, entry in entries.items():
        annotation = _inside(source, path, str(entry['annotation']), name)
        images = _inside(source, path, str(entry['root']), name)
        found.append(_dataset(name, annotation, images, entry.get('repeat_time', 1)))
    return found


def _inside(source: Path, meta: Path, relative: str, name: str) -> Path:
    """Resolve a meta file's path from the source, else from the file's own folder; it must stay in the source."""
    root = source.resolve()
    options = [(base / relative).resolve() for base in (root, meta.resolve().parent)]
    inside = [path for path in options if path.is_relative_to(root)]
    if not inside:
        raise DataRefused(
            f'The path {relative!r} of data set {name!r} in {meta} leaves the source {source}: move it inside.'
        )
    return next((path for path in inside if path.exists()), inside[0])


def _from_playground(source: Path) -> list[Dataset]:
    base = source if source.name == 'playground' else source / 'playground'
    annotations = sorted((base / 'opensource').glob('*.jsonl'))
    return [_dataset(path.stem, path, _image_root(base / 'data', path), 1.0) for path in annotations]


def _image_root(data: Path, annotation: Path) -> Path:
    """Choose the folder in which the first rows' images exist: data/ itself, or the one named like the file (ai2d)."""
    named = [path for path in sorted(data.glob('*')) if path.is_dir() and annotation.stem.startswith(path.name)]
    candidates = [*sorted(named, key=lambda path: -len(path.name)), data]
    probe = [
        row.get('image')
        for _, row in islice(read_rows(Dataset('', annotation, data)), ROOT_PROBE_ROWS)
        if isinstance(row, dict)
    ]
    paths = [path for path in probe if isinstance(path, str)]
    return max(candidates, key=lambda folder: sum((folder / path).is_file() for path in paths))
