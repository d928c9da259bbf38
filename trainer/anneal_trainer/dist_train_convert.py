"""Between MindSpeed MM's plain layout and Dist-train's, where vision and language ranks have directories of their own.

`mm_to_dt` writes `release/mp_{vit,gpt}_rank_TT[_PPP]`, `dt_to_mm` writes `release/mp_rank_TT[_PPP]`, each with the
tracker last. Both read `release` or `iter_%07d` by the tracker, in any layout (its lists are found in the files), and
write weights only: optimizer, RNG and arguments of a trained checkpoint stay where they are. The converter that
MindSpeed MM ships fails on InternVL 2.5 and 3, as it cuts the language model's qkv bias by columns. Memory and exit
codes: as in mm_convert.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .convert_args import Rows, count_or_zero, folder, positive, rows_1d
from .convert_layout import ModelFacts, Parallel, check_against, check_shape, read_facts
from .convert_names import IMAGE, TEXT
from .convert_sources import LABEL_OF, MmSource, say
from .convert_write import write_mm
from .hf_files import ConvertError


def mm_to_dt(load_dir: Path, save_dir: Path, layers: dict[str, Rows], tp: dict[str, int], hf_dir: Path | None) -> None:
    """Writes `save_dir` in Dist-train's layout; `layers` and `tp` by module. Raises ConvertError with a sentence."""
    facts = _facts(hf_dir, tp)
    for module, rows in layers.items():
        if len(rows) > 1 or 0 in rows[0]:
            raise ConvertError(
                f'The list {list(map(list, rows))} of {LABEL_OF[module]} does not work with Dist-train: '
                'its schedule has no virtual stages, and a stage without layers would hold nothing to train.'
            )
    families = {LABEL_OF[m]: Parallel(layers={m: layers[m]}, tp={m: tp[m]}) for m in layers}
    for parallel in families.values():
        _check(parallel, facts)
    source = MmSource(load_dir, tied=facts.tied if facts else None)
    _check_totals(source, layers, load_dir)
    files = write_mm(source, save_dir, families, facts.heads if facts else None)
    say(f'done: {len(source.names)} tensors in {files} files in {save_dir}')


def dt_to_mm(load_dir: Path, save_dir: Path, layers: dict[str, Rows] | None, tp_size: int, hf_dir: Path | None) -> None:
    """Writes `save_dir` in the plain layout from Dist-train's; without `layers` into one stage."""
    facts = _facts(hf_dir, {TEXT: tp_size})
    source = MmSource(load_dir, dist=True, tied=facts.tied if facts else None)
    lists = layers or {module: ((total,),) for module, total in source.layers.items()}
    parallel = Parallel(layers=lists, tp=dict.fromkeys(lists, tp_size))
    _check(parallel, facts)
    _check_totals(source, lists, load_dir)
    files = write_mm(source, save_dir, {'': parallel}, facts.heads if facts else None)
    say(f'done: {len(source.names)} tensors in {files} files in {save_dir}')


def _facts(hf_dir: Path | None, tp: dict[str, int]) -> ModelFacts | None:
    if hf_dir is None and max(tp.values()) > 1:
        raise ConvertError(
            'A target TP size above 1 needs the head counts: name the Hugging Face folder with --hf-dir.'
        )
    return read_facts(hf_dir) if hf_dir else None


def _check(parallel: Parallel, facts: ModelFacts | None) -> None:
    check_shape(parallel)
    if facts:
        check_against(parallel, facts)


def _check_totals(source: MmSource, layers: dict[str, Rows], where: Path) -> None:
    for module, rows in layers.items():
        total = sum(map(sum, rows))
        if total != source.layers[module]:
            raise ConvertError(
                f'{where} has {source.layers[module]} layers of {LABEL_OF[module]}, but '
                f'--target-{LABEL_OF[module]}-pp-layers sums to {total}.'
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='dist-train-convert', description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest='command', required=True)
    for command in ('mm_to_dt', 'dt_to_mm'):
        one = commands.add_parser(command, allow_abbrev=False)
        one.add_argument('--load-dir', type=folder, required=True)
        one.add_argument('--save-dir', type=Path, required=True, help='absent or empty')
        one.add_argument('--hf-dir', type=folder, help='config.json of the model; needed for target TP sizes above 1')
        for label in ('vit', 'gpt'):
            one.add_argument(f'--target-{label}-pp-layers', type=rows_1d, required=command == 'mm_to_dt')
        for label in ('vit-', 'gpt-') if command == 'mm_to_dt' else ('',):
            one.add_argument(f'--target-{label}tp-size', type=positive, default=1)
            one.add_argument(f'--target-{label}pp-size', type=count_or_zero, default=0, help='checked against the list')
            one.add_argument(f'--target-{label}cp-size', type=positive, default=1, help='does not change weights')
    return parser


def _layers(parser: argparse.ArgumentParser, args: argparse.Namespace) -> dict[str, Rows] | None:
    lists = {IMAGE: args.target_vit_pp_layers, TEXT: args.target_gpt_pp_layers}
    if all(rows is None for rows in lists.values()):
        return None
    if any(rows is None for rows in lists.values()):
        parser.error('--target-vit-pp-layers and --target-gpt-pp-layers are given both or not at all')
    for module, rows in lists.items():
        name = f'target_{LABEL_OF[module]}_pp_size' if args.command == 'mm_to_dt' else 'target_pp_size'
        size = getattr(args, name)
        if size and size != len(rows[0]):
            parser.error(f'--{name.replace("_", "-")} is {size}, but its layer list has {len(rows[0])} numbers')
    return lists


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one conversion; exit 0 done, 1 the input cannot be converted, 2 wrong usage."""
    parser = _parser()
    args = parser.parse_args(argv)
    layers = _layers(parser, args)
    try:
        if args.command == 'mm_to_dt':
            tp = {IMAGE: args.target_vit_tp_size, TEXT: args.target_gpt_tp_size}
            mm_to_dt(args.load_dir, args.save_dir, layers or {}, tp, args.hf_dir)
        else:
            dt_to_mm(args.load_dir, args.save_dir, layers, args.target_tp_size, args.hf_dir)
    except (ConvertError, OSError) as error:
        print(f'dist-train-convert: error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
