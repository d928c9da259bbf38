"""A model folder's tokenizer as chat templates use it: plain text to ids, and their special tokens."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from .errors import UsageError

IMAGE_TAG = '<image>'
TURN_BEGIN, TURN_END = '<|im_start|>', '<|im_end|>'


class ChatTokenizer:
    """Reads `tokenizer.json`; raises UsageError where it cannot, or where the template's tokens are missing."""

    template: str
    """Its name in data.json."""

    def __init__(self, folder: str | Path) -> None:
        path = Path(folder) / 'tokenizer.json'
        try:
            self.tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust binding raises a bare Exception
            raise UsageError(f'Cannot load the tokenizer {path}: {error}') from error
        self.end_id = self._special(TURN_END)
        self._special(TURN_BEGIN)

    def decode(self, ids: list[int]) -> str:
        """Text of generated ids, without special tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _special(self, token: str) -> int:
        token_id = self.tokenizer.token_to_id(token)
        if token_id is None:
            raise UsageError(
                f'The tokenizer has no token {token}; the {self.template} template cannot be built from it.'
            )
        return token_id
