"""Answer questions with Qwen2.5-VL on the processor, as the class of transformers does, which MindSpeed MM needs too.

Images are made small exactly as in training, so that the judge shows the model what it has learnt from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image

from .errors import UsageError
from .qwen_text import QwenChat, Size, image_tokens, read_processor, scaled, straightened

if TYPE_CHECKING:
    from .evaluate import Question


class QwenJudge:
    """Loads a Hugging Face folder; raises UsageError where this Python cannot."""

    def __init__(self, folder: Path, most_pixels: int, most_new_tokens: int) -> None:
        try:
            from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessor
        except ImportError as error:
            raise UsageError(f'Judging Qwen2.5-VL needs transformers in this Python ({error}): install it.') from error
        self._chat = QwenChat(folder)
        self._most_pixels = most_pixels
        self._processor = read_processor(folder)
        self._images = Qwen2VLImageProcessor.from_pretrained(folder, local_files_only=True)
        self._model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, local_files_only=True).float().eval()
        self._most_new_tokens = most_new_tokens

    def answers(self, questions: list[Question]) -> Iterator[list[tuple[int, str]]]:
        """Answer one question after another: images differ in length, and the sums of a batch depend on its padding."""
        for number, question in enumerate(questions):
            yield [(number, self._answer(question))]

    @torch.no_grad()
    def _answer(self, question: Question) -> str:
        opened = [Image.open(path) for path in question.images]
        ids = self._prompt(question.text, [image.size for image in opened])
        seen = self._images([self._as_trained(image) for image in opened], return_tensors='pt')
        made = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=seen['pixel_values'].float(),
            image_grid_thw=seen['image_grid_thw'],
            do_sample=False,
            num_beams=1,
            max_new_tokens=self._most_new_tokens,
            eos_token_id=self._chat.end_id,
            pad_token_id=self._chat.end_id,
        )
        new = [token for token in made[0, ids.shape[1] :].tolist() if token != self._chat.end_id]
        return self._chat.decode(new).strip()

    def _prompt(self, text: str, sizes: list[Size]) -> torch.Tensor:
        """Each image token as often as its image has tokens."""
        counts = iter(image_tokens(size, self._most_pixels, self._processor) for size in sizes)
        ids = [
            token
            for prompted in self._chat.prompt(text)
            for token in [prompted] * (next(counts) if prompted == self._chat.image_id else 1)
        ]
        return torch.tensor([ids])

    def _as_trained(self, image: Image.Image) -> Image.Image:
        small = scaled(image.size, self._most_pixels)
        if small != image.size:
            image = image.resize(small, Image.Resampling.NEAREST)
        image = image.convert('RGB')
        for size in straightened(small):
            image = image.resize(size)
        return image
