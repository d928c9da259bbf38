"""The digits data set: the same bytes every time, and questions whose answers follow from label or pixels."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anneal_trainer.digits import SCANS, TASKS, build_rows, load_scans, main, write_tree

ANNOTATION_DIGESTS = {
    'vqa': '1961e0fde7546e347b9474ed7bdbc964d18195338e62a2b9ff98529d138a645f',
    'ink': 'a1677eb70f8f186baf3fb16288850228c1de3a64c418eb84bd9b556cf2b70902',
}
PIXELS_DIGEST = '9a59cafb7f7209d2b274cccce2cce8e76fa4c47328923d519c3baf298a058422'


def tree_digest(root: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(path for path in root.rglob('*') if path.is_file()):
        total.update(f'{path.relative_to(root).as_posix()}\n'.encode() + path.read_bytes())
    return total.hexdigest()


def test_the_scans_are_the_file_that_the_attribution_names() -> None:
    attribution = (SCANS.parent / 'ATTRIBUTION.md').read_text()
    assert hashlib.sha256(SCANS.read_bytes()).hexdigest() in attribution
    assert 'Creative Commons Attribution 4.0' in attribution


def test_two_builds_of_the_tree_are_equal_byte_for_byte(tmp_path: Path) -> None:
    for name in ('a', 'b'):
        assert main(['--out', str(tmp_path / name), '--task', 'parity']) == 0
    assert tree_digest(tmp_path / 'a') == tree_digest(tmp_path / 'b')


def test_pixels_and_rows_are_those_that_the_base_model_was_made_from(tmp_path: Path) -> None:
    for task, digest in ANNOTATION_DIGESTS.items():
        write_tree(tmp_path, task)
        content = (tmp_path / 'playground' / 'opensource' / f'digits_{task}.jsonl').read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
    pixels = hashlib.sha256()
    for path in sorted((tmp_path / 'playground' / 'data' / 'digits').iterdir()):
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((28, 28), 'RGB')
            pixels.update(image.tobytes())
    assert pixels.hexdigest() == PIXELS_DIGEST


def test_the_meta_file_describes_the_tree_from_its_root(tmp_path: Path) -> None:
    count = write_tree(tmp_path, 'vqa')
    meta = json.loads((tmp_path / 'playground' / 'meta.json').read_text())['digits_vqa']
    rows = [json.loads(line) for line in (tmp_path / meta['annotation']).read_text().splitlines()]
    assert len(rows) == meta['length'] == count == 3 * 1797
    assert all((tmp_path / meta['root'] / row['image']).is_file() for row in rows)


def test_the_demo_asks_three_questions_of_each_image_and_answers_by_its_label() -> None:
    labels = load_scans()[1]
    for row in build_rows('vqa'):
        label = int(labels[int(Path(row['image']).stem)])
        question, answer = (turn['value'] for turn in row['conversations'])
        right = {'which': str(label), 'even': ('even', 'odd')[label % 2], 'greater': 'yes' if label > 4 else 'no'}
        kind = 'which' if 'Which' in question else 'even' if 'even' in question else 'greater'
        assert answer == right[kind]


def test_the_base_task_shares_no_question_and_no_answer_with_the_demo() -> None:
    ink, vqa = (
        [tuple(turn['value'] for turn in row['conversations']) for row in build_rows(t)] for t in ('ink', 'vqa')
    )
    assert not {question for question, _ in ink} & {question for question, _ in vqa}
    assert not {answer for _, answer in ink} & {answer for _, answer in vqa}


def test_the_base_task_is_answered_by_the_pixels() -> None:
    scans = load_scans()[0]
    for row in build_rows('ink'):
        scan = scans[int(Path(row['image']).stem)]
        question, answer = (turn['value'] for turn in row['conversations'])
        if 'top or bottom' in question:
            assert answer == ('top' if scan[:4].sum() > scan[4:].sum() else 'bottom')
        elif 'corner' in question:
            quarters = {
                f'{y} {x}': scan[rows, columns].sum()
                for y, rows in (('top', np.s_[:4]), ('bottom', np.s_[4:]))
                for x, columns in (('left', np.s_[:4]), ('right', np.s_[4:]))
            }
            assert answer == max(quarters, key=lambda name: quarters[name])


@pytest.mark.parametrize('column', ['images', 'questions'])
def test_a_control_deals_one_column_anew_and_leaves_the_others(column: str) -> None:
    def columns(permute: str | None) -> dict[str, list[str]]:
        rows = build_rows('vqa', permute, seed=7)
        turns = [[turn['value'] for turn in row['conversations']] for row in rows]
        return {
            'images': [row['image'] for row in rows],
            'questions': [question for question, _ in turns],
            'answers': [answer for _, answer in turns],
        }

    plain, control = columns(None), columns(column)
    for name in plain:
        if name == column:
            moved = sum(a != b for a, b in zip(plain[name], control[name], strict=True))
            assert moved > len(plain[name]) / 2
            assert Counter(plain[name]) == Counter(control[name])
        else:
            assert plain[name] == control[name]
    assert columns(column) == control


def test_every_task_has_rows_and_an_unknown_one_is_a_usage_error(tmp_path: Path) -> None:
    assert all(build_rows(task) for task in TASKS)
    with pytest.raises(SystemExit) as stopped:
        main(['--out', str(tmp_path), '--task', 'none'])
    assert stopped.value.code == 2
