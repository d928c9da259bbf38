"""How the chat templates of MindSpeed-MM differ for rows: reserved text, system turns, the shape of a training row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ROLES = {'human': 'user', 'gpt': 'assistant'}


@dataclass(frozen=True)
class Template:
    """One template by the name that data.json gives it."""

    reserved: tuple[str, ...]
    """Once tokenized: a second image slot, or the end of a turn inside an answer."""
    takes_system: bool
    training_row: Callable[[dict[str, Any]], dict[str, Any]]


def _as_messages(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the attributes of Qwen's data.json name it; every value of a column has one type, as Arrow demands."""
    image = row['image']
    turns = [{'role': ROLES[turn['from']], 'content': turn['value']} for turn in row['conversations']]
    return {'images': image if isinstance(image, list) else [image], 'messages': turns}


TEMPLATES = {
    'internvl2_5': Template(
        reserved=('<IMG_CONTEXT>', '<img>', '</img>', '<|im_start|>', '<|im_end|>', '<|endoftext|>'),
        takes_system=True,
        training_row=lambda row: row,
    ),
    'qwen2vl': Template(
        # A placeholder of another medium ends the training: MindSpeed-MM counts them against the media of the row.
        reserved=(
            '<video>', '<audio>', '<|im_start|>', '<|im_end|>', '<|endoftext|>', '<|vision_start|>', '<|vision_end|>',
            '<|vision_pad|>', '<|image_pad|>', '<|video_pad|>',
        ),
        takes_system=False,
        training_row=_as_messages,
    ),
}  # fmt: skip
INTERNVL = TEMPLATES['internvl2_5']
