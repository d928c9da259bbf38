"""Decide for one annotation row whether MindSpeed-MM could train on it, and normalise it if so; touches no file.

Each refusal is a RowFault with a reason from REASONS: the first thing wrong with a row names it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .prepare_templates import INTERNVL, Template

IMAGE_TAG = '<image>'
# Of rows as LLaMA-Factory has them, which MindSpeed-MM's own scripts for Qwen write.
SPEAKERS = {'user': 'human', 'assistant': 'gpt', 'system': 'system'}

REASONS = {
    'json-invalid': 'the line is no JSON object',
    'text-only': 'the row has no image; MindSpeed-MM fails on text-only rows of InternVL, and rows are split by image',
    'video': 'the row has a video; only images are supported',
    'image-path': 'the image path is not a relative path inside the image folder',
    'image-missing': 'the image file does not exist or cannot be read',
    'image-undecodable': 'the image file is truncated or no image',
    'image-tag': 'the number of <image> tags in the first question is not the number of images',
    'conversations': 'the turns are not an optional system turn, then human and gpt in turn, ending with gpt',
    'system-turn': 'the row has a system turn, which the data.json of its template has no word for',
    'reserved-text': 'a turn contains text that is a special token of the template',
    'id-duplicate': 'the id was used by an earlier row of the same file',
    'too-long': 'the row has more tokens than the sequence length',
}


class RowFault(Exception):
    """One row cannot be used."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f'{REASONS[reason]}: {detail}')
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Turns:
    """A conversation in MindSpeed-MM's form."""

    system: str | None
    pairs: tuple[tuple[str, str], ...]

    def to_json(self) -> list[dict[str, str]]:
        head = [] if self.system is None else [{'from': 'system', 'value': self.system}]
        turns = [turn for pair in self.pairs for turn in zip(('human', 'gpt'), pair, strict=True)]
        return head + [{'from': who, 'value': value} for who, value in turns]


@dataclass(frozen=True)
class Row:
    """A row whose form is right; whether its images and its length are is not known yet."""

    dataset: str
    line: int
    id: Any
    images: tuple[str, ...]
    turns: Turns

    @property
    def question(self) -> str:
        return self.turns.pairs[0][0]


def check_row(dataset: str, line: int, value: Any, prepend_tag: bool = False, template: Template = INTERNVL) -> Row:
    """Return the row, or raise RowFault. `prepend_tag` puts a missing <image> in front, as MindSpeed-MM does."""
    if not isinstance(value, dict):
        raise RowFault('json-invalid', str(value)[:200])
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise RowFault('json-invalid', f'it has text that is no Unicode ({type(error).__name__})') from error
    value = _from_messages(value)
    images = _images(value)
    turns = _turns(value.get('conversations'), template)
    question = turns.pairs[0][0]
    if prepend_tag and len(images) == 1 and IMAGE_TAG not in question:
        turns = Turns(turns.system, ((f'{IMAGE_TAG}\n{question}', turns.pairs[0][1]), *turns.pairs[1:]))
    _check_tags(turns, len(images))
    identity = value.get('id')
    return Row(dataset, line, identity if isinstance(identity, (str, int)) else f'line-{line}', images, turns)


def resolve_image(root: Path, relative: str) -> Path:
    """Return the image's real path under `root` (itself real); raises RowFault if a link leads out of it."""
    try:
        path = (root / relative).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise RowFault('image-path', f'{relative!r} cannot be resolved ({error})') from error
    if not path.is_relative_to(root):
        raise RowFault('image-path', f'{relative!r} is a link that leads out of {root}')
    return path


def _from_messages(value: dict[str, Any]) -> dict[str, Any]:
    """A row of LLaMA-Factory (messages, images, videos) in InternVL's words; any other as it is."""
    messages = value.get('messages')
    if 'conversations' in value or not isinstance(messages, list):
        return value
    turns = [
        {'from': SPEAKERS.get(str(turn.get('role')), turn.get('role')), 'value': turn.get('content')}
        if isinstance(turn, dict)
        else turn
        for turn in messages
    ]
    return {'id': value.get('id'), 'image': value.get('images'), 'video': value.get('videos'), 'conversations': turns}


def _images(value: dict[str, Any]) -> tuple[str, ...]:
    image = value.get('image')
    if image is None or image == '' or image == []:
        if value.get('video'):
            raise RowFault('video', str(value['video'])[:200])
        raise RowFault('text-only', "it has no key 'image'" if 'image' not in value else f"'image' is {image!r}")
    names = image if isinstance(image, list) else [image]
    return tuple(_safe_path(name) for name in names)


def _safe_path(name: Any) -> str:
    if not isinstance(name, str) or not name or '\0' in name or '\\' in name:
        raise RowFault('image-path', f'{name!r} is no path')
    path = PurePosixPath(name)
    if path.is_absolute() or '..' in path.parts or not path.parts:
        raise RowFault('image-path', f'{name!r} leaves the image folder')
    return path.as_posix()


def _turns(value: Any, template: Template) -> Turns:
    if not isinstance(value, list) or not value:
        raise RowFault('conversations', "'conversations' is missing or empty")
    if not all(isinstance(turn, dict) and isinstance(turn.get('value'), str) for turn in value):
        raise RowFault('conversations', "a turn is not an object with a text 'value'")
    system = value[0]['value'] if value[0].get('from') == 'system' else None
    turns = value if system is None else value[1:]
    expected = ['human', 'gpt'] * (len(turns) // 2)
    if not turns or [turn.get('from') for turn in turns] != expected:
        raise RowFault('conversations', f'the turns are from {[turn.get("from") for turn in value][:8]}')
    if any(not turn['value'].strip() for turn in turns):
        raise RowFault('conversations', 'a turn is empty')
    if system is not None and not template.takes_system:
        raise RowFault('system-turn', system[:200])
    for turn in value:
        for token in template.reserved:
            if token in turn['value']:
                raise RowFault('reserved-text', f'{token} in a turn from {turn["from"]}')
    texts = [turn['value'] for turn in turns]
    return Turns(system, tuple(zip(texts[::2], texts[1::2], strict=True)))


def _check_tags(turns: Turns, images: int) -> None:
    first = turns.pairs[0][0].count(IMAGE_TAG)
    everywhere = sum(text.count(IMAGE_TAG) for pair in turns.pairs for text in pair)
    if first != images:
        raise RowFault('image-tag', f'{first} tags for {images} image(s)')
    if everywhere != first:
        raise RowFault('image-tag', f'{everywhere - first} tag(s) in later turns or answers')
