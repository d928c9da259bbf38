"""Count a row's tokens exactly as the trainer will encode it; needs no torch, whose import takes seconds."""

from __future__ import annotations

from pathlib import Path

from .prepare_rows import Row
from .text import ChatEncoder


class TokenCounter:
    """Counts with a model folder's tokenizer; an image is `image_tokens` tokens long."""

    def __init__(self, tokenizer: Path, image_tokens: int) -> None:
        # One context token stands for all: thousands of equal tokens a row would only cost time.
        self._encoder = ChatEncoder(tokenizer, 1)
        self._image_tokens = image_tokens

    def count(self, row: Row) -> int:
        """Return the tokens of the row's prompt and answers."""
        sample = {'id': row.id, 'image': list(row.images), 'conversations': row.turns.to_json()}
        return len(self._encoder.encode_sample(sample).ids) + len(row.images) * (self._image_tokens - 1)
