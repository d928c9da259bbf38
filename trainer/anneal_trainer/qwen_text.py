"""The `qwen2vl` chat template, and how many tokens an image becomes; imports nothing heavy.

MindSpeed MM makes an image small enough first, without regard to its patches; then the model's own processor rounds
both sides to whole squares of patches. Both steps decide how many tokens there are.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from .chat_tokenizer import IMAGE_TAG, TURN_BEGIN, TURN_END, ChatTokenizer
from .errors import UsageError

SYSTEM = 'You are a helpful assistant.'
IMAGE_TEXT = '<|vision_start|><|image_pad|><|vision_end|>'
SMALLEST_SIDE = 28
STEEPEST, CUT = 200, 180
"""A strip whose sides differ by more than the first is cut to the second."""


Size = tuple[int, int]
"""Width and height."""


@dataclass(frozen=True)
class Processor:
    """What preprocessor_config.json of a model says of sizes."""

    patch: int
    merge: int
    fewest: int
    most: int

    @property
    def square(self) -> int:
        """Side of the square that becomes one token, in pixels."""
        return self.patch * self.merge


def read_processor(folder: Path) -> Processor:
    """Read it; raises UsageError where the folder has none, for then MindSpeed MM could not load an image."""
    path = folder / 'preprocessor_config.json'
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        size = found.get('size') or {}
        fewest = found.get('min_pixels') or size.get('shortest_edge') or 56 * 56
        most = found.get('max_pixels') or size.get('longest_edge') or 28 * 28 * 1280
        return Processor(int(found.get('patch_size', 14)), int(found.get('merge_size', 2)), int(fewest), int(most))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(
            f'{path} cannot be used ({error}): fetch the model with its preprocessor_config.json.'
        ) from error


def scaled(size: Size, most_pixels: int) -> Size:
    """The size of an image that has at most so many pixels (`image_max_pixels` of data.json)."""
    if math.prod(size) <= most_pixels:
        return size
    factor = math.sqrt(most_pixels / math.prod(size))
    return int(size[0] * factor), int(size[1] * factor)


def straightened(size: Size) -> list[Size]:
    """The sizes that a narrow image is then given, one after another; none for an ordinary one."""
    sizes = []
    if min(size) < SMALLEST_SIDE:
        size = (max(size[0], SMALLEST_SIDE), max(size[1], SMALLEST_SIDE))
        sizes.append(size)
    if max(size) / min(size) > STEEPEST:
        width, height = size
        sizes.append((height * CUT, height) if width > height else (width, width * CUT))
    return sizes


def image_tokens(size: Size, most_pixels: int, processor: Processor) -> int:
    """Return how many tokens an image of this size becomes."""
    small = scaled(size, most_pixels)
    sides = [small, *straightened(small)][-1]
    square = processor.square
    squares = [round(side / square) for side in sides]
    area = math.prod(squares) * square**2
    if area > processor.most:
        beta = math.sqrt(math.prod(sides) / processor.most)
        squares = [max(1, math.floor(side / beta / square)) for side in sides]
    elif area < processor.fewest:
        beta = math.sqrt(processor.fewest / math.prod(sides))
        squares = [math.ceil(side * beta / square) for side in sides]
    return math.prod(squares)


class QwenChat(ChatTokenizer):
    """Builds prompts from a HF folder's `tokenizer.json`."""

    template = 'qwen2vl'

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.image_id = self._special('<|image_pad|>')
        for token in ('<|vision_start|>', '<|vision_end|>'):
            self._special(token)

    def prompt(self, question: str, is_first: bool = True) -> list[int]:
        """Ids up to the answer; each image tag is one image token, whatever the size of the image."""
        head = self._ids(f'{TURN_BEGIN}system\n{SYSTEM}{TURN_END}\n') if is_first else []
        asked = question.replace(IMAGE_TAG, IMAGE_TEXT)
        return head + self._ids(f'{TURN_BEGIN}user\n{asked}{TURN_END}\n{TURN_BEGIN}assistant\n')

    def answer(self, text: str) -> list[int]:
        """Ids of an answer, which are trained on."""
        return self._ids(f'{text}{TURN_END}\n')
