"""Looks for numbers that are not finite in the files of a checkpoint: `python -m anneal_trainer.finite FOLDER FILE...`.

A training whose loss became NaN goes on from a checkpoint only if that is free of NaN and infinity, weights and
optimizer state alike. The answer is one JSON object in `--report`; whatever is found, the exit code is 0.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .convert_payload import read_tensors
from .hf_files import ConvertError

CHUNK = 1 << 24  # elements looked at together: 64 MiB in float32, whatever the size of the tensor


def tensors_in(value: Any, name: str = '') -> Iterator[tuple[str, Tensor]]:
    """Every tensor below a value, with the path that leads to it."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors_in(item, f'{name}.{key}' if name else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from tensors_in(item, f'{name}[{index}]')


def count_not_finite(tensor: Tensor) -> int:
    """How many elements are NaN or infinite; of integers none can be."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return 0
    flat = tensor.detach().reshape(-1)
    total = 0
    for start in range(0, flat.numel(), CHUNK):
        part = flat[start : start + CHUNK]
        total += part.numel() - int(torch.isfinite(part).sum())
    return total


def find_not_finite(folder: Path, files: list[str]) -> dict[str, Any]:
    """What was looked at, and the first tensor that holds numbers that are not finite. Raises ConvertError."""
    looked = 0
    for number, path in enumerate(files, start=1):
        for name, tensor in tensors_in(read_tensors(folder / path)):
            looked += 1
            bad = count_not_finite(tensor)
            if bad:
                found = {'file': path, 'tensor': name, 'bad': bad, 'elements': tensor.numel()}
                return {'tensors': looked, 'found': found}
        print(f'looks for NaN: {number}/{len(files)} files', flush=True)
    return {'tensors': looked, 'found': None}


def main(argv: list[str]) -> int:
    """Write the report; 1 when a file cannot be read."""
    parser = argparse.ArgumentParser(prog='finite', description=__doc__)
    parser.add_argument('--report', type=Path, required=True, help='where the answer goes, as JSON')
    parser.add_argument('folder', type=Path, help='the folder of the iteration')
    parser.add_argument('files', nargs='+', help='files below it')
    args = parser.parse_args(argv)
    try:
        report = find_not_finite(args.folder, args.files)
    except ConvertError as error:
        print(f'error: {error}', file=sys.stderr, flush=True)
        return 1
    args.report.write_text(json.dumps(report), encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
