"""A training's start from a Megatron save folder of any layout: its weights, cut as the new training wants them.

`--load-dir` is read by its tracker, `release` or `iter_%07d`, plain or Dist-train's, in whatever layout it is (the
lists are found in the files). It must be the same model as `--hf-dir`: layers, names and shapes are compared. Weights
alone are taken: iteration, optimizer, learning rate and position in the data begin anew. Memory and exit codes: as in
mm_convert.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from .convert_args import Rows, folder, positive, rows_2d
from .convert_files import find_iteration, rank_directories
from .convert_layout import ModelFacts, Parallel, check_against, read_facts
from .convert_names import IMAGE, TEXT
from .convert_sources import LABEL_OF, HfSource, MmSource, say
from .convert_write import write_mm
from .hf_files import ConvertError


def start_from(
    load_dir: Path, save_dir: Path, hf_dir: Path, layers: dict[str, Rows], tp: dict[str, int], dist: bool
) -> None:
    """Writes `save_dir` in the layout that `layers`, `tp` and `dist` say. Raises ConvertError with a sentence."""
    facts = read_facts(hf_dir)
    if dist:
        families = {LABEL_OF[m]: Parallel(layers={m: layers[m]}, tp={m: tp[m]}) for m in layers}
    else:
        families = {'': Parallel(layers=layers, tp=tp)}
    for parallel in families.values():
        check_against(parallel, facts)
    source = _open(load_dir, facts)
    if source.layers != facts.layers:
        raise ConvertError(
            f'{load_dir} holds {_layers(source.layers)}, but the model in {hf_dir} has {_layers(facts.layers)}: '
            'it is the save folder of another model.'
        )
    _compare(source, HfSource(hf_dir, facts), load_dir)
    files = write_mm(source, save_dir, families, facts.heads)
    say(f'done: {len(source.names)} tensors of {source.iteration} in {files} files in {save_dir}')


def _open(load_dir: Path, facts: ModelFacts) -> MmSource:
    _, iteration = find_iteration(load_dir)
    return MmSource(load_dir, dist='' not in rank_directories(iteration), tied=facts.tied)


def _compare(source: MmSource, model: HfSource, where: Path) -> None:
    """Names and shapes, one tensor at a time: a model of the same depth may have another width."""
    different = sorted(set(source.names) ^ set(model.names))
    if different:
        raise ConvertError(f'{where} and the model differ in {len(different)} tensors, as {different[0]}.')
    for name in source.names:
        theirs, ours = _shape(source.full(name)), _shape(model.full(name))
        if theirs != ours:
            raise ConvertError(f'{name} has the shape {theirs} in {where}, but {ours} in the model.')


def _shape(value: Tensor) -> list[int]:
    return list(value.shape)


def _layers(layers: dict[str, int]) -> str:
    return f'{layers[IMAGE]} vision and {layers[TEXT]} language layers'


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='start-from', description=__doc__, allow_abbrev=False)
    parser.add_argument('--load-dir', type=folder, required=True)
    parser.add_argument('--save-dir', type=Path, required=True, help='absent or empty')
    parser.add_argument('--hf-dir', type=folder, required=True, help='the model that it is a checkpoint of')
    for label in ('vit', 'gpt'):
        parser.add_argument(f'--target-{label}-pp-layers', type=rows_2d, required=True, help='a row a virtual stage')
        parser.add_argument(f'--target-{label}-tp-size', type=positive, default=1)
    parser.add_argument('--dist-train', action='store_true', help='vision and language on ranks of their own')
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one conversion; exit 0 done, 1 the folder cannot be taken, 2 wrong usage."""
    args = _parser().parse_args(argv)
    layers = {IMAGE: args.target_vit_pp_layers, TEXT: args.target_gpt_pp_layers}
    tp = {IMAGE: args.target_vit_tp_size, TEXT: args.target_gpt_tp_size}
    try:
        start_from(args.load_dir, args.save_dir, args.hf_dir, layers, tp, args.dist_train)
    except (ConvertError, OSError) as error:
        print(f'start-from: error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
