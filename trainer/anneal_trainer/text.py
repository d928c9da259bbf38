"""The `internvl2_5` chat template: rows and questions in, token ids and labels out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from .errors import TrainerError, UsageError

IGNORE = -100  # label of a token that is not trained on
IMAGE_TAG = '<image>'
IMAGE_BEGIN, IMAGE_CONTEXT, IMAGE_END = '<img>', '<IMG_CONTEXT>', '</img>'
TURN_BEGIN, TURN_END = '<|im_start|>', '<|im_end|>'


@dataclass(frozen=True)
class EncodedSample:
    """Token ids and, of the same length, the label of each token itself (not yet shifted); IGNORE outside answers."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]


class ChatEncoder:
    """Builds prompts from a HF folder's `tokenizer.json`; `tokens_per_image` context tokens stand for each image."""

    def __init__(self, folder: str | Path, tokens_per_image: int) -> None:
        path = Path(folder) / 'tokenizer.json'
        try:
            self.tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust binding raises a bare Exception
            raise UsageError(f'Cannot load the tokenizer {path}: {error}') from error
        self.image_text = IMAGE_BEGIN + IMAGE_CONTEXT * tokens_per_image + IMAGE_END
        self.image_token_id = self._special(IMAGE_CONTEXT)
        self.end_id = self._special(TURN_END)
        self._special(TURN_BEGIN)

    def encode_prompt(self, question: str, images: int = 1, system: str | None = None) -> list[int]:
        """Ids up to and including `<|im_start|>assistant\\n`: what generation starts from."""
        head = '' if system is None else f'{TURN_BEGIN}system\n{system}{TURN_END}\n'
        return self._ids(head + self._question(question, images))

    def encode_sample(self, row: dict[str, Any]) -> EncodedSample:
        """Ids and labels of an InternVL-Finetune row; only answers and the token that ends them carry labels.

        Raises TrainerError naming the sample when the turns or the image tags do not fit.
        """
        turns = list(row['conversations'])
        system = turns.pop(0)['value'] if turns and turns[0]['from'] == 'system' else None
        if not turns or [turn['from'] for turn in turns] != ['human', 'gpt'] * (len(turns) // 2):
            raise TrainerError(f'Sample {row.get("id")!r}: turns must be human and gpt in turn, ending with gpt.')
        ids: list[int] = []
        labels: list[int] = []
        for index in range(0, len(turns), 2):
            images = image_count(row) if index == 0 else 0
            try:
                prompt = self.encode_prompt(turns[index]['value'], images, system if index == 0 else None)
            except TrainerError as error:
                raise TrainerError(f'Sample {row.get("id")!r}: {error}') from error
            if index > 0:
                prompt = self._ids('\n') + prompt
            answer = [*self._ids(turns[index + 1]['value']), self.end_id]
            ids += prompt + answer
            labels += [IGNORE] * len(prompt) + answer
        return EncodedSample(tuple(ids), tuple(labels))

    def decode(self, ids: list[int]) -> str:
        """Text of generated ids, without special tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def _question(self, question: str, images: int) -> str:
        tags = question.count(IMAGE_TAG)
        if tags == 0 and images == 1:  # MindSpeed MM puts a missing tag in front too
            question, tags = f'{IMAGE_TAG}\n{question}', 1
        if tags != images:
            raise TrainerError(f'the question has {tags} {IMAGE_TAG} tags for {images} images.')
        return f'{TURN_BEGIN}user\n{question.replace(IMAGE_TAG, self.image_text)}{TURN_END}\n{TURN_BEGIN}assistant\n'

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _special(self, token: str) -> int:
        token_id = self.tokenizer.token_to_id(token)
        if token_id is None:
            raise UsageError(f'The tokenizer has no token {token}; the internvl2_5 template cannot be built from it.')
        return token_id


def image_count(row: dict[str, Any]) -> int:
    """Number of images of a row: `image` is one path, a list of paths, or absent."""
    image = row.get('image')
    return len(image) if isinstance(image, list) else int(isinstance(image, str) and bool(image))
