"""The pass over all rows: form, images and length of each are checked, good rows go normalised into a spool file.

Rows are read in batches and good ones leave memory at once, so a data set may be larger than memory; per image some
hundred bytes stay.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from .prepare_images import ImageChecker
from .prepare_report import Tally
from .prepare_rows import Row, RowFault, check_row, resolve_image
from .prepare_sources import Dataset, read_rows
from .prepare_split import ImageGroups, UsedImage, dump_line
from .prepare_templates import TEMPLATES
from .prepare_tokens import TokenCounter

BATCH_ROWS = 400


class PreparePass:
    """One pass over the data sets: rows in, normalised good rows into the spool, faults into the tally."""

    def __init__(
        self, args: argparse.Namespace, datasets: list[Dataset], checker: ImageChecker, counter: TokenCounter
    ) -> None:
        self.args, self.datasets, self.checker, self.counter = args, datasets, checker, counter
        self._template = TEMPLATES[args.template]
        self.tally = Tally()
        self.groups = ImageGroups()
        self.rows_read: dict[str, int] = {}
        self._ids: dict[str, set[Any]] = {}
        self._prefixes = _prefixes(datasets)

    def run(self, spool: IO[str]) -> None:
        """Check all rows, in batches so that memory does not grow with the data set."""
        wanted = {dataset.name: _row_limit(dataset) for dataset in self.datasets}
        total = min(sum(wanted.values()), self.args.limit or sum(wanted.values()))
        seen = 0
        for dataset, batch in self._batches(wanted, total):
            self._check_batch(dataset, batch, spool)
            seen += len(batch)
            print(f'prepare: {seen}/{total} rows', flush=True)

    def _batches(self, wanted: dict[str, int], total: int) -> Iterator[tuple[Dataset, list[tuple[int, Any]]]]:
        left = total
        for dataset in self.datasets:
            count = min(wanted[dataset.name], left)
            left -= count
            self.rows_read[dataset.name] = count
            rows = islice(read_rows(dataset), count)
            while batch := list(islice(rows, BATCH_ROWS)):
                yield dataset, batch

    def _check_batch(self, dataset: Dataset, batch: list[tuple[int, Any]], spool: IO[str]) -> None:
        formed: list[tuple[Row, list[Path]]] = []
        for line, value in batch:
            try:
                row = check_row(dataset.name, line, value, self.args.missing_tag == 'prepend', self._template)
                formed.append((row, [resolve_image(dataset.images, image) for image in row.images]))
            except RowFault as fault:
                self._fault(dataset, line, value.get('id') if isinstance(value, dict) else None, fault)
        self.checker.check(path for _, paths in formed for path in paths)
        for row, paths in formed:
            try:
                self._accept(dataset, row, paths, spool)
            except RowFault as fault:
                self._fault(dataset, row.line, row.id, fault)

    def _accept(self, dataset: Dataset, row: Row, paths: list[Path], spool: IO[str]) -> None:
        for image, path in zip(row.images, paths, strict=True):
            checked = self.checker.known[path]
            if checked.reason:
                raise RowFault(checked.reason, f'{image} {checked.detail}')
        tokens = self.counter.count(row, [self.checker.known[path] for path in paths])
        if tokens > self.args.seq_length:
            raise RowFault('too-long', f'it needs {tokens} tokens, the sequence length is {self.args.seq_length}')
        ids = self._ids.setdefault(dataset.name, set())
        if row.id in ids:
            raise RowFault('id-duplicate', f'{row.id!r}')
        ids.add(row.id)
        prefix = self._prefixes[dataset.name]
        for image, path in zip(row.images, paths, strict=True):
            self.groups.add(path, UsedImage(prefix + image, image, self.checker.known[path]))
            self.groups.join(paths[0], path)
        names = [self.groups.images[path].name for path in paths]
        first = self.checker.known[paths[0]]
        normal = {
            'id': row.id if not prefix else f'{dataset.name}/{row.id}',
            'image': names[0] if len(names) == 1 else names,
            'width': first.width,
            'height': first.height,
            'conversations': row.turns.to_json(),
        }
        spool.write(dump_line(normal | {'dataset': dataset.name}))
        self.tally.add_good(tokens)

    def _fault(self, dataset: Dataset, line: int, identity: Any, fault: RowFault) -> None:
        self.tally.add_fault(_shown(self.args.source, dataset.annotation), line, identity, fault)


def _prefixes(datasets: list[Dataset]) -> dict[str, str]:
    """Return the folder under images/ of each data set: none for a single one, else its name made safe and unique."""
    if len(datasets) == 1:
        return {datasets[0].name: ''}
    safe = [re.sub(r'[^A-Za-z0-9_-]', '_', dataset.name) for dataset in datasets]
    return {
        dataset.name: f'{name}/' if safe.count(name) == 1 else f'{name}-{number}/'
        for number, (dataset, name) in enumerate(zip(datasets, safe, strict=True))
    }


def _row_limit(dataset: Dataset) -> int:
    """Return how many rows count: with a repeat_time below 1, MindSpeed-MM takes that part from the start."""
    if dataset.annotation.suffix == '.json':
        count = sum(1 for _ in read_rows(dataset))
    else:
        with dataset.annotation.open('rb') as lines:
            count = sum(1 for line in lines if line.strip())
    return int(count * dataset.repeat_time) if dataset.repeat_time < 1 else count


def _shown(source: Path | None, path: Path) -> str:
    """Name a file from the source, so that a report does not depend on where the source lies."""
    real = path.resolve()
    return (
        real.relative_to(source.resolve()).as_posix() if source and real.is_relative_to(source.resolve()) else path.name
    )
