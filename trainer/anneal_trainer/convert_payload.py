"""Reading payloads: the weights of one rank file, and nothing else of it.

Trained payloads hold pickled objects beside the weights (argparse namespaces, RNG states, classes of Megatron), which
`weights_only=True` refuses. They are read with an unpickler of our own that knows tensors and nothing else: every other
class becomes an inert placeholder, so no code of a checkpoint is ever run and none of its modules must be installed.
"""

from __future__ import annotations

import pickle
import re
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .convert_files import find_iteration, rank_directories
from .hf_files import ConvertError, shorten
from .megatron_files import MODEL_FILE, TRACKER_FILE

CHUNK_NAME = re.compile(r'model(\d*)')
DTYPE_NAMES = {
    torch.bool: 'BOOL', torch.uint8: 'U8', torch.int8: 'I8', torch.int16: 'I16', torch.int32: 'I32', torch.int64: 'I64',
    torch.float16: 'F16', torch.bfloat16: 'BF16', torch.float32: 'F32', torch.float64: 'F64',
    torch.float8_e4m3fn: 'F8_E4M3', torch.float8_e5m2: 'F8_E5M2',
}  # fmt: skip


class _Inert:
    """Stands for any object that is no tensor: accepts every construction and state, keeps nothing, does nothing."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Arguments are dropped."""

    def _drop(self, *_args: Any) -> None:
        return None

    def __call__(self, *_args: Any, **_kwargs: Any) -> _Inert:
        return self

    __setstate__ = append = extend = add = __setitem__ = _drop


_KNOWN_CLASSES = {
    ('collections', 'OrderedDict'),
    ('torch._utils', '_rebuild_tensor_v2'),
    ('torch._utils', '_rebuild_parameter'),
    ('torch', 'Size'),
    ('builtins', 'set'),
}


class _TensorUnpickler(pickle.Unpickler):
    """Finds what rebuilds a tensor, and an inert placeholder for all else. torch adds the storages by itself."""

    def find_class(self, module: str, name: str) -> Any:
        known = (module, name) in _KNOWN_CLASSES
        return super().find_class(module, name) if known else _Inert


# torch.load asks a "pickle module" for its Unpickler
_tensor_pickle = types.SimpleNamespace(Unpickler=_TensorUnpickler, __name__='anneal_tensor_pickle')


def read_tensors(path: Path) -> dict[Any, Any]:
    """Everything in a file of a checkpoint, with placeholders for what is no plain value and no tensor.

    Raises ConvertError where the file is missing or cut.
    """
    if not path.is_file():
        raise ConvertError(f'{path} is missing: the checkpoint is incomplete.')
    try:
        return torch.load(path, map_location='cpu', mmap=True, weights_only=False, pickle_module=_tensor_pickle)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ConvertError(
            f'{path} cannot be read as a checkpoint ({str(error).splitlines()[0]}): it is cut.'
        ) from error


def load_payload(path: Path) -> dict[str, dict[str, Tensor]]:
    """Chunks of one rank file, `{"model": {name: tensor}}` or with virtual stages `{"model0": …, "model1": …}`.

    Entries that are no tensors (`_extra_state`, None) are dropped. Tensors are backed by the file: they cost memory
    only while they are read. Raises ConvertError where the file is missing, cut, or holds no model.
    """
    payload = read_tensors(path)
    found = {key: value for key, value in payload.items() if CHUNK_NAME.fullmatch(str(key)) and isinstance(value, dict)}
    if not found:
        raise ConvertError(f'{path} holds no model, only {shorten(sorted(map(str, payload)))}.')
    return {chunk: _tensors_only(found[chunk]) for chunk in sorted(found, key=_chunk_number)}


def _chunk_number(chunk: str) -> int:
    return int(chunk.removeprefix('model') or 0)


def _tensors_only(entries: dict[str, Any]) -> dict[str, Tensor]:
    return {k: v.detach() for k, v in entries.items() if isinstance(v, Tensor) and not k.endswith('_extra_state')}


def list_megatron(root: Path) -> dict[str, Any]:
    """Names, dtypes and shapes of a checkpoint by rank directory; `root` holds the tracker, or is what it names."""
    word, folder = find_iteration(root) if (root / TRACKER_FILE).is_file() else (root.name, root)
    ranks = []
    for path in (path for family in rank_directories(folder).values() for path in family.values()):
        tensors = [
            {
                'name': name,
                'dtype': DTYPE_NAMES.get(value.dtype, str(value.dtype)),
                'shape': list(value.shape),
                'chunk': chunk,
            }
            for chunk, entries in load_payload(path / MODEL_FILE).items()
            for name, value in sorted(entries.items())
        ]
        ranks.append({'rank': path.name, 'tensors': tensors})
    ranks.sort(key=lambda rank: str(rank['rank']))
    shapes = [torch.Size(tensor['shape']) for rank in ranks for tensor in rank['tensors']]
    return {
        'kind': 'megatron', 'iteration': word, 'directory': folder.name, 'tensors': len(shapes),
        'parameters': sum(shape.numel() for shape in shapes), 'ranks': ranks,
    }  # fmt: skip
