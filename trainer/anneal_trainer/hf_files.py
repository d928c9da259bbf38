"""Reading Hugging Face folders: headers of safetensors files, the index, and whether all of it is there.

Headers are read directly, so no torch is needed, and a cut file is found before any tensor is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from .errors import TrainerError

INDEX_NAME = 'model.safetensors.index.json'
MAX_HEADER_BYTES = 100 * 1000 * 1000  # the limit of the safetensors format itself
BYTES_PER_ELEMENT = {
    'BOOL': 1, 'U8': 1, 'I8': 1, 'F8_E4M3': 1, 'F8_E5M2': 1, 'U16': 2, 'I16': 2, 'F16': 2, 'BF16': 2,
    'U32': 4, 'I32': 4, 'F32': 4, 'U64': 8, 'I64': 8, 'F64': 8,
}  # fmt: skip


class ConvertError(TrainerError):
    """A folder or a file cannot be used; the message is a whole sentence for the user."""


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies: `start` and `end` are byte offsets in `file`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int

    def describe(self) -> dict[str, Any]:
        return {'name': self.name, 'dtype': self.dtype, 'shape': list(self.shape)}


def read_header(file: Path) -> list[TensorEntry]:
    """The tensors of one safetensors file, sorted by name; raises ConvertError where the file is cut or malformed."""
    size = file.stat().st_size
    with file.open('rb') as stream:
        length = int.from_bytes(stream.read(8), 'little')
        if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
            raise ConvertError(f'{file} has {size} bytes, fewer than its header needs: it is cut, fetch it again.')
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise ConvertError(f'{file} has a header that is not JSON ({error}): it is no safetensors file.') from error
    entries = [_entry(file, name, value, 8 + length) for name, value in header.items() if name != '__metadata__']
    expected = max((entry.end for entry in entries), default=8 + length)
    if size != expected:
        raise ConvertError(f'{file} has {size} bytes where its header promises {expected}: fetch it again.')
    return sorted(entries, key=lambda entry: entry.name)


def _entry(file: Path, name: str, value: dict[str, Any], base: int) -> TensorEntry:
    start, end = value['data_offsets']
    entry = TensorEntry(name, value['dtype'], tuple(value['shape']), file, base + start, base + end)
    width = BYTES_PER_ELEMENT.get(entry.dtype)
    if width is None:
        raise ConvertError(f'Tensor {name} in {file} has the unknown dtype {entry.dtype}.')
    if end - start != prod(entry.shape) * width:
        raise ConvertError(f'Tensor {name} in {file} has {end - start} bytes, which does not fit its shape and dtype.')
    return entry


def read_folder(folder: Path) -> dict[str, TensorEntry]:
    """All tensors of a Hugging Face folder by name, in name order.

    Raises ConvertError where a tensor is stored twice, where `model.safetensors.index.json` and the files disagree, or
    where file names of the form `…-00001-of-00003.safetensors` show that a file is missing.
    """
    files = sorted(path for path in folder.glob('*.safetensors') if path.is_file())
    index = read_index(folder)
    check_files(folder, files, index)
    found: dict[str, TensorEntry] = {}
    for entry in (entry for file in files for entry in read_header(file)):
        if entry.name in found:
            raise ConvertError(f'Tensor {entry.name} is stored twice, in {found[entry.name].file} and in {entry.file}.')
        found[entry.name] = entry
    if index is not None:
        _check_index(folder, index, found)
    return dict(sorted(found.items()))


def read_index(folder: Path) -> dict[str, str] | None:
    """The weight map (tensor name to file name) of the folder's index, or None where it has no index."""
    path = folder / INDEX_NAME
    if not path.is_file():
        return None
    try:
        weight_map = json.loads(path.read_text(encoding='utf-8'))['weight_map']
        names = set(weight_map.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConvertError(f'{path} is no index of safetensors files ({error!r}): fetch it again.') from error
    strange = sorted(str(name) for name in names if not _is_plain_file_name(name))
    if strange or not names:
        raise ConvertError(f'{path} names files that are no plain *.safetensors names: {shorten(strange)}.')
    return weight_map


def _is_plain_file_name(name: object) -> bool:
    return isinstance(name, str) and name == os.path.basename(name) and name.endswith('.safetensors')


def check_files(folder: Path, files: Sequence[Path], index: dict[str, str] | None) -> None:
    """Refuses a folder of which a file is missing, by its index or by the numbers in the file names."""
    present = {file.name for file in files}
    if not present:
        raise ConvertError(f'{folder} holds no *.safetensors file: name the folder of a downloaded model.')
    wanted = set(index.values()) if index is not None else _numbered_siblings(present)
    missing = sorted(wanted - present)
    if missing:
        by = INDEX_NAME if index is not None else 'the numbers in the file names'
        raise ConvertError(f'{folder} is incomplete: {shorten(missing)} missing by {by}; fetch the model again.')


def _numbered_siblings(names: set[str]) -> set[str]:
    wanted: set[str] = set()
    for stem, number, total in (_numbers(name) for name in names):
        if number and total <= 100_000:
            wanted.update(f'{stem}-{i:05d}-of-{total:05d}.safetensors' for i in range(1, total + 1))
    return wanted


def _numbers(name: str) -> tuple[str, int, int]:
    parts = name.removesuffix('.safetensors').rsplit('-', 3)
    if len(parts) == 4 and parts[2] == 'of' and all(len(p) == 5 and p.isdigit() for p in (parts[1], parts[3])):
        return parts[0], int(parts[1]), int(parts[3])
    return name, 0, 0


def _check_index(folder: Path, index: dict[str, str], found: dict[str, TensorEntry]) -> None:
    wrong = sorted(name for name, file in index.items() if name not in found or found[name].file.name != file)
    if wrong:
        raise ConvertError(f'{folder} lacks {len(wrong)} tensors that {INDEX_NAME} promises: {shorten(wrong)}.')
    extra = sorted(found.keys() - index.keys())
    if extra:
        raise ConvertError(f'{folder} holds {len(extra)} tensors that {INDEX_NAME} does not name: {shorten(extra)}.')


def shorten(names: Sequence[str], limit: int = 3) -> str:
    """The first names of a list, for a message of one sentence."""
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return (', '.join(names[:limit]) or 'none') + more
