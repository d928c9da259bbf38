"""Judge a model on held-out rows by exact match of its whole answer: `python -m anneal_trainer.evaluate`.

Reads a Hugging Face folder, as a user of the result would, and never a checkpoint of the trainer. Greedy, fp32, one
thread: the same model and rows give the same result, answer by answer. Exit codes: 0 done, 1 failed, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import TrainerError, UsageError
from .hf_load import load_model
from .images import ImageLoader
from .model import InternVL
from .tensors import weights_digest
from .text import IMAGE_TAG, ChatEncoder, image_count

BATCH_ROWS = 64
MAX_NEW_TOKENS = 16
EXAMPLES = 5
MAX_KINDS = 50
"""Kinds of question listed one by one; sets with a question of its own for each row have no kinds worth a list."""


@dataclass(frozen=True)
class Question:
    """One held-out row: its first question, and what it should be answered with."""

    id: Any
    images: tuple[Path, ...]
    text: str
    system: str | None
    expected: str

    @property
    def kind(self) -> str:
        """The question without image tags: rows that ask the same are of one kind."""
        return ' '.join(self.text.replace(IMAGE_TAG, ' ').split())


def read_questions(data: Path, images: Path, limit: int | None = None) -> list[Question]:
    """Return the rows of a prepared .jsonl; raises UsageError that names file and line."""
    questions = []
    try:
        lines = [line for line in data.read_text(encoding='utf-8').split('\n') if line]
    except OSError as error:
        raise UsageError(f'Cannot read the held-out rows {data}: {error.strerror}.') from error
    for number, line in enumerate(lines[:limit], 1):
        try:
            row = json.loads(line)
            turns = list(row['conversations'])
            system = turns.pop(0)['value'] if turns[0]['from'] == 'system' else None
            names = row['image'] if isinstance(row['image'], list) else [row['image']][: image_count(row)]
            paths = tuple(images / name for name in names)
            questions.append(Question(row.get('id'), paths, turns[0]['value'], system, turns[1]['value']))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise UsageError(f'{data} line {number} is no prepared row ({error!r}): prepare the data first.') from error
    if not questions:
        raise UsageError(f'{data} holds no row: there is nothing to judge the model by.')
    return questions


@torch.no_grad()  # not inference_mode: the model caches its rotary angles, which must stay usable for training
def generate(model: InternVL, ids: Tensor, pixels: Tensor, stop: int) -> list[list[int]]:
    """Continue prompts of one length, ids (batch, length) with pixels (images, 3, size, size), greedily.

    Returns the new ids of each, up to the stop token or MAX_NEW_TOKENS. Without a key-value cache: answers are a few
    tokens, and the plain forward pass is the one that was trained.
    """
    features = model.image_encoder(pixels)
    start = ids.shape[1]
    open_rows = torch.ones(len(ids), dtype=torch.bool)
    for _ in range(MAX_NEW_TOKENS):
        last = torch.full((len(ids),), ids.shape[1] - 1)
        logits = model.text_decoder(ids, features, (torch.arange(len(ids)), last))
        logits[:, model.config.img_context_token_id] = -torch.inf  # a written image slot would have no image behind it
        token = torch.where(open_rows, logits.argmax(dim=-1), stop)
        ids = torch.cat([ids, token[:, None]], dim=1)
        open_rows &= token != stop
        if not open_rows.any():
            break
    return [[token for token in row if token != stop] for row in ids[:, start:].tolist()]


def answer(
    model: InternVL, encoder: ChatEncoder, loader: ImageLoader, questions: list[Question]
) -> Iterator[list[int]]:
    """Answer the questions, batch by batch; yields the numbers of the questions just answered with their text."""
    prompts = [encoder.encode_prompt(q.text, len(q.images), q.system) for q in questions]
    by_length: dict[int, list[int]] = {}
    for number, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(number)
    for _, numbers in sorted(by_length.items()):
        for start in range(0, len(numbers), BATCH_ROWS):
            batch = numbers[start : start + BATCH_ROWS]
            ids = torch.tensor([prompts[number] for number in batch])
            pixels = [
                loader.load(str(path), questions[number].id) for number in batch for path in questions[number].images
            ]
            yield list(zip(batch, generate(model, ids, torch.stack(pixels), encoder.end_id), strict=True))


def internvl_answers(model_dir: Path, questions: list[Question]) -> Iterator[list[tuple[int, str]]]:
    """Answer with the trainer's own model; yields the numbers of the questions just answered with their text."""
    model = load_model(model_dir)
    encoder = ChatEncoder(model_dir, model.config.tokens_per_image)
    loader = ImageLoader(model.config.vision.image_size, pad_square=True)  # as data.json says
    for batch in answer(model, encoder, loader, questions):
        yield [(number, encoder.decode(ids).strip()) for number, ids in batch]


def evaluate(
    model_dir: Path, data: Path, images: Path, limit: int | None = None, image_max_pixels: int | None = None
) -> dict[str, Any]:
    """Return the result as written to --out; raises TrainerError that says what does not fit.

    `image_max_pixels` is that of a data.json which has it, and with it the model is Qwen2.5-VL.
    """
    questions = read_questions(data, images, limit)
    if image_max_pixels is None:
        batches = internvl_answers(model_dir, questions)
    else:
        from .judge_qwen import QwenJudge

        batches = QwenJudge(model_dir, image_max_pixels, MAX_NEW_TOKENS).answers(questions)
    began = time.monotonic()
    predictions: list[str] = [''] * len(questions)
    done = 0
    for batch in batches:
        for number, text in batch:
            predictions[number] = text
        done += len(batch)
        print(f'evaluate: {done}/{len(questions)} samples', flush=True)
    seconds = time.monotonic() - began
    return summarise(questions, predictions) | {
        'weights_digest': weights_digest(model_dir),
        'seconds': round(seconds, 3),
        'samples_per_second': round(len(questions) / max(seconds, 1e-9), 1),
    }


def summarise(questions: list[Question], predictions: list[str]) -> dict[str, Any]:
    """Return accuracy overall and by kind, and a few examples; nothing of time or place."""
    right = [q.expected.strip() == p for q, p in zip(questions, predictions, strict=True)]
    kinds: dict[str, list[bool]] = {}
    for question, hit in zip(questions, right, strict=True):
        kinds.setdefault(question.kind, []).append(hit)
    listed = kinds if len(kinds) <= MAX_KINDS else {}
    # Evenly spread, so that the examples are not all of the first image
    chosen = (
        [index * len(questions) // EXAMPLES for index in range(EXAMPLES)]
        if len(questions) > EXAMPLES
        else range(len(questions))
    )
    return {
        'format': 1,
        'metric': 'exact match of the whole answer, greedy',
        'samples': len(questions),
        'correct': sum(right),
        'accuracy': sum(right) / len(questions),
        'kinds': {
            kind: {'samples': len(hits), 'correct': sum(hits), 'accuracy': sum(hits) / len(hits)}
            for kind, hits in sorted(listed.items())
        },
        'examples': [
            {
                'id': questions[index].id,
                'question': questions[index].kind,
                'expected': questions[index].expected,
                'predicted': predictions[index],
                'correct': right[index],
            }
            for index in chosen
        ],
    }


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog='anneal_trainer.evaluate', description=__doc__)
    parser.add_argument('--model', type=Path, required=True, help='Hugging Face folder of the model')
    parser.add_argument('--data', type=Path, required=True, help='heldout.jsonl of anneal_trainer.prepare')
    parser.add_argument('--images', type=Path, required=True, help='images/ of anneal_trainer.prepare')
    parser.add_argument('--out', type=Path, required=True, help='the result, as JSON')
    parser.add_argument('--limit', type=int, help='judge by the first rows only')
    parser.add_argument('--image-max-pixels', type=int, help='of the data.json of Qwen2.5-VL, which the model then is')
    args = parser.parse_args(argv)
    if args.limit is not None and args.limit < 1:
        parser.error(f'--limit is {args.limit}: it must be at least 1')
    torch.set_num_threads(1)
    try:
        result = evaluate(args.model, args.data, args.images, args.limit, args.image_max_pixels)
    except TrainerError as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return error.exit_code
    args.out.parent.mkdir(parents=True, exist_ok=True)
    partial = args.out.with_name(args.out.name + '.tmp')
    partial.write_text(json.dumps(result, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')
    os.replace(partial, args.out)
    print(f'evaluate: done: {result["correct"]} of {result["samples"]} right, accuracy {result["accuracy"]:.4f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
