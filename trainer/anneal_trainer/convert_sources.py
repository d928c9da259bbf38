"""Models to convert from: each gives whole MM tensors by name, one at a time, so that nobody holds a model in memory.

`HfSource` reads a Hugging Face folder, `MmSource` a checkpoint in Megatron's layout, plain or Dist-train's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from torch import Tensor

from .convert_files import find_iteration, rank_directories
from .convert_layout import ModelFacts
from .convert_names import (
    EMBEDDING,
    IMAGE,
    LAYERS,
    OUTPUT,
    PART_ORDER,
    QKV,
    TEXT,
    check_complete,
    layer_of,
    module_of,
    place_of,
    text_names,
)
from .convert_payload import load_payload
from .convert_split import join_parts, merge, rule_of
from .hf_files import ConvertError, read_folder
from .megatron_files import MODEL_FILE

LABEL_OF = {IMAGE: 'vit', TEXT: 'gpt'}


def say(message: str) -> None:
    """One line of progress."""
    print(message, file=sys.stderr, flush=True)


class Source(Protocol):
    """A model as whole MM tensors; a tied one has no output layer among its names."""

    names: list[str]
    tied: bool
    layers: dict[str, int]

    def full(self, name: str) -> Tensor: ...


class HfSource:
    """A Hugging Face folder in the original layout. Checked against its index, its config and itself when opened."""

    def __init__(self, folder: Path, facts: ModelFacts) -> None:
        self.tied = facts.tied
        self.layers = dict(facts.layers)
        self._facts = facts
        self._entries = read_folder(folder)
        self._readers: dict[Path, Any] = {}
        self._stack = ExitStack()
        table = text_names(facts.architecture)
        self._parts: dict[str, dict[str, str]] = {}
        for hf_name in self._entries:
            place = place_of(hf_name, table)
            self._parts.setdefault(place.name, {})[place.part] = hf_name
        self._drop_tied_head(folder)
        self.names = sorted(self._parts)
        check_complete(set(self.names), self.layers, self.tied, str(folder))
        for name, parts in self._parts.items():
            expected = {'q', 'k', 'v'} if 'q' in parts or 'k' in parts or 'v' in parts else set(parts)
            expected |= {'gate', 'up'} if 'gate' in parts or 'up' in parts else set()
            if set(parts) != expected:
                raise ConvertError(f'{folder} is incomplete: of {name} only {sorted(parts.values())} are there.')

    def _drop_tied_head(self, folder: Path) -> None:
        if not self.tied or OUTPUT not in self._parts:
            return
        if not torch.equal(self.full(OUTPUT), self.full(EMBEDDING)):
            raise ConvertError(
                f'{folder} says tie_word_embeddings, but its output layer differs from its embedding: '
                'set llm_config.tie_word_embeddings to false, or take the output layer out.'
            )
        del self._parts[OUTPUT]

    def full(self, name: str) -> Tensor:
        parts = self._parts[name]
        values = {part: self._read(parts[part]) for part in PART_ORDER if part in parts}
        return join_parts(values, self._facts.heads, name)

    def _read(self, hf_name: str) -> Tensor:
        file = self._entries[hf_name].file
        if file not in self._readers:
            self._readers[file] = self._stack.enter_context(safe_open(str(file), framework='pt', device='cpu'))
        return self._readers[file].get_tensor(hf_name)


class MmSource:
    """A checkpoint in Megatron's layout, cut over any number of pipeline and tensor-parallel ranks.

    `tp` gives the tensor-parallel size of a module where it is smaller than the number of directories.
    `tied` None means: find out (no output layer, or with a pipeline one that is bit-equal to the embedding).
    """

    def __init__(
        self, root: Path, dist: bool = False, tp: Mapping[str, int] | None = None, tied: bool | None = None
    ) -> None:
        self.iteration, folder = find_iteration(root)
        self._where = str(folder)
        self._tp = dict(tp or {})
        self.counts: dict[str, list[list[int]]] = {}  # layers found, by module, virtual stage and pipeline rank
        self.sizes: dict[str, int] = {}  # tensor-parallel directories, by module
        self._shares: dict[str, list[Tensor]] = {}
        families = rank_directories(folder)
        expected = set(LABEL_OF.values()) if dist else {''}
        if set(families) != expected:
            kind = "Dist-train's (mp_vit_rank_…, mp_gpt_rank_…)" if dist else 'the plain one (mp_rank_…)'
            names = sorted(path.name for family in families.values() for path in family.values())
            raise ConvertError(f'{folder} is not in the layout {kind}: it holds {", ".join(names)}.')
        for label, ranks in families.items():
            modules = [module for module in LAYERS if label in ('', LABEL_OF[module])]
            self._read_family(ranks, modules)
        self.layers = {module: sum(map(sum, rows)) for module, rows in self.counts.items()}
        self.tied = self._settle_tied(tied)
        self.names = sorted(self._shares)
        check_complete(set(self.names), self.layers, self.tied, self._where)
        self._check_vision_width()

    def _read_family(self, ranks: dict[tuple[int, int], Path], modules: list[str]) -> None:
        tp_size, pp_size = max(rank[0] for rank in ranks) + 1, max(rank[1] for rank in ranks) + 1
        payloads = {rank: load_payload(path / MODEL_FILE) for rank, path in ranks.items()}
        chunks = list(payloads[0, 0])
        for rank, payload in payloads.items():
            if list(payload) != chunks:
                raise ConvertError(f'{ranks[rank]} holds the chunks {list(payload)}, but its neighbour holds {chunks}.')
        self.sizes.update(dict.fromkeys(modules, tp_size))
        self.counts.update({module: [[0] * pp_size for _ in chunks] for module in modules})
        for row, chunk in enumerate(chunks):
            for pp_rank in range(pp_size):
                shares = [payloads[tp_rank, pp_rank][chunk] for tp_rank in range(tp_size)]
                self._add_stage(shares, modules, row, pp_rank, str(ranks[0, pp_rank]))

    def _add_stage(
        self, shares: list[dict[str, Tensor]], modules: list[str], row: int, pp_rank: int, where: str
    ) -> None:
        if any(share.keys() != shares[0].keys() for share in shares):
            raise ConvertError(
                f'The tensor-parallel neighbours of {where} hold different tensors: it is no one checkpoint.'
            )
        # flat order is virtual stage first: all earlier layers lie in earlier rows, or in this row before this rank
        offset = {m: sum(map(sum, self.counts[m][:row])) + sum(self.counts[m][row][:pp_rank]) for m in modules}
        for name in shares[0]:
            if module_of(name) not in modules:
                raise ConvertError(f'{where} holds {name}, which does not belong to this kind of rank.')
            layer = layer_of(name)
            full = name
            if layer is not None:
                module, number, rest = layer
                self.counts[module][row][pp_rank] = max(self.counts[module][row][pp_rank], number + 1)
                full = f'{LAYERS[module]}{offset[module] + number}.{rest}'
            if full in self._shares:
                raise ConvertError(f'{where} holds {name} again: another pipeline stage has it already.')
            self._shares[full] = [share[name] for share in shares]

    def _settle_tied(self, tied: bool | None) -> bool:
        """Decides whether the model is tied, and drops the copy that the last stage of a tied one holds."""
        if OUTPUT not in self._shares or EMBEDDING not in self._shares:
            return OUTPUT not in self._shares if tied is None else tied
        pipeline = len(self.counts[TEXT][0]) > 1
        equal = (pipeline or tied is True) and torch.equal(self.full(OUTPUT), self.full(EMBEDDING))
        if tied and not equal:
            raise ConvertError(f'{self._where} is of a tied model, but its output layer differs from its embedding.')
        settled = equal if tied is None else tied
        if settled:
            del self._shares[OUTPUT]
        return settled

    def _check_vision_width(self) -> None:
        name = f'{LAYERS[IMAGE]}0.{QKV}.weight'
        if name in self._shares and self.full(name).shape[0] != 3 * self.full(name).shape[1]:
            raise ConvertError(
                f'{self._where}: {name} has the shape {list(self.full(name).shape)}, not three times its width: '
                'name the tensor-parallel size of the vision model (vit_tp_size).'
            )

    def full(self, name: str) -> Tensor:
        shares = self._shares[name]
        if rule_of(name) == 'copy':
            if any(not torch.equal(shares[0], share) for share in shares[1:]):
                say(f'warning: {name} differs between tensor-parallel ranks; rank 0 is taken')
            return shares[0]
        return merge(name, shares[: self._tp.get(module_of(name), len(shares))])
