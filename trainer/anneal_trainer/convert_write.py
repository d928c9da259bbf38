"""Writing a model: as a checkpoint in Megatron's layout, or as a Hugging Face folder like the one that it came from.

Memory: one rank file or one safetensors shard, plus one tensor; sources are backed by their files.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .convert_files import copy_file, make_directory, require_fresh, write_payload, write_safetensors, write_tracker
from .convert_layout import ModelFacts, Parallel, stage_contents
from .convert_names import EMBEDDING, OUTPUT, Place, module_of, place_of, text_names
from .convert_sources import Source, say
from .convert_split import Heads, split, take_part
from .hf_files import ConvertError, TensorEntry, check_files, read_folder, read_index, shorten
from .megatron_files import MODEL_FILE


def write_mm(source: Source, root: Path, families: dict[str, Parallel], heads: Heads | None) -> int:
    """Writes `release/mp_[label_]rank_…` for each label, then the tracker; returns the number of files.

    `families` maps '' to a layout of both modules, or `vit` and `gpt` to layouts of their own. `heads` may be None
    where no module is cut over tensor-parallel ranks. Raises ConvertError where `root` is not empty.
    """
    require_fresh(root, 'The target')
    total = sum(parallel.tp_size * parallel.pp_size for parallel in families.values())
    done = 0
    for label, parallel in families.items():
        names = [name for name in source.names if module_of(name) in parallel.layers]
        stages = stage_contents(names, parallel, source.tied)
        for tp_rank in range(parallel.tp_size):
            for pp_rank in range(parallel.pp_size):
                done += 1
                _write_rank(source, root, label, parallel, stages, (tp_rank, pp_rank), heads)
                say(f'wrote release/{parallel.rank_directory(tp_rank, pp_rank, label)} ({done}/{total})')
    make_directory(root)
    root.chmod(0o750)
    write_tracker(root)
    return done


def _write_rank(
    source: Source,
    root: Path,
    label: str,
    parallel: Parallel,
    stages: list[dict[str, str]],
    rank: tuple[int, int],
    heads: Heads | None,
) -> None:
    tp_rank, pp_rank = rank
    chunks: dict[str, dict[str, Tensor]] = {}
    for row in range(parallel.vpp_size):
        contents = stages[row * parallel.pp_size + pp_rank]
        chunk = 'model' if parallel.vpp_size == 1 else f'model{row}'
        chunks[chunk] = {name: _share(source, full, parallel, tp_rank, heads) for name, full in contents.items()}
    folder = root / 'release' / parallel.rank_directory(tp_rank, pp_rank, label)
    make_directory(folder)
    for directory in (folder, folder.parent):
        directory.chmod(0o750)
    write_payload(folder / MODEL_FILE, chunks)


def _share(source: Source, full: str, parallel: Parallel, tp_rank: int, heads: Heads | None) -> Tensor:
    size = parallel.tp[module_of(full)]
    share = split(full, source.full(full), size, tp_rank % size, heads)
    return share.clone()  # torch.save writes the whole storage behind a view


def write_hf(source: Source, target: Path, hf_dir: Path, facts: ModelFacts) -> int:
    """Writes a Hugging Face folder with the tensors, files and index of `hf_dir`; returns the number of tensors.

    Raises ConvertError where `target` is not empty or inside `hf_dir`, or where names or shapes differ from hf_dir's.
    """
    require_fresh(target, 'The target')
    if target.resolve().is_relative_to(hf_dir.resolve()):
        raise ConvertError(f'The target {target} lies inside the model folder {hf_dir}, which is copied into it.')
    shards = _shards(hf_dir)
    places = _match_places(source, [name for names in shards.values() for name in names], facts)
    shapes = _known_shapes(hf_dir)
    make_directory(target)
    for number, (file, names) in enumerate(sorted(shards.items()), start=1):
        tensors = {name: _hf_tensor(source, name, places[name], facts, shapes.get(name)) for name in names}
        write_safetensors(target / file, tensors)
        say(f'wrote {file} ({number}/{len(shards)}, {len(tensors)} tensors)')
    _copy_others(hf_dir, target)
    return len(places)


def _shards(hf_dir: Path) -> dict[str, list[str]]:
    """Tensor names by the file to write: as the index says, or all in one `model.safetensors` where there is none."""
    index = read_index(hf_dir)
    if index is None:
        check_files(hf_dir, list(hf_dir.glob('*.safetensors')), None)
        return {'model.safetensors': list(read_folder(hf_dir))}
    shards: dict[str, list[str]] = {}
    for name, file in sorted(index.items()):
        shards.setdefault(file, []).append(name)
    return shards


def _known_shapes(hf_dir: Path) -> dict[str, TensorEntry]:
    """Entries to compare shapes with; none where the folder holds only index and config, which is enough to export."""
    return read_folder(hf_dir) if any(hf_dir.glob('*.safetensors')) else {}


def _match_places(source: Source, hf_names: list[str], facts: ModelFacts) -> dict[str, Place]:
    table = text_names(facts.architecture)
    places = {name: place_of(name, table) for name in hf_names}
    # a tied model whose folder stores the output layer all the same gets it from the embedding
    places = {n: Place(EMBEDDING, '') if source.tied and p.name == OUTPUT else p for n, p in places.items()}
    used, held = {place.name for place in places.values()}, set(source.names)
    if used - held:
        raise ConvertError(
            f'The checkpoint lacks {len(used - held)} tensors of the model: {shorten(sorted(used - held))}.'
        )
    if held - used:
        raise ConvertError(
            f'The model folder does not name {len(held - used)} tensors: {shorten(sorted(held - used))}.'
        )
    return places


def _hf_tensor(source: Source, name: str, place: Place, facts: ModelFacts, known: TensorEntry | None) -> Tensor:
    value = take_part(source.full(place.name), place.part, facts.heads, place.name)
    if known is not None and tuple(value.shape) != known.shape:
        raise ConvertError(
            f'Tensor {name} has the shape {list(value.shape)} in the checkpoint, '
            f'but {list(known.shape)} in the model folder.'
        )
    return value.clone(memory_format=torch.contiguous_format)  # safetensors stores whole, contiguous tensors only


def _copy_others(hf_dir: Path, target: Path) -> None:
    for item in sorted(hf_dir.rglob('*')):
        if not item.is_file() or item.suffix == '.safetensors':
            continue
        destination = target / item.relative_to(hf_dir)
        make_directory(destination.parent)
        copy_file(item, destination)
        say(f'copied {item.relative_to(hf_dir)}')
