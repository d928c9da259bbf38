"""Check every row of a data set before training, normalise, split by image: `python -m anneal_trainer.prepare`.

MindSpeed-MM replaces a bad row by a random other one and says so only in its log; here each is named and counted first.
Progress goes to stdout as plain text, `prepare: 1200/5391 rows`. Exit codes: 0 done, 2 usage, 3 the data was refused.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from .errors import TrainerError, UsageError
from .prepare_images import ImageChecker
from .prepare_pass import PreparePass
from .prepare_report import refuse_if_bad
from .prepare_sources import DataRefused, find_datasets
from .prepare_split import copy_images, count_by_side, write_rows
from .prepare_templates import TEMPLATES
from .prepare_tokens import counter_of

OUTPUTS = ('summary.json', 'train.jsonl', 'heldout.jsonl', 'images')
SPOOL = '.rows.jsonl'


def prepare(args: argparse.Namespace) -> dict[str, Any]:
    """Prepare the data and return the summary; raises DataRefused, after writing the report, if it cannot be used."""
    datasets = find_datasets(args.source, args.meta, args.annotations, args.images)
    counter = counter_of(args)
    spool = _clear(args.out, args.report)
    try:
        with ImageChecker() as checker, spool.open('w', encoding='utf-8') as rows:
            done = PreparePass(args, datasets, checker, counter)
            done.run(rows)
        refuse_if_bad(done.tally, args.max_bad_rows, args.report)
        summary = _write(args, done, spool)
    except BaseException:
        for name in OUTPUTS:
            _remove(args.out / name)
        raise
    finally:
        spool.unlink(missing_ok=True)
    return summary


def _clear(out: Path, report: Path | None) -> Path:
    """Empty the output folder of an earlier attempt and return the spool file, which marks it as ours while we write.

    A folder that holds anything else is refused: an output folder given by mistake must not cost a user's images.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = {path.name for path in out.iterdir() if report is None or path.resolve() != report.resolve()}
    ours = found <= {*OUTPUTS, SPOOL} and (not found or {'summary.json', SPOOL} & found)
    if not ours:
        raise UsageError(f'The output folder {out} is not empty ({sorted(found)[0]}): give a new folder.')
    spool = out / SPOOL
    spool.touch()
    for name in OUTPUTS:
        _remove(out / name)
    return spool


def _write(args: argparse.Namespace, done: PreparePass, spool: Path) -> dict[str, Any]:
    """Write images and rows, then summary.json last: where it exists the rest is complete."""
    tally, images = done.tally, done.groups.images
    sides = done.groups.sides(args.heldout_fraction, args.seed)
    image_bytes = copy_images(images, args.out / 'images')
    repeats = {dataset.name: max(1, int(dataset.repeat_time)) for dataset in done.datasets}
    by_name = {images[path].name: side for path, side in sides.items()}
    rows = write_rows(args.out, spool, by_name, repeats, TEMPLATES[args.template])
    if rows['train'] == 0 or (rows['heldout'] == 0 and args.heldout_fraction > 0):
        raise DataRefused(
            f'The split by image of {len(images)} image(s) left {rows["train"]} rows for training, {rows["heldout"]} '
            'held out: add images, or set --heldout-fraction 0.'
        )
    summary = {
        'format': 1,
        'rows': {'read': tally.good + tally.bad, 'good': tally.good, 'bad': tally.bad, **rows},
        'reasons': {reason: entry['count'] for reason, entry in sorted(tally.reasons.items())},
        'tokens': {
            'min': tally.tokens_min,
            'mean': round(tally.tokens_sum / tally.good, 2),
            'max': tally.tokens_max,
            'limit': args.seq_length,
            'image': args.image_tokens,
        },
        'images': {'used': len(images), 'bytes': image_bytes, **count_by_side(sides.values())},
        'split': {'by': 'image', 'heldout_fraction': args.heldout_fraction, 'seed': args.seed},
        'datasets': [
            {'name': dataset.name, 'rows': done.rows_read[dataset.name], 'repeat_time': dataset.repeat_time}
            for dataset in done.datasets
        ],
    }
    (args.out / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n', encoding='utf-8')
    return summary


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line; argparse exits with 2 on bad usage."""
    parser = argparse.ArgumentParser(prog='anneal_trainer.prepare', description=__doc__)
    parser.add_argument('--source', type=Path, help='folder with playground/ or a meta JSON')
    parser.add_argument('--meta', type=Path, help='this meta JSON, instead of those found in the source')
    parser.add_argument('--annotations', type=Path, help='one annotation file; needs --images')
    parser.add_argument('--images', type=Path, help='the folder that its image paths start from')
    parser.add_argument('--tokenizer', type=Path, required=True, help='folder with tokenizer.json')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--seq-length', type=int, required=True, help='longest row, in tokens')
    parser.add_argument('--template', choices=[*TEMPLATES], default='internvl2_5', help='of data.json')
    parser.add_argument('--image-tokens', type=int, help='tokens of one image; needed for internvl2_5')
    parser.add_argument('--image-max-pixels', type=int, help='of data.json; needed for qwen2vl')
    parser.add_argument('--heldout-fraction', type=float, default=0.2)
    parser.add_argument('--seed', type=int, default=1234, help='of the split')
    parser.add_argument('--max-bad-rows', type=int, help='refuse the data if more rows are bad (default: any number)')
    parser.add_argument('--limit', type=int, help='use only the first rows')
    parser.add_argument('--missing-tag', choices=['drop', 'prepend'], default='drop', help='a row without <image>')
    parser.add_argument('--report', type=Path, help='JSON file that names the bad rows')
    args = parser.parse_args(argv)
    if (args.annotations is None) != (args.images is None):
        parser.error('--annotations and --images go together: give both, or --source alone')
    if args.source is None and args.annotations is None:
        parser.error('give --source, or --annotations with --images')
    if not 0 <= args.heldout_fraction < 1:
        parser.error(f'--heldout-fraction is {args.heldout_fraction}: it must be at least 0 and below 1')
    needed = 'image_max_pixels' if args.template == 'qwen2vl' else 'image_tokens'
    if getattr(args, needed) is None:
        parser.error(f'--{needed.replace("_", "-")} must be given with --template {args.template}')
    for name in ('seq_length', 'image_tokens', 'image_max_pixels', 'limit'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} is {getattr(args, name)}: it must be at least 1')
    return args


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    args = parse_args(argv)
    try:
        summary = prepare(args)
    except TrainerError as refusal:
        print(f'prepare: refused: {refusal}', file=sys.stderr, flush=True)
        return refusal.exit_code
    rows, images = summary['rows'], summary['images']
    kept = f'{rows["train"]} rows for training, {rows["heldout"]} held out, {rows["bad"]} bad rows left out'
    print(f'prepare: done: {kept}, {images["used"]} images')
    return 0


if __name__ == '__main__':
    sys.exit(main())
