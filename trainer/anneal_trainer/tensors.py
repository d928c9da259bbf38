"""What tensors a model folder holds: the weights digest of a Hugging Face folder, and listings around a conversion.

The digest covers name, dtype, shape and bytes of every tensor in name order. It never covers files: how a model is cut
into files, in which order tensors lie in them and what their metadata says are not part of the weights.
Memory: one 8 MiB block, whatever the size of the model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

from .hf_files import ConvertError, TensorEntry, read_folder
from .megatron_files import MODEL_FILE, TRACKER_FILE

BLOCK_BYTES = 8 * 1024 * 1024


def weights_digest(folder: str | os.PathLike[str]) -> str:
    """SHA-256 in hex over name, dtype, shape and bytes of all tensors of a Hugging Face folder in name order.

    Each tensor adds one line of JSON `["name","F32",[2,3]]`, a line feed, and its bytes as stored (little-endian, row
    by row). Equal digests mean bit-equal weights, however they are cut into files. Raises ConvertError as read_folder.
    """
    return _digest(read_folder(Path(folder)))


def _digest(entries: dict[str, TensorEntry]) -> str:
    total = hashlib.sha256()
    for entry in entries.values():
        line = json.dumps([entry.name, entry.dtype, list(entry.shape)], separators=(',', ':'))
        total.update(line.encode() + b'\n')
        for block in _blocks(entry):
            total.update(block)
    return total.hexdigest()


def _blocks(entry: TensorEntry) -> Iterator[bytes]:
    with entry.file.open('rb') as stream:
        stream.seek(entry.start)
        left = entry.end - entry.start
        while left > 0:
            block = stream.read(min(BLOCK_BYTES, left))
            if not block:
                raise ConvertError(f'{entry.file} became shorter while it was read.')
            left -= len(block)
            yield block


def describe_digest(folder: Path) -> dict[str, Any]:
    """The digest with the counts that the engine checks beside it."""
    entries = read_folder(folder)
    return {'digest': _digest(entries), 'tensors': len(entries), 'parameters': count(entries.values())}


def count(entries: Iterable[TensorEntry]) -> int:
    return sum(prod(entry.shape) for entry in entries)


def list_hf(folder: Path) -> dict[str, Any]:
    """Names, dtypes and shapes of a Hugging Face folder, file by file."""
    entries = read_folder(folder)
    files: dict[str, list[dict[str, Any]]] = {}
    for entry in entries.values():
        files.setdefault(entry.file.name, []).append(entry.describe())
    listed = [{'file': name, 'tensors': tensors} for name, tensors in sorted(files.items())]
    return {'kind': 'hf', 'tensors': len(entries), 'parameters': count(entries.values()), 'files': listed}


def list_folder(folder: Path) -> dict[str, Any]:
    """The listing of a Hugging Face folder or of a checkpoint in Megatron's layout, whichever lies there.

    Raises ConvertError where it is neither. In a Megatron listing counts are as stored: a tensor that every
    tensor-parallel rank holds counts once per rank.
    """
    if not folder.is_dir():
        raise ConvertError(f'{folder} is no folder.')
    if (folder / TRACKER_FILE).is_file() or any(folder.glob('mp_*/' + MODEL_FILE)):
        from .convert_payload import list_megatron  # needs torch, which takes seconds to import

        return list_megatron(folder)
    return list_hf(folder)


def _print_listing(listing: dict[str, Any]) -> None:
    for part in listing.get('files') or listing.get('ranks') or []:
        print(f'{part.get("file") or part.get("rank")}  ({len(part["tensors"])} tensors)')
        for tensor in part['tensors']:
            chunk = tensor.get('chunk', 'model')
            prefix = '' if chunk == 'model' else f'{chunk}: '
            print(f'  {prefix}{tensor["name"]}  {tensor["dtype"]}  {tensor["shape"]}')
    print(f'{listing["tensors"]} tensors, {listing["parameters"]} parameters')


def main(argv: Sequence[str] | None = None) -> int:
    """`digest DIR` or `list PATH [--json]`; exit 0, 1 with a sentence on stderr, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog='python -m anneal_trainer.tensors', description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('digest', help='weights digest of a Hugging Face folder, as JSON').add_argument(
        'dir', type=Path
    )
    listing = commands.add_parser('list', help='tensors of a Hugging Face folder or of a Megatron checkpoint')
    listing.add_argument('path', type=Path)
    listing.add_argument('--json', action='store_true')
    args = parser.parse_args(argv)
    try:
        if args.command == 'digest':
            print(json.dumps(describe_digest(args.dir)))
        elif args.json:
            print(json.dumps(list_folder(args.path)))
        else:
            _print_listing(list_folder(args.path))
    except (ConvertError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
