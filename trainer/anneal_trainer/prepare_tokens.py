"""Count a row's tokens exactly as the trainer will encode it; needs no torch, whose import takes seconds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Protocol

from .prepare_images import CheckedImage
from .prepare_rows import Row
from .qwen_text import QwenChat, image_tokens, read_processor
from .text import ChatEncoder


class TokenCounter(Protocol):
    """Counts with a model folder's tokenizer."""

    def count(self, row: Row, images: list[CheckedImage]) -> int:
        """Return the tokens of the row's prompts and answers."""


def counter_of(args: argparse.Namespace) -> TokenCounter:
    """The counter of the template that the command line names."""
    if args.template == 'qwen2vl':
        return QwenCounter(args.tokenizer, args.image_max_pixels)
    return InternvlCounter(args.tokenizer, args.image_tokens)


class InternvlCounter:
    """An image is `image_tokens` tokens long."""

    def __init__(self, tokenizer: Path, image_tokens: int) -> None:
        # One context token stands for all: thousands of equal tokens a row would only cost time.
        self._encoder = ChatEncoder(tokenizer, 1)
        self._image_tokens = image_tokens

    def count(self, row: Row, images: list[CheckedImage]) -> int:
        """Return the tokens of the row's prompts and answers."""
        sample = {'id': row.id, 'image': list(row.images), 'conversations': row.turns.to_json()}
        return len(self._encoder.encode_sample(sample).ids) + len(images) * (self._image_tokens - 1)


class QwenCounter:
    """An image is the longer, the larger it is."""

    def __init__(self, tokenizer: Path, most_pixels: int) -> None:
        self._chat = QwenChat(tokenizer)
        self._most_pixels = most_pixels
        self._processor = read_processor(tokenizer)

    def count(self, row: Row, images: list[CheckedImage]) -> int:
        """Return the tokens of the row's prompts and answers."""
        turns = [
            len(self._chat.prompt(question, number == 0)) + len(self._chat.answer(answer))
            for number, (question, answer) in enumerate(row.turns.pairs)
        ]
        seen = [image_tokens((image.width, image.height), self._most_pixels, self._processor) - 1 for image in images]
        return sum(turns) + sum(seen)
