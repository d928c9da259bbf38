"""Merges adapters into the model that they were trained beside: W + alpha / rank * B A, in Megatron's layout.

`--base-dir` and `--lora-dir` are read by their trackers and must be of one layout; `--save-dir` gets it too, whole, as
`release`. Each tensor rank is merged by itself: a layer split by rows has its B split and its A whole, one split by
columns its A split and its B whole, so B A of a rank is what its part of W wants. Sums are taken in float32 and rounded
once. MindSpeed MM's own script (checkpoint/common/merge_base_lora_weight.py) runs on an NPU only, sums in bf16, and
passes over an adapter whose layer it does not find. Memory: a few times one rank file. Exit codes: as in mm_convert.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from .convert_args import folder, positive
from .convert_files import (
    find_iteration,
    make_directory,
    rank_directories,
    require_fresh,
    write_payload,
    write_tracker,
)
from .convert_payload import load_payload
from .convert_sources import say
from .hf_files import ConvertError, shorten
from .megatron_files import MODEL_FILE

_A, _B = '.lora_A.default.weight', '.lora_B.default.weight'


def merge(base_dir: Path, lora_dir: Path, save_dir: Path, scaling: float) -> None:
    """Writes `save_dir`, every rank folder, then the tracker. Raises ConvertError with a sentence."""
    require_fresh(save_dir, 'The target')
    base, lora = (_rank_folders(root) for root in (base_dir, lora_dir))
    if base.keys() != lora.keys():
        raise ConvertError(
            f'{base_dir} and {lora_dir} are of different layouts: they differ in {shorten(sorted(base.keys() ^ lora))}.'
        )
    merged = 0
    for name, path in base.items():
        weights, adapters = load_payload(path / MODEL_FILE), load_payload(lora[name] / MODEL_FILE)
        if weights.keys() != adapters.keys():
            raise ConvertError(f'{path} and {lora[name]} hold different virtual stages.')
        for chunk, own in adapters.items():
            merged += _merge_chunk(weights[chunk], own, scaling, lora[name])
        make_directory(save_dir / 'release' / name)
        write_payload(save_dir / 'release' / name / MODEL_FILE, weights)
        say(f'wrote release/{name}')
    if merged == 0:
        raise ConvertError(f'{lora_dir} holds no adapter: it is no checkpoint of LoRA.')
    write_tracker(save_dir)
    say(f'done: {merged} adapters merged in {len(base)} files in {save_dir}')


def _rank_folders(root: Path) -> dict[str, Path]:
    _, iteration = find_iteration(root)
    return {path.name: path for ranks in rank_directories(iteration).values() for path in ranks.values()}


def _merge_chunk(weights: dict[str, Tensor], adapters: dict[str, Tensor], scaling: float, where: Path) -> int:
    """Replaces the weights of one stage that have an adapter; returns how many. Every tensor must have its use."""
    layers = [name.removesuffix(_A) for name in adapters if name.endswith(_A)]
    unused = adapters.keys() - {layer + part for layer in layers for part in (_A, _B)}
    if unused:
        raise ConvertError(f'{where} holds {shorten(sorted(unused))}, which belongs to no adapter.')
    for layer in layers:
        weight, a, b = weights.get(f'{layer}.weight'), adapters[layer + _A], adapters.get(layer + _B)
        if weight is None:
            raise ConvertError(f'{where} holds {layer}{_A}, but the base model has no such layer.')
        if b is None:
            raise ConvertError(f'{where} holds {layer}{_A}, but there is no {layer}{_B}.')
        if (b.shape[0], a.shape[1]) != weight.shape or a.shape[0] != b.shape[1]:
            raise ConvertError(
                f'{where}: the adapter of {layer} is {list(b.shape)} x {list(a.shape)}, its layer {list(weight.shape)}.'
            )
        weights[f'{layer}.weight'] = (weight.float() + scaling * (b.float() @ a.float())).to(weight.dtype)
    return len(layers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='lora-merge', description=__doc__, allow_abbrev=False)
    parser.add_argument('--base-dir', type=folder, required=True, help='the model that was trained beside')
    parser.add_argument('--lora-dir', type=folder, required=True, help='the save folder of the training')
    parser.add_argument('--save-dir', type=Path, required=True, help='absent or empty')
    parser.add_argument('--lora-r', type=positive, required=True)
    parser.add_argument('--lora-alpha', type=positive, required=True)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Merges once; exit 0 done, 1 the folders cannot be merged, 2 wrong usage."""
    args = _parser().parse_args(argv)
    try:
        merge(args.base_dir, args.lora_dir, args.save_dir, args.lora_alpha / args.lora_r)
    except (ConvertError, OSError) as error:
        print(f'lora-merge: error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
