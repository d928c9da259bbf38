"""The `internvl2_5` chat template: rows and questions in, token ids and labels out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .chat_tokenizer import IMAGE_TAG, TURN_BEGIN, TURN_END, ChatTokenizer
from .errors import TrainerError

IGNORE = -100  # label of a token that is not trained on
IMAGE_BEGIN, IMAGE_CONTEXT, IMAGE_END = '<img>', '<IMG_CONTEXT>', '</img>'


@dataclass(frozen=True)
class EncodedSample:
    """Token ids and, of the same length, the label of each token itself (not yet shifted); IGNORE outside answers."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]


class ChatEncoder(ChatTokenizer):
    """Builds prompts from a HF folder's `tokenizer.json`; `tokens_per_image` context tokens stand for each image."""

    template = 'internvl2_5'

    def __init__(self, folder: str | Path, tokens_per_image: int) -> None:
        super().__init__(folder)
        self.image_text = IMAGE_BEGIN + IMAGE_CONTEXT * tokens_per_image + IMAGE_END
        self.image_token_id = self._special(IMAGE_CONTEXT)

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

    def _question(self, question: str, images: int) -> str:
        tags = question.count(IMAGE_TAG)
        if tags == 0 and images == 1:  # MindSpeed MM puts a missing tag in front too
            question, tags = f'{IMAGE_TAG}\n{question}', 1
        if tags != images:
            raise TrainerError(f'the question has {tags} {IMAGE_TAG} tags for {images} images.')
        return f'{TURN_BEGIN}user\n{question.replace(IMAGE_TAG, self.image_text)}{TURN_END}\n{TURN_BEGIN}assistant\n'


def image_count(row: dict[str, Any]) -> int:
    """Number of images of a row: `image` is one path, a list of paths, or absent."""
    image = row.get('image')
    return len(image) if isinstance(image, list) else int(isinstance(image, str) and bool(image))
