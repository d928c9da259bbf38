"""Build the demo's data set: real handwritten digits (UCI, CC BY 4.0) as InternVL fine-tuning rows with questions.

The same arguments give the same bytes on every machine: PNGs are stored uncompressed, so no zlib version shows in them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SCANS = Path(__file__).resolve().parent.parent / 'data' / 'digits.csv.gz'
IMAGE_SIZE = 28
DEFAULT_SEED = 1234

Answer = Callable[[int, np.ndarray], str | None]


def _more(first: float, second: float, names: tuple[str, str]) -> str | None:
    """Name of the larger side; None for a tie, which has no right answer."""
    return None if first == second else names[0] if first > second else names[1]


def _corner(scan: np.ndarray) -> str | None:
    sums = [scan[:4, :4].sum(), scan[:4, 4:].sum(), scan[4:, :4].sum(), scan[4:, 4:].sum()]
    best = int(np.argmax(sums))
    return None if sums.count(sums[best]) > 1 else ('top left', 'top right', 'bottom left', 'bottom right')[best]


def _ink(scan: np.ndarray) -> str:
    """Amount of ink in three classes of about equal size (the thresholds are the terciles of all scans)."""
    total = scan.sum()
    return 'little' if total < 295 else 'some' if total < 329 else 'much'


DIGIT: dict[str, Answer] = {'Which digit is this?': lambda label, _: str(label)}
PARITY: dict[str, Answer] = {'Is the digit even or odd?': lambda label, _: 'odd' if label % 2 else 'even'}
GREATER: dict[str, Answer] = {'Is the digit greater than four?': lambda label, _: 'yes' if label > 4 else 'no'}

# `vqa` is what the demo learns; `ink` is what the base model was pre-trained on. They share no question and no answer:
# the base has seen pixels and the chat format, but never a label.
TASKS: dict[str, dict[str, Answer]] = {
    'vqa': DIGIT | PARITY | GREATER,
    'digit': DIGIT,
    'parity': PARITY,
    'greater': GREATER,
    'ink': {
        'Which half has more ink, top or bottom?': lambda _, s: _more(s[:4].sum(), s[4:].sum(), ('top', 'bottom')),
        'Which side has more ink, left or right?': lambda _, s: _more(
            s[:, :4].sum(), s[:, 4:].sum(), ('left', 'right')
        ),
        'Which corner has the most ink?': lambda _, s: _corner(s),
        'How much ink is there?': lambda _, s: _ink(s),
    },
}


def load_scans() -> tuple[np.ndarray, np.ndarray]:
    """Return the scans, float (1797, 8, 8) in 0..16, and their labels, int (1797,) in 0..9."""
    with gzip.open(SCANS, 'rt') as text:
        table = np.loadtxt(text, delimiter=',')
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(int)


def scan_to_image(scan: np.ndarray) -> Image.Image:
    """Return one 8x8 scan as a 28x28 RGB image, dark background, bicubic."""
    grey = Image.fromarray((scan * 255 / 16).round().astype(np.uint8), mode='L')
    return grey.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC).convert('RGB')


def build_rows(task: str, permute: str | None = None, seed: int = DEFAULT_SEED) -> list[dict[str, Any]]:
    """Return the rows of a task; `permute` gives a control in which images or questions no longer tell the answer.

    `images` deals the rows' images anew, `questions` the questions; both keep the multiset, so counts do not change.
    """
    cells: list[tuple[str, str, str]] = []
    for index, (scan, label) in enumerate(zip(*load_scans(), strict=True)):
        for question, answer in TASKS[task].items():
            text = answer(int(label), scan)
            if text is not None:
                cells.append((f'digits/{index:05d}.png', question, text))
    images, questions, answers = (list(column) for column in zip(*cells, strict=True))
    if permute is not None:
        random.Random(f'{seed}:{permute}').shuffle(images if permute == 'images' else questions)
    return [
        {
            'id': number,
            'image': image,
            'width': IMAGE_SIZE,
            'height': IMAGE_SIZE,
            'conversations': [{'from': 'human', 'value': f'<image>\n{question}'}, {'from': 'gpt', 'value': answer}],
        }
        for number, (image, question, answer) in enumerate(zip(images, questions, answers, strict=True))
    ]


def write_tree(out: Path, task: str = 'vqa', permute: str | None = None, seed: int = DEFAULT_SEED) -> int:
    """Write the tree as users unpack InternVL's fine-tuning data, under `out`; return the number of rows."""
    folder = out / 'playground' / 'data' / 'digits'
    folder.mkdir(parents=True, exist_ok=True)
    for index, scan in enumerate(load_scans()[0]):
        scan_to_image(scan).save(folder / f'{index:05d}.png', compress_level=0)
    rows = build_rows(task, permute, seed)
    annotation = Path('playground') / 'opensource' / f'digits_{task}.jsonl'
    (out / annotation).parent.mkdir(parents=True, exist_ok=True)
    (out / annotation).write_text(''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows), encoding='utf-8')
    entry = {'root': 'playground/data/', 'annotation': annotation.as_posix(), 'data_augment': False}
    meta = {f'digits_{task}': entry | {'repeat_time': 1, 'length': len(rows)}}
    (out / 'playground' / 'meta.json').write_text(json.dumps(meta, indent=2) + '\n', encoding='utf-8')
    return len(rows)


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 0, or 2 for bad usage."""
    parser = argparse.ArgumentParser(prog='anneal_trainer.digits', description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='folder that gets playground/')
    parser.add_argument('--task', choices=sorted(TASKS), default='vqa', help="vqa (default): the demo; ink: the base's")
    parser.add_argument('--permute', choices=['images', 'questions'], help='a control: accuracy must fall to chance')
    parser.add_argument('--seed', type=int, default=DEFAULT_SEED, help='of the permutation')
    args = parser.parse_args(argv)
    count = write_tree(args.out, args.task, args.permute, args.seed)
    print(f'digits: {count} rows of task {args.task} in {args.out / "playground"}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
