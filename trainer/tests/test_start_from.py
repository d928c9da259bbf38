"""A training's start from a save folder: any layout in, any layout out, bit for bit, and no other model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from convert_support import LAYOUTS, ONE, UNEVEN, Layout, fingerprint, hf_to_mm, write_model

from anneal_trainer.dist_train_convert import main as dist_train_convert
from anneal_trainer.start_from import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope='module')
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model `hf`, and save folders of it in three layouts; nobody writes into them."""
    root = tmp_path_factory.mktemp('base')
    write_model(root / 'hf', UNEVEN)
    assert hf_to_mm(root / 'hf', root / 'plain', ONE) == 0
    lists = ['--target-vit-pp-layers', '[3]', '--target-gpt-pp-layers', '[1,3]']
    folders = ['--load-dir', str(root / 'plain'), '--save-dir', str(root / 'apart')]
    assert dist_train_convert(['mm_to_dt', *folders, *lists]) == 0
    # as a trainer leaves it: a numbered iteration, and the optimizer's state beside the weights
    shutil.copytree(root / 'apart', root / 'trained')
    (root / 'trained' / 'release').rename(root / 'trained' / 'iter_0000040')
    (root / 'trained' / 'latest_checkpointed_iteration.txt').write_text('40')
    (root / 'trained' / 'iter_0000040' / 'mp_vit_rank_00' / 'distrib_optim.pt').write_bytes(b'state')
    return root


def start(load: Path, save: Path, hf: Path, *more: str, vit: str = '[[3]]', gpt: str = '[[4]]') -> int:
    folders = ['--load-dir', str(load), '--save-dir', str(save), '--hf-dir', str(hf)]
    return main([*folders, '--target-vit-pp-layers', vit, '--target-gpt-pp-layers', gpt, *more])


@pytest.mark.parametrize('source', ['plain', 'apart', 'trained'])
def test_every_layout_becomes_what_a_conversion_of_the_model_would_be(base: Path, tmp_path: Path, source: str) -> None:
    assert start(base / source, tmp_path / 'one', base / 'hf') == 0
    assert fingerprint(tmp_path / 'one') == fingerprint(base / 'plain')
    assert start(base / source, tmp_path / 'two', base / 'hf', '--dist-train', gpt='[[1,3]]') == 0
    assert fingerprint(tmp_path / 'two') == fingerprint(base / 'apart')


@pytest.mark.parametrize('layout', LAYOUTS.values(), ids=LAYOUTS)
def test_it_comes_out_in_every_plain_layout(base: Path, tmp_path: Path, layout: Layout) -> None:
    assert hf_to_mm(base / 'hf', tmp_path / 'direct', layout) == 0
    sizes = ['--target-vit-tp-size', str(layout.vit_tp or layout.tp), '--target-gpt-tp-size', str(layout.tp)]
    lists = {'vit': json.dumps(layout.vit), 'gpt': json.dumps(layout.llm)}
    assert start(base / 'trained', tmp_path / 'start', base / 'hf', *sizes, **lists) == 0
    assert fingerprint(tmp_path / 'start') == fingerprint(tmp_path / 'direct')


def test_another_model_is_refused_by_depth_and_by_width(base: Path, tmp_path: Path, capfd: Capture) -> None:
    deeper = replace(UNEVEN, layers=UNEVEN.layers + 1)
    write_model(tmp_path / 'deeper', deeper)
    gpt = f'[[{deeper.layers}]]'
    assert start(base / 'trained', tmp_path / 'a', tmp_path / 'deeper', gpt=gpt) == 1
    assert 'it is the save folder of another model' in capfd.readouterr().err
    wider = replace(UNEVEN, feed=UNEVEN.feed * 2)
    write_model(tmp_path / 'wider', wider)
    assert start(base / 'trained', tmp_path / 'b', tmp_path / 'wider') == 1
    assert 'has the shape' in capfd.readouterr().err
    assert not (tmp_path / 'a').exists() and not (tmp_path / 'b').exists()


def test_a_folder_without_a_tracker_is_refused(base: Path, tmp_path: Path, capfd: Capture) -> None:
    shutil.copytree(base / 'trained', tmp_path / 'cut')
    (tmp_path / 'cut' / 'latest_checkpointed_iteration.txt').unlink()
    assert start(tmp_path / 'cut', tmp_path / 'c', base / 'hf') == 1
    assert 'latest_checkpointed_iteration.txt' in capfd.readouterr().err
