"""Where the real converter goes on in silence this one ends with a sentence: exit 1 for the input, 2 for the usage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from convert_support import LAYOUTS, ONE, UNEVEN, Layout, Tiny, hf_to_mm, mm_to_hf, same_weights, write_model
from safetensors.torch import load_file, save_file

from anneal_trainer import convert_files
from anneal_trainer.mm_convert import main

TRACKER = 'latest_checkpointed_iteration.txt'
Says = Callable[..., None]


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str]) -> Says:
    def check(*words: str) -> None:
        error = capsys.readouterr().err
        assert all(word in error for word in words), error

    return check


@pytest.fixture
def hf(tmp_path: Path) -> Path:
    write_model(tmp_path / 'hf', UNEVEN, shards=2)
    return tmp_path / 'hf'


@pytest.fixture
def mm(hf: Path, tmp_path: Path) -> Path:
    assert hf_to_mm(hf, tmp_path / 'mm', LAYOUTS['PP2']) == 0
    return tmp_path / 'mm'


def test_a_missing_shard_is_refused_by_the_index(hf: Path, tmp_path: Path, says: Says) -> None:
    (hf / 'model-00002-of-00002.safetensors').unlink()
    assert hf_to_mm(hf, tmp_path / 'mm', ONE) == 1
    says('model-00002-of-00002.safetensors', 'index.json')
    assert not (tmp_path / 'mm').exists()


def test_a_missing_shard_is_refused_by_its_number_where_there_is_no_index(hf: Path, tmp_path: Path, says: Says) -> None:
    (hf / 'model.safetensors.index.json').unlink()
    (hf / 'model-00001-of-00002.safetensors').unlink()
    assert hf_to_mm(hf, tmp_path / 'mm', ONE) == 1
    says('model-00001-of-00002.safetensors', 'numbers in the file names')


def test_a_cut_shard_is_refused(hf: Path, tmp_path: Path, says: Says) -> None:
    shard = hf / 'model-00002-of-00002.safetensors'
    os.truncate(shard, shard.stat().st_size - 1)
    assert hf_to_mm(hf, tmp_path / 'mm', ONE) == 1
    says(shard.name, 'fetch it again')


@pytest.mark.parametrize(
    'lost',
    [
        'language_model.model.layers.2.self_attn.k_proj.weight',
        'language_model.model.layers.3.mlp.up_proj.weight',
        'vision_model.encoder.layers.1.norm2.bias',
        'language_model.lm_head.weight',
        'mlp1.3.weight',
    ],
)
def test_a_model_without_one_tensor_is_refused(tmp_path: Path, says: Says, lost: str) -> None:
    made = write_model(tmp_path / 'hf')
    del made[lost]
    save_file(made, tmp_path / 'hf' / 'model.safetensors')
    assert hf_to_mm(tmp_path / 'hf', tmp_path / 'mm', ONE) == 1
    says('incomplete')


def test_a_tensor_of_another_model_is_refused(tmp_path: Path, says: Says) -> None:
    made = write_model(tmp_path / 'hf')
    made['model.vision_tower.embeddings.cls_token'] = torch.zeros(3)
    save_file(made, tmp_path / 'hf' / 'model.safetensors')
    assert hf_to_mm(tmp_path / 'hf', tmp_path / 'mm', ONE) == 1
    says('model.vision_tower.embeddings.cls_token', 'none of InternVL')


def test_left_over_rank_directories_are_refused_in_the_target(hf: Path, mm: Path, says: Says) -> None:
    before = sorted(mm.rglob('*'))
    assert hf_to_mm(hf, mm, ONE) == 1
    says('not empty', 'absent or empty')
    assert sorted(mm.rglob('*')) == before


def test_left_over_rank_directories_are_refused_in_the_source(hf: Path, mm: Path, tmp_path: Path, says: Says) -> None:
    (mm / 'release' / 'mp_rank_00').mkdir()
    assert mm_to_hf(mm, hf, tmp_path / 'back', LAYOUTS['PP2']) == 1
    says('mp_rank_00, mp_rank_00_000')


def test_lists_of_another_layout_than_the_checkpoints_are_refused(
    hf: Path, mm: Path, tmp_path: Path, says: Says
) -> None:
    for layout in (ONE, Layout([[1, 3]], [[3, 0]]), Layout([[2, 2]], [[3, 0]], tp=2)):
        assert mm_to_hf(mm, hf, tmp_path / 'back', layout) == 1
        says('but the options say')
    assert not (tmp_path / 'back').exists()


@pytest.mark.parametrize(
    ('layout', 'word'),
    [
        (Layout([[3]], [[3]]), 'sums to 3, but the model has 4'),
        (Layout([[4]], [[28]]), 'sums to 28, but the model has 3'),
        (Layout([[2, 2]], [[3]]), 'differ in shape'),
        (Layout([[1], [3]], [[3]]), 'differ in shape'),
        (Layout([[1, 1], [2]], [[3, 0], [0]]), 'differ in shape'),
        (Layout([[4]], [[3]], tp=3), 'TP size 3 does not divide the 4 key-value heads'),
        (Layout([[4]], [[3]], tp=2, vit_tp=3), 'does not divide 3'),
        (Layout([[4]], [[3]], vit_tp=7), 'greater than the 6 heads'),
        (Layout([[4]], [[3]], vit_tp=5), '5 does not divide'),
    ],
)
def test_a_layout_that_does_not_fit_the_model_is_refused_with_the_numbers(
    hf: Path, tmp_path: Path, says: Says, layout: Layout, word: str
) -> None:
    assert hf_to_mm(hf, tmp_path / 'mm', layout) == 1
    says(word)
    assert not (tmp_path / 'mm' / TRACKER).exists()


def test_the_tracker_comes_last(hf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    publish = convert_files._publish

    def note(temporary: Path, path: Path) -> None:
        publish(temporary, path)
        written.append(path.name)

    monkeypatch.setattr(convert_files, '_publish', note)
    assert hf_to_mm(hf, tmp_path / 'mm', LAYOUTS['TP2']) == 0
    assert written == ['model_optim_rng.pt'] * 2 + [TRACKER]


def test_a_conversion_that_fails_half_way_leaves_no_tracker(
    hf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: Says
) -> None:
    publish = convert_files._publish

    def fail_second(temporary: Path, path: Path) -> None:
        if 'mp_rank_01' in str(path):
            raise OSError(28, 'No space left on device')
        publish(temporary, path)

    monkeypatch.setattr(convert_files, '_publish', fail_second)
    assert hf_to_mm(hf, tmp_path / 'mm', LAYOUTS['TP2']) == 1
    says('No space left on device')
    assert (tmp_path / 'mm' / 'release' / 'mp_rank_00' / 'model_optim_rng.pt').is_file()
    assert not (tmp_path / 'mm' / TRACKER).exists()


def test_a_checkpoint_without_tracker_or_with_a_strange_one_is_refused(
    hf: Path, mm: Path, tmp_path: Path, says: Says
) -> None:
    for word, expected in (('', 'neither'), ('../x', 'neither'), ('7', 'iter_0000007')):
        (mm / TRACKER).write_text(word)
        assert mm_to_hf(mm, hf, tmp_path / 'back', LAYOUTS['PP2']) == 1
        says(expected)
    (mm / TRACKER).unlink()
    assert mm_to_hf(mm, hf, tmp_path / 'back', LAYOUTS['PP2']) == 1
    says(TRACKER, 'half-way')


def test_a_cut_rank_file_is_refused(hf: Path, mm: Path, tmp_path: Path, says: Says) -> None:
    path = mm / 'release' / 'mp_rank_00_001' / 'model_optim_rng.pt'
    os.truncate(path, path.stat().st_size // 2)
    assert mm_to_hf(mm, hf, tmp_path / 'back', LAYOUTS['PP2']) == 1
    says(str(path), 'cannot be read')


def test_an_export_with_another_models_folder_is_refused(mm: Path, tmp_path: Path, says: Says) -> None:
    write_model(tmp_path / 'other', Tiny(vocabulary=348), shards=2)
    assert mm_to_hf(mm, tmp_path / 'other', tmp_path / 'back', LAYOUTS['PP2']) == 1
    says('[347, 64]', '[348, 64]')


def test_an_export_into_the_model_folder_is_refused(hf: Path, mm: Path, says: Says) -> None:
    assert mm_to_hf(mm, hf, hf / 'back', LAYOUTS['PP2']) == 1
    says('inside the model folder')


def test_replicas_that_differ_between_ranks_are_reported(hf: Path, tmp_path: Path, says: Says) -> None:
    assert hf_to_mm(hf, tmp_path / 'mm', LAYOUTS['TP2']) == 0
    path = tmp_path / 'mm' / 'release' / 'mp_rank_01' / 'model_optim_rng.pt'
    payload = torch.load(path, weights_only=True)
    payload['model']['text_decoder.decoder.final_layernorm.weight'] += 1
    torch.save(payload, path)
    assert mm_to_hf(tmp_path / 'mm', hf, tmp_path / 'back', LAYOUTS['TP2']) == 0
    says('warning: text_decoder.decoder.final_layernorm.weight differs')
    assert same_weights(tmp_path / 'back', hf)


def test_a_tied_model_whose_trained_output_layer_moved_away_is_refused(tmp_path: Path, says: Says) -> None:
    write_model(tmp_path / 'hf', Tiny(tied=True))
    assert hf_to_mm(tmp_path / 'hf', tmp_path / 'mm', LAYOUTS['PP2']) == 0
    path = tmp_path / 'mm' / 'release' / 'mp_rank_00_001' / 'model_optim_rng.pt'
    payload = torch.load(path, weights_only=True)
    payload['model']['text_decoder.output_layer.weight'] += 1
    torch.save(payload, path)
    assert mm_to_hf(tmp_path / 'mm', tmp_path / 'hf', tmp_path / 'back', LAYOUTS['PP2']) == 1
    says('tied model', 'differs from its embedding')


def test_an_export_works_from_index_and_config_alone(hf: Path, mm: Path, tmp_path: Path) -> None:
    before = {p.name: load_file(p) for p in hf.glob('*.safetensors')}
    for name in before:
        (hf / name).unlink()
    assert mm_to_hf(mm, hf, tmp_path / 'back', LAYOUTS['PP2']) == 0
    for name, tensors in before.items():
        after = load_file(tmp_path / 'back' / name)
        assert after.keys() == tensors.keys() and all(torch.equal(after[key], tensors[key]) for key in tensors)


def usage(hf: Path, work: Path, command: str, changes: dict[str, str | None]) -> list[str]:
    """A command line that works, but for `changes`; None takes an option out."""
    flat = command == 'mm_to_hf'
    options: dict[str, str | None] = {
        'mm_dir': str(hf if flat else work / 'mm'),
        'hf_config.hf_dir': str(hf),
        'parallel_config.llm_pp_layers': '[4]' if flat else '[[4]]',
        'parallel_config.vit_pp_layers': '[3]' if flat else '[[3]]',
    }
    options |= {'save_hf_dir': str(work / 'back')} if flat else {}
    given = [(name, value) for name, value in (options | changes).items() if value is not None]
    return ['InternVLConverter', command, *(word for name, value in given for word in (f'--cfg.{name}', value))]


@pytest.mark.parametrize(
    ('command', 'changes', 'word'),
    [
        ('hf_to_mm', {'parallel_config.llm_pp_layers': '[4]'}, 'list of lists'),
        ('hf_to_mm', {'parallel_config.llm_pp_layers': '[[4,-1]]'}, 'list of lists'),
        ('hf_to_mm', {'parallel_config.vit_pp_layers': '[[3'}, 'no list'),
        ('mm_to_hf', {'parallel_config.llm_pp_layers': '[[4]]'}, 'one list'),
        ('mm_to_hf', {'save_hf_dir': None}, '--cfg.save_hf_dir'),
        ('hf_to_mm', {'mm_dir': None}, 'required: --cfg.mm_dir'),
        ('hf_to_mm', {'hf_config.hf_dir': '/nowhere'}, 'no existing directory'),
        ('hf_to_mm', {'parallel_config.tp_size': '0'}, 'above 0'),
        ('hf_to_mm', {'parallel_config.ep_size': '2'}, 'no experts'),
        ('hf_to_mm', {'save_vit_only': 'true'}, 'drops or misnames'),
        ('hf_to_mm', {'nonsense': '1'}, '--cfg.nonsense'),
        ('resplit', {}, '--cfg.source_dir'),
    ],
)
def test_wrong_usage_ends_with_exit_code_2(
    hf: Path, tmp_path: Path, says: Says, command: str, changes: dict[str, str | None], word: str
) -> None:
    base: dict[str, str | None] = dict.fromkeys(
        ('mm_dir', 'parallel_config.llm_pp_layers', 'parallel_config.vit_pp_layers') if command == 'resplit' else ()
    )
    with pytest.raises(SystemExit) as ended:
        main(usage(hf, tmp_path, command, base | changes))
    assert ended.value.code == 2
    says(word)


def test_converters_of_other_models_are_refused_as_usage(says: Says) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['Qwen2_5_VLConverter', 'hf_to_mm'])
    assert ended.value.code == 2
    says('InternVLConverter')


def test_a_config_file_gives_the_options_and_the_command_line_wins(hf: Path, tmp_path: Path) -> None:
    cfg = {
        'mm_dir': str(tmp_path / 'unused'),
        'trust_remote_code': True,
        'hf_config': {'hf_dir': str(hf)},
        'parallel_config': {
            'llm_pp_layers': [[2, 2]],
            'vit_pp_layers': [[3, 0]],
            'tp_size': 1,
            'audio_pp_layers': None,
        },
    }
    (tmp_path / 'run.yaml').write_text(json.dumps({'cfg': cfg}))
    options = ['--config', str(tmp_path / 'run.yaml'), '--cfg.mm_dir', str(tmp_path / 'mm')]
    assert main(['InternVLConverter', 'hf_to_mm', *options]) == 0
    assert (tmp_path / 'mm' / 'release' / 'mp_rank_00_001').is_dir()
    assert not (tmp_path / 'unused').exists()


@pytest.mark.parametrize(
    ('text', 'word'),
    [('{"cfg": {"mm_dri": "x"}}', 'cfg.mm_dri'), ('{}', 'top key cfg'), ('{"cfg": {"mm_dir"', 'cannot be used')],
)
def test_a_wrong_config_file_is_refused_as_usage(tmp_path: Path, says: Says, text: str, word: str) -> None:
    (tmp_path / 'run.yaml').write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(['InternVLConverter', 'hf_to_mm', '--config', str(tmp_path / 'run.yaml')])
    assert ended.value.code == 2
    says(word)


def test_the_module_runs_as_a_process_without_a_terminal(hf: Path, tmp_path: Path) -> None:
    command = [sys.executable, '-m', 'anneal_trainer.mm_convert', *usage(hf, tmp_path, 'hf_to_mm', {})]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ''
    assert 'wrote release/mp_rank_00 (1/1)' in done.stderr
