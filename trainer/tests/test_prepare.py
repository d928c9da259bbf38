"""Preparing a data set: every planted fault is reported with its place, and no image is on both sides of the split."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from anneal_trainer.digits import write_tree
from anneal_trainer.prepare import main
from anneal_trainer.prepare_images import POOL_FROM_IMAGES, ImageChecker, check_image
from anneal_trainer.text import ChatEncoder

TOKENIZER = Path(__file__).resolve().parent.parent / 'base' / 'internvl3-tiny'
OPTIONS = ('--tokenizer', str(TOKENIZER), '--seq-length', '48', '--image-tokens', '4')


def row(number: int, image: str, question: str = 'Which digit is this?', **changes: Any) -> dict[str, Any]:
    turns = [{'from': 'human', 'value': f'<image>\n{question}'}, {'from': 'gpt', 'value': '7'}]
    return {'id': number, 'image': image, 'conversations': turns} | changes


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (8, 8), (shade, shade // 2, 255 - shade)).save(path)


def write_rows(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join((value if isinstance(value, str) else json.dumps(value)) + '\n' for value in rows))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(source: Path, out: Path, *options: str) -> int:
    return main(
        ['--source', str(source), '--out', str(out), '--report', str(out.with_suffix('.report')), *OPTIONS, *options]
    )


def report_of(out: Path) -> dict[str, Any]:
    return json.loads(out.with_suffix('.report').read_text())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Forty images, two rows each, in the tree as users unpack it."""
    rows = []
    for number in range(40):
        picture(tmp_path / 'source/playground/data' / f'd/{number}.png', number * 5)
        rows += [row(2 * number, f'd/{number}.png'), row(2 * number + 1, f'd/{number}.png', 'Is it even?')]
    write_rows(tmp_path / 'source/playground/opensource/d_rows.jsonl', rows)
    return tmp_path / 'source'


@pytest.fixture
def planted(source: Path) -> Path:
    """One fault of each kind that needs files, on known lines, among good rows."""
    data = source / 'playground/data'
    whole = (data / 'd/0.png').read_bytes()
    (data / 'd/cut.png').write_bytes(whole[: len(whole) // 2])
    (data / 'd/text.png').write_text('no image')
    (source / 'secret.png').write_bytes(whole)
    (data / 'd/link.png').symlink_to(source / 'secret.png')
    (data / 'd/folder.png').mkdir()
    rows = [
        row(0, 'd/0.png'),
        row(1, 'd/none.png'),
        row(2, 'd/cut.png'),
        row(3, 'd/text.png'),
        row(4, 'd/folder.png'),
        row(5, 'd/link.png'),
        row(6, '../../secret.png'),
        {'id': 7, 'conversations': row(7, '')['conversations']},
        row(8, 'd/1.png', 'very long ' * 30),
        row(0, 'd/2.png'),
        '{"id": 10, "image": ',
        row(11, 'd/3.png', conversations=[{'from': 'human', 'value': 'no tag'}, {'from': 'gpt', 'value': 'x'}]),
        row(12, 'd/3.png', conversations=[{'from': 'gpt', 'value': 'x'}]),
        row(13, 'd/3.png'),
    ]
    write_rows(source / 'playground/opensource/d_rows.jsonl', rows)
    return source


def test_each_planted_fault_is_reported_with_file_line_id_and_reason(planted: Path, tmp_path: Path) -> None:
    assert run(planted, tmp_path / 'out') == 0
    report = report_of(tmp_path / 'out')
    named = {
        (example['line'], example['id'], example['reason'])
        for entry in report['reasons'].values()
        for example in entry['examples']
    }
    assert named == {
        (2, 1, 'image-missing'),
        (3, 2, 'image-undecodable'),
        (4, 3, 'image-undecodable'),
        (5, 4, 'image-missing'),
        (6, 5, 'image-path'),
        (7, 6, 'image-path'),
        (8, 7, 'text-only'),
        (9, 8, 'too-long'),
        (10, 0, 'id-duplicate'),
        (11, None, 'json-invalid'),
        (12, 11, 'image-tag'),
        (13, 12, 'conversations'),
    }
    examples = [example for entry in report['reasons'].values() for example in entry['examples']]
    assert {example['file'] for example in examples} == {'playground/opensource/d_rows.jsonl'}
    assert (report['rows'], report['bad_rows']) == (14, 12)
    kept = read(tmp_path / 'out/train.jsonl') + read(tmp_path / 'out/heldout.jsonl')
    assert sorted(value['id'] for value in kept) == [0, 13]
    assert sorted(path.name for path in (tmp_path / 'out/images').rglob('*.png')) == ['0.png', '3.png']


def test_more_bad_rows_than_allowed_refuse_the_data_and_leave_no_result(
    planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(planted, tmp_path / 'out', '--max-bad-rows', '11') == 3
    message = capsys.readouterr().err
    assert '12 of 14 rows cannot be used' in message
    assert 'playground/opensource/d_rows.jsonl line' in message
    assert 'Repair the rows, or allow more bad rows than 11' in message
    assert list((tmp_path / 'out').iterdir()) == []
    assert report_of(tmp_path / 'out')['bad_rows'] == 12
    assert run(planted, tmp_path / 'out', '--max-bad-rows', '12') == 0


def test_examples_in_the_report_are_bounded_and_counts_are_not(source: Path, tmp_path: Path) -> None:
    rows = [row(0, 'd/0.png'), row(1, 'd/1.png'), *(row(number, 'none.png') for number in range(2, 502))]
    write_rows(source / 'playground/opensource/d_rows.jsonl', rows)
    assert run(source, tmp_path / 'out') == 0
    missing = report_of(tmp_path / 'out')['reasons']['image-missing']
    assert missing['count'] == 500
    assert len(missing['examples']) == 20


def test_all_rows_of_an_image_are_on_one_side(source: Path, tmp_path: Path) -> None:
    assert run(source, tmp_path / 'out') == 0
    sides = [{value['image'] for value in read(tmp_path / f'out/{side}.jsonl')} for side in ('train', 'heldout')]
    assert sides[0] and sides[1]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 40
    summary = json.loads((tmp_path / 'out/summary.json').read_text())
    assert summary['images'] == {
        'used': 40,
        'train': len(sides[0]),
        'heldout': len(sides[1]),
        'bytes': summary['images']['bytes'],
    }
    assert summary['rows'] == {
        'read': 80,
        'good': 80,
        'bad': 0,
        'train': 2 * len(sides[0]),
        'heldout': 2 * len(sides[1]),
    }


def test_one_picture_under_several_names_or_in_one_row_with_another_does_not_leak(source: Path, tmp_path: Path) -> None:
    data = source / 'playground/data'
    rows = []
    for number in range(40):
        (data / f'd/copy{number}.png').write_bytes((data / f'd/{number}.png').read_bytes())
        rows += [row(2 * number, f'd/{number}.png'), row(2 * number + 1, f'd/copy{number}.png')]
    pair = [{'from': 'human', 'value': '<image>\n<image>\nSame?'}, {'from': 'gpt', 'value': 'no'}]
    rows += [row(100 + number, ['d/0.png', f'd/{number}.png'], conversations=pair) for number in range(1, 6)]
    write_rows(source / 'playground/opensource/d_rows.jsonl', rows)
    assert run(source, tmp_path / 'out', '--heldout-fraction', '0.5') == 0
    sides = []
    for side in ('train', 'heldout'):
        values = [value['image'] for value in read(tmp_path / f'out/{side}.jsonl')]
        names = {name for value in values for name in (value if isinstance(value, list) else [value])}
        sides.append({(tmp_path / 'out/images' / name).read_bytes() for name in names})
    assert sides[0] and sides[1]
    assert not sides[0] & sides[1]


def test_the_split_is_the_same_each_time_and_stays_when_rows_are_added(source: Path, tmp_path: Path) -> None:
    for name in ('a', 'b'):
        assert run(source, tmp_path / name) == 0
    for file in ('train.jsonl', 'heldout.jsonl', 'summary.json'):
        assert (tmp_path / 'a' / file).read_bytes() == (tmp_path / 'b' / file).read_bytes()
    annotation = source / 'playground/opensource/d_rows.jsonl'
    picture(source / 'playground/data/d/new.png', 3)
    annotation.write_text(annotation.read_text() + json.dumps(row(900, 'd/new.png')) + '\n')
    assert run(source, tmp_path / 'c') == 0
    before = {value['image'] for value in read(tmp_path / 'a/heldout.jsonl')}
    after = {value['image'] for value in read(tmp_path / 'c/heldout.jsonl')}
    assert after - {'d/new.png'} == before
    assert run(source, tmp_path / 'd', '--seed', '5') == 0
    assert {value['image'] for value in read(tmp_path / 'd/heldout.jsonl')} - {'d/new.png'} != before


def test_rows_come_out_normalised_with_their_real_size_and_token_counts_are_the_trainers(
    source: Path, tmp_path: Path
) -> None:
    assert run(source, tmp_path / 'out') == 0
    rows = read(tmp_path / 'out/train.jsonl') + read(tmp_path / 'out/heldout.jsonl')
    assert all(list(value) == ['id', 'image', 'width', 'height', 'conversations'] for value in rows)
    assert {(value['width'], value['height']) for value in rows} == {(8, 8)}
    encoder = ChatEncoder(TOKENIZER, 4)
    lengths = [len(encoder.encode_sample(value).ids) for value in rows]
    tokens = json.loads((tmp_path / 'out/summary.json').read_text())['tokens']
    assert (tokens['min'], tokens['max']) == (min(lengths), max(lengths))
    assert tokens['mean'] == round(sum(lengths) / len(lengths), 2)
    assert run(source, tmp_path / 'fits', '--seq-length', str(max(lengths))) == 0
    assert run(source, tmp_path / 'short', '--seq-length', str(max(lengths) - 1), '--max-bad-rows', '0') == 3


def test_meta_json_gives_roots_and_repeats_and_held_out_rows_are_never_repeated(tmp_path: Path) -> None:
    for name in ('one', 'two'):
        rows = []
        for number in range(20):
            picture(tmp_path / f'source/{name} data/{number}.png', number + (100 if name == 'two' else 0))
            rows.append(row(number, f'{number}.png'))
        write_rows(tmp_path / f'source/notes/{name}.jsonl', rows)
    entry = {'annotation': 'notes/one.jsonl', 'root': 'one data', 'repeat_time': 3, 'length': 20}
    half = {'annotation': 'notes/two.jsonl', 'root': 'two data', 'repeat_time': 0.5}
    (tmp_path / 'source/meta.json').write_text(json.dumps({'one': entry, 'two': half}))
    assert run(tmp_path / 'source', tmp_path / 'out') == 0
    train, heldout = (read(tmp_path / f'out/{side}.jsonl') for side in ('train', 'heldout'))
    ids = [value['id'] for value in train + heldout]
    assert len(ids) == len(set(ids))
    assert not [value for value in heldout if '#' in value['id']]
    once = {value['id'] for value in train + heldout if '#' not in value['id']}
    assert once == {f'one/{number}' for number in range(20)} | {f'two/{number}' for number in range(10)}
    assert len([value for value in train if value['id'].startswith('one/')]) % 3 == 0
    assert all((tmp_path / 'out/images' / value['image']).is_file() for value in train + heldout)


@pytest.mark.parametrize(
    ('entry', 'part'),
    [
        ({'annotation': '../outside.jsonl', 'root': 'data'}, 'leaves the source'),
        ({'annotation': 'notes.jsonl', 'root': '/'}, 'leaves the source'),
        ({'annotation': 'none.jsonl', 'root': 'data'}, 'does not exist'),
        ({'annotation': 'notes.jsonl', 'root': 'none'}, 'does not exist'),
        ({'annotation': 'notes.jsonl', 'root': 'data', 'repeat_time': 1.5}, 'whole number'),
    ],
)
def test_a_meta_file_that_cannot_work_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], entry: dict[str, Any], part: str
) -> None:
    picture(tmp_path / 'source/data/0.png', 1)
    write_rows(tmp_path / 'source/notes.jsonl', [row(0, '0.png')])
    write_rows(tmp_path / 'outside.jsonl', [row(0, '0.png')])
    (tmp_path / 'source/meta.json').write_text(json.dumps({'set': entry}))
    assert run(tmp_path / 'source', tmp_path / 'out') == 3
    assert part in capsys.readouterr().err


def test_without_meta_the_image_folder_is_the_one_in_which_the_images_are(tmp_path: Path) -> None:
    base = tmp_path / 'source/playground'
    picture(base / 'data/ai2d/images/0.png', 1)
    picture(base / 'data/coco/1.png', 2)
    write_rows(base / 'opensource/ai2d_train_12k.jsonl', [row(0, 'images/0.png')])
    write_rows(base / 'opensource/sharegpt.jsonl', [row(0, 'coco/1.png')])
    assert run(tmp_path / 'source', tmp_path / 'out', '--max-bad-rows', '0', '--heldout-fraction', '0') == 0
    assert len(read(tmp_path / 'out/train.jsonl')) == 2


def test_limit_takes_the_first_rows_only(source: Path, tmp_path: Path) -> None:
    assert run(source, tmp_path / 'out', '--limit', '10') == 0
    assert json.loads((tmp_path / 'out/summary.json').read_text())['rows']['read'] == 10


def test_an_annotation_file_and_an_image_folder_are_enough(source: Path, tmp_path: Path) -> None:
    files = [
        '--annotations',
        str(source / 'playground/opensource/d_rows.jsonl'),
        '--images',
        str(source / 'playground/data'),
    ]
    assert main([*files, '--out', str(tmp_path / 'out'), *OPTIONS]) == 0
    assert json.loads((tmp_path / 'out/summary.json').read_text())['rows']['good'] == 80


def test_a_folder_with_other_files_is_no_output_folder_and_stays_as_it_is(source: Path, tmp_path: Path) -> None:
    picture(tmp_path / 'mine/images/holiday.png', 1)
    assert run(source, tmp_path / 'mine') == 2
    assert (tmp_path / 'mine/images/holiday.png').is_file()
    assert run(source, tmp_path / 'out') == 0
    assert run(source, tmp_path / 'out', '--limit', '20') == 0, 'its own earlier output is replaced'
    assert len(list((tmp_path / 'out/images/d').iterdir())) == 10


@pytest.mark.parametrize(
    'options', [(), ('--source', 's', '--annotations', 'a'), ('--source', 's', '--heldout-fraction', '1')]
)
def test_wrong_usage_ends_with_2(tmp_path: Path, options: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*options, '--out', str(tmp_path / 'out'), *OPTIONS])
    assert stopped.value.code == 2


def test_a_source_without_data_says_what_is_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'empty').mkdir()
    assert run(tmp_path / 'empty', tmp_path / 'out') == 3
    assert 'neither playground/opensource/*.jsonl nor a meta JSON' in capsys.readouterr().err


def test_text_that_some_readers_take_for_a_line_end_stays_on_its_line(source: Path, tmp_path: Path) -> None:
    text = 'one\u2028two\x85three\u2029four'
    answer = [{'from': 'human', 'value': '<image>\nRead.'}, {'from': 'gpt', 'value': text}]
    write_rows(source / 'playground/opensource/d_rows.jsonl', [row(0, 'd/0.png', conversations=answer)])
    assert run(source, tmp_path / 'out', '--heldout-fraction', '0') == 0
    (only,) = read(tmp_path / 'out/train.jsonl')  # read() uses str.splitlines, which knows all of them
    assert only['conversations'][1]['value'] == text


def test_the_pool_finds_the_same_as_one_process(tmp_path: Path) -> None:
    paths = []
    for number in range(POOL_FROM_IMAGES + 6):
        picture(tmp_path / f'{number}.png', number)
        paths.append(tmp_path / f'{number}.png')
    paths[3].write_bytes(paths[3].read_bytes()[:40])
    paths[5].unlink()
    with ImageChecker() as checker:
        checker.check(paths)
    assert checker.known == {path: check_image(str(path)) for path in paths}
    assert [checker.known[paths[number]].reason for number in (3, 4, 5)] == ['image-undecodable', '', 'image-missing']


@pytest.fixture
def lines_of() -> Callable[[Path, Path], list[str]]:
    def start(source: Path, out: Path) -> list[str]:
        files = ['--source', str(source), '--out', str(out), '--limit', '900']
        command = [sys.executable, '-m', 'anneal_trainer.prepare', *files, *OPTIONS]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=TOKENIZER.parents[1])
        return done.stdout.splitlines()

    return start


def test_progress_is_plain_lines(tmp_path: Path, lines_of: Callable[[Path, Path], list[str]]) -> None:
    write_tree(tmp_path / 'source', 'vqa')
    lines = lines_of(tmp_path / 'source', tmp_path / 'out')
    assert lines[:3] == ['prepare: 400/900 rows', 'prepare: 800/900 rows', 'prepare: 900/900 rows']
    assert lines[3].endswith('0 bad rows left out, 300 images')
    assert len(lines) == 4
