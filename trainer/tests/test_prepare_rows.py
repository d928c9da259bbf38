"""What makes a row unusable: each fault has its own reason, and the first thing wrong names the row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anneal_trainer.prepare_rows import REASONS, RowFault, check_row, resolve_image

ASK = {'from': 'human', 'value': '<image>\nWhich?'}
SAY = {'from': 'gpt', 'value': '7'}
SYSTEM = {'from': 'system', 'value': 'Be brief.'}
LATER = {'from': 'human', 'value': 'Sure?'}


def row(**changes: Any) -> dict[str, Any]:
    return {'id': 1, 'image': 'a.png', 'conversations': [ASK, SAY]} | changes


def ask(text: str) -> list[dict[str, str]]:
    return [{'from': 'human', 'value': text}, SAY]


FAULTS: list[tuple[str, Any]] = [
    ('json-invalid', ValueError('Expecting value: line 1 column 1 (char 0)')),
    ('json-invalid', [1, 2]),
    ('json-invalid', row(id='\ud800')),
    ('text-only', {'id': 1, 'conversations': ask('Hello?')}),
    ('text-only', row(image=None)),
    ('text-only', row(image='')),
    ('text-only', row(image=[])),
    ('video', {'id': 1, 'video': 'a.mp4', 'conversations': [ASK, SAY]}),
    ('image-path', row(image='../secret.png')),
    ('image-path', row(image='a/../../secret.png')),
    ('image-path', row(image='/etc/hostname')),
    ('image-path', row(image='a\\..\\b.png')),
    ('image-path', row(image='a\0b.png')),
    ('image-path', row(image=float('nan'))),
    ('image-path', row(image='.')),
    ('image-path', row(image=['a.png', '../b.png'])),
    ('image-tag', row(conversations=ask('Which?'))),
    ('image-tag', row(conversations=ask('<image>\n<image>\nWhich?'))),
    ('image-tag', row(image=['a.png', 'b.png'])),
    ('image-tag', row(conversations=[ASK, SAY, ASK, SAY])),
    ('image-tag', row(conversations=[ASK, {'from': 'gpt', 'value': '<image>'}])),
    ('conversations', row(conversations=None)),
    ('conversations', row(conversations=[])),
    ('conversations', row(conversations='text')),
    ('conversations', row(conversations=[ASK])),
    ('conversations', row(conversations=[SAY, ASK])),
    ('conversations', row(conversations=[ASK, SAY, LATER])),
    ('conversations', row(conversations=[ASK, ASK])),
    ('conversations', row(conversations=[SYSTEM])),
    ('conversations', row(conversations=[ASK, {'from': 'assistant', 'value': '7'}])),
    ('conversations', row(conversations=[ASK, {'from': 'gpt', 'value': ' '}])),
    ('conversations', row(conversations=[ASK, {'from': 'gpt', 'value': 7}])),
    ('conversations', row(conversations=[ASK, 'seven'])),
    ('reserved-text', row(conversations=ask('<image>\nWhich?<|im_end|>'))),
    ('reserved-text', row(conversations=ask('<image><IMG_CONTEXT>\nWhich?'))),
]


@pytest.mark.parametrize(('reason', 'value'), FAULTS)
def test_a_planted_fault_is_named_by_its_reason(reason: str, value: Any) -> None:
    with pytest.raises(RowFault) as fault:
        check_row('set', 1, value)
    assert fault.value.reason == reason
    assert str(fault.value).startswith(REASONS[reason])


def test_good_rows_pass_and_come_out_normalised() -> None:
    plain = check_row('set', 1, row(width=5, extra='dropped'))
    assert (plain.images, plain.id) == (('a.png',), 1)
    assert plain.turns.to_json() == [ASK, SAY]
    many = check_row('set', 3, row(image=['./a.png', 'b//c.png'], conversations=ask('<image> <image> Which?')))
    assert many.images == ('a.png', 'b/c.png')
    assert check_row('set', 1, row(conversations=[SYSTEM, ASK, SAY, LATER, SAY])).turns.system == 'Be brief.'


def test_a_row_without_an_id_gets_one_that_no_numbered_row_has() -> None:
    assert check_row('set', 4, {'image': 'a.png', 'conversations': [ASK, SAY]}).id == 'line-4'


def test_a_missing_tag_is_put_in_front_where_that_is_asked_for() -> None:
    fixed = check_row('set', 1, row(conversations=ask('Which?')), prepend_tag=True)
    assert fixed.question == '<image>\nWhich?'
    with pytest.raises(RowFault):
        check_row('set', 1, row(image=['a.png', 'b.png'], conversations=ask('Which?')), prepend_tag=True)


def test_a_link_that_leads_out_of_the_image_folder_is_refused_and_one_that_stays_is_followed(tmp_path: Path) -> None:
    root = tmp_path.resolve() / 'images'
    root.mkdir()
    (tmp_path / 'secret.png').write_bytes(b'x')
    (root / 'real.png').write_bytes(b'x')
    (root / 'out.png').symlink_to(tmp_path / 'secret.png')
    (root / 'in.png').symlink_to('real.png')
    (root / 'loop.png').symlink_to('loop.png')
    with pytest.raises(RowFault, match='leads out of'):
        resolve_image(root, 'out.png')
    assert resolve_image(root, 'in.png') == root / 'real.png'
    with pytest.raises(RowFault):
        resolve_image(root, 'loop.png')
