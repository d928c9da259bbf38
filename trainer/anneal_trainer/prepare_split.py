"""Put every image on one side of the split, and write the sides; an image seen in training never tests the model.

Images that share a row, or have the same bytes under two names, count as one. The side is a hash of (seed, path), so it
does not depend on the rows, and stays the same when rows are added.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .prepare_images import CheckedImage
from .prepare_sources import DataRefused
from .prepare_templates import Template

SIDES = ('train', 'heldout')
UNICODE_LINE_ENDS = '\x85\u2028\u2029'


@dataclass
class UsedImage:
    """An image that a good row uses: its name under images/, its path for the hash, and what is known of it."""

    name: str
    relative: str
    checked: CheckedImage


class ImageGroups:
    """Union-find over images by real path."""

    def __init__(self) -> None:
        self.images: dict[Path, UsedImage] = {}
        self._parent: dict[Path, Path] = {}
        self._by_digest: dict[str, Path] = {}

    def add(self, path: Path, used: UsedImage) -> None:
        """Record an image once; a second image with the same bytes joins the first one's group."""
        if path not in self.images:
            self.images[path] = used
            self._parent[path] = path
            self.join(self._by_digest.setdefault(used.checked.digest, path), path)

    def join(self, first: Path, second: Path) -> None:
        """Make two images stay together."""
        self._parent[self.group(second)] = self.group(first)

    def group(self, path: Path) -> Path:
        """Return the representative of the image's group."""
        while self._parent[path] != path:
            self._parent[path] = self._parent[self._parent[path]]
            path = self._parent[path]
        return path

    def sides(self, fraction: float, seed: int) -> dict[Path, str]:
        """Return the side of every image; no side is empty if there are two groups and `fraction` is above 0."""
        keys: dict[Path, str] = {}
        for path, used in self.images.items():
            group = self.group(path)
            keys[group] = min(keys.get(group, used.relative), used.relative)
        places = {group: _place(seed, key) for group, key in keys.items()}
        held = {group for group, place in places.items() if place < fraction}
        order = sorted(places, key=lambda group: (places[group], keys[group]))
        if fraction > 0 and not held and len(order) > 1:
            held = {order[0]}
        if len(held) == len(order) and len(order) > 1:
            held.discard(order[-1])
        return {path: SIDES[self.group(path) in held] for path in self.images}


def _place(seed: int, key: str) -> float:
    """Return a place in [0, 1) that depends on nothing but the arguments."""
    return int.from_bytes(hashlib.sha256(f'{seed}:{key}'.encode()).digest()[:8], 'big') / 2**64


def copy_images(images: dict[Path, UsedImage], folder: Path) -> int:
    """Copy the used images under `folder`; return the bytes. Raises DataRefused if one changed since its check."""
    total = 0
    for path, used in images.items():
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != used.checked.digest:
            raise DataRefused(
                f'The image {path} changed while the data was prepared: prepare again from a quiet source.'
            )
        target = folder / used.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        total += len(content)
    return total


def write_rows(
    out: Path, spool: Path, sides: dict[str, str], repeats: dict[str, int], template: Template
) -> dict[str, int]:
    """Write train.jsonl, shaped by the template, and heldout.jsonl; training rows are repeated, held-out rows are not.

    `sides` maps an image's name to its side, `repeats` a data set to its whole repeat_time. Returns rows per side.
    """
    counts = dict.fromkeys(SIDES, 0)
    with spool.open(encoding='utf-8') as lines, _open(out, 'train') as train, _open(out, 'heldout') as heldout:
        for line in lines:
            row = json.loads(line)
            dataset = row.pop('dataset')
            image = row['image'] if isinstance(row['image'], str) else row['image'][0]
            side = sides[image]
            for turn in range(repeats[dataset] if side == 'train' else 1):
                again = row if turn == 0 else row | {'id': f'{row["id"]}#{turn + 1}'}
                if side == 'train':
                    train.write(dump_line(template.training_row(again)))
                else:
                    heldout.write(dump_line(again))
                counts[side] += 1
    return counts


def dump_line(value: dict[str, Any]) -> str:
    """Return one JSON line, which no reader can take for two."""
    line = json.dumps(value, ensure_ascii=False)
    for end in UNICODE_LINE_ENDS:
        line = line.replace(end, f'\\u{ord(end):04x}')
    return line + '\n'


def count_by_side(sides: Iterable[str]) -> dict[str, int]:
    """Return images per side."""
    counts = dict.fromkeys(SIDES, 0)
    for side in sides:
        counts[side] += 1
    return counts


def _open(out: Path, side: str):  # noqa: ANN202 - TextIO, as Path.open says
    return (out / f'{side}.jsonl').open('w', encoding='utf-8')
