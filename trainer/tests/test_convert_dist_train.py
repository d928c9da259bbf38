"""Between the plain layout and Dist-train's: vision and language apart, exact both ways, also from trained files."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from convert_support import (
    LAYOUTS,
    ONE,
    UNEVEN,
    Tiny,
    fingerprint,
    hf_to_mm,
    load_rank,
    mm_to_hf,
    same_weights,
    write_model,
)

from anneal_trainer.dist_train_convert import main


@pytest.fixture(scope='module')
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model `hf` and its plain checkpoint `mm`; nobody writes into these two."""
    root = tmp_path_factory.mktemp('base')
    write_model(root / 'hf', UNEVEN)
    assert hf_to_mm(root / 'hf', root / 'mm', ONE) == 0
    return root


def to_dt(load: Path, save: Path, vit: str, gpt: str, *more: str) -> int:
    lists = ['--target-vit-pp-layers', vit, '--target-gpt-pp-layers', gpt]
    return main(['mm_to_dt', '--load-dir', str(load), '--save-dir', str(save), *lists, *more])


def to_mm(load: Path, save: Path, *more: str) -> int:
    return main(['dt_to_mm', '--load-dir', str(load), '--save-dir', str(save), *more])


def test_vision_ranks_hold_no_language_tensor_and_language_ranks_no_vision_tensor(base: Path, tmp_path: Path) -> None:
    assert to_dt(base / 'mm', tmp_path / 'dt', '[3]', '[1,2,1]') == 0
    ranks = sorted(path.name for path in (tmp_path / 'dt' / 'release').iterdir())
    assert ranks == ['mp_gpt_rank_00_000', 'mp_gpt_rank_00_001', 'mp_gpt_rank_00_002', 'mp_vit_rank_00']
    for rank in ranks:
        payload = load_rank(tmp_path / 'dt', rank)
        module = 'image_encoder.' if 'vit' in rank else 'text_decoder.'
        assert payload['model'] and all(name.startswith(module) for name in payload['model'])
        assert payload['checkpoint_version'] == 3.0
    assert (tmp_path / 'dt' / 'latest_checkpointed_iteration.txt').read_bytes() == b'release'


def test_stages_are_numbered_from_zero_with_the_ends_on_the_outer_ones(base: Path, tmp_path: Path) -> None:
    assert to_dt(base / 'mm', tmp_path / 'dt', '[2,1]', '[1,3]') == 0
    whole = load_rank(base / 'mm', 'mp_rank_00')['model']
    first, last = (load_rank(tmp_path / 'dt', f'mp_gpt_rank_00_{rank:03d}')['model'] for rank in range(2))
    assert 'text_decoder.embedding.word_embeddings.weight' in first
    assert 'text_decoder.output_layer.weight' in last and 'text_decoder.output_layer.weight' not in first
    name = 'text_decoder.decoder.layers.{}.self_attention.linear_qkv.bias'
    assert torch.equal(last[name.format(0)], whole[name.format(1)])
    assert torch.equal(last[name.format(2)], whole[name.format(3)])
    vision = load_rank(tmp_path / 'dt', 'mp_vit_rank_00_001')['model']
    assert 'image_encoder.projector.norm.weight' in vision
    assert len([key for key in vision if key.endswith('.ls1')]) == 1


@pytest.mark.parametrize(('vit', 'gpt'), [('[3]', '[4]'), ('[3]', '[1,3]'), ('[1,2]', '[2,1,1]')])
def test_a_checkpoint_comes_back_from_dist_train_with_equal_bits(
    base: Path, tmp_path: Path, vit: str, gpt: str
) -> None:
    assert to_dt(base / 'mm', tmp_path / 'dt', vit, gpt) == 0
    assert to_mm(tmp_path / 'dt', tmp_path / 'mm') == 0
    assert fingerprint(tmp_path / 'mm') == fingerprint(base / 'mm')


@pytest.mark.parametrize('tied', [True, False])
def test_tied_embeddings_survive_a_language_pipeline(tmp_path: Path, tied: bool) -> None:
    write_model(tmp_path / 'hf', Tiny(tied=tied))
    assert hf_to_mm(tmp_path / 'hf', tmp_path / 'mm', ONE) == 0
    assert to_dt(tmp_path / 'mm', tmp_path / 'dt', '[3]', '[2,2]') == 0
    assert 'text_decoder.output_layer.weight' in load_rank(tmp_path / 'dt', 'mp_gpt_rank_00_001')['model']
    assert to_mm(tmp_path / 'dt', tmp_path / 'back') == 0
    assert fingerprint(tmp_path / 'back') == fingerprint(tmp_path / 'mm')


def test_tensor_parallel_ranks_and_pipelines_convert_with_the_head_counts(base: Path, tmp_path: Path) -> None:
    layout = LAYOUTS['TP4 and uneven PP2']
    assert hf_to_mm(base / 'hf', tmp_path / 'mm', layout) == 0
    model = ['--hf-dir', str(base / 'hf')]
    sizes = ['--target-vit-tp-size', '4', '--target-gpt-tp-size', '2']
    assert to_dt(tmp_path / 'mm', tmp_path / 'dt', '[3]', '[2,2]', *model, *sizes) == 0
    assert (tmp_path / 'dt' / 'release' / 'mp_gpt_rank_01_001').is_dir()
    lists = ['--target-vit-pp-layers', '[2,1]', '--target-gpt-pp-layers', '[1,3]']
    assert to_mm(tmp_path / 'dt', tmp_path / 'back', *model, *lists, '--target-tp-size', '4') == 0
    assert fingerprint(tmp_path / 'back') == fingerprint(tmp_path / 'mm')


class ForeignClass:
    """Stands for the objects of Megatron in a trained file: unpickling it here would run code."""

    runs = 0

    def __reduce__(self) -> tuple:
        return (ForeignClass.count, ())

    @staticmethod
    def count() -> str:
        ForeignClass.runs += 1
        return 'ran'


def make_trained(source: Path, target: Path) -> None:
    """What a trainer saves at iteration 40: every weight doubled, and all that Megatron puts beside them."""
    for path in (source / 'release').iterdir():
        payload = torch.load(path / 'model_optim_rng.pt', weights_only=True)
        payload['model'] = {name: value * 2 for name, value in payload['model'].items()}
        payload['model']['text_decoder.output_layer._extra_state'] = None
        payload |= {
            'args': argparse.Namespace(load='x', seed=1),
            'iteration': 40,
            'rerun_state_machine': ForeignClass(),
        }
        payload |= {'optimizer': {'state': [torch.ones(3)]}, 'rng_state': [{'torch_rng_state': torch.get_rng_state()}]}
        folder = target / 'iter_0000040' / path.name
        folder.mkdir(parents=True)
        torch.save(payload, folder / 'model_optim_rng.pt')
    (target / 'latest_checkpointed_iteration.txt').write_text('40')


def test_a_trained_checkpoint_is_exported_without_running_what_is_pickled_in_it(base: Path, tmp_path: Path) -> None:
    assert to_dt(base / 'mm', tmp_path / 'dt', '[3]', '[2,2]') == 0
    make_trained(tmp_path / 'dt', tmp_path / 'trained')
    assert to_mm(tmp_path / 'trained', tmp_path / 'mm') == 0
    assert set(load_rank(tmp_path / 'mm', 'mp_rank_00')) == {'model', 'checkpoint_version'}
    assert mm_to_hf(tmp_path / 'mm', base / 'hf', tmp_path / 'hf', ONE) == 0
    assert ForeignClass.runs == 0
    doubled = load_rank(tmp_path / 'mm', 'mp_rank_00')['model']
    whole = load_rank(base / 'mm', 'mp_rank_00')['model']
    assert doubled.keys() == whole.keys()
    assert all(torch.equal(doubled[name], whole[name] * 2) for name in whole)
    assert not same_weights(tmp_path / 'hf', base / 'hf')


def test_a_trained_plain_checkpoint_is_exported_directly(base: Path, tmp_path: Path) -> None:
    make_trained(base / 'mm', tmp_path / 'trained')
    assert mm_to_hf(tmp_path / 'trained', base / 'hf', tmp_path / 'hf', ONE) == 0
    assert ForeignClass.runs == 0
    assert not same_weights(tmp_path / 'hf', base / 'hf')


def refused(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> None:
    message = capsys.readouterr().err
    assert code == 1
    assert all(word in message for word in words), message


def test_a_full_target_is_refused_and_left_as_it_was(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'old').write_text('old')
    refused(capsys, to_dt(base / 'mm', tmp_path / 'full', '[3]', '[4]'), 'not empty', 'old')
    assert [path.name for path in (tmp_path / 'full').iterdir()] == ['old']


def test_lists_that_do_not_fit_are_refused_before_anything_is_written(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save = tmp_path / 'dt'
    refused(capsys, to_dt(base / 'mm', save, '[2]', '[4]'), '3 layers of vit', 'sums to 2')
    refused(capsys, to_dt(base / 'mm', save, '[3,0]', '[4]'), 'stage without layers')
    refused(capsys, to_dt(base / 'mm', save, '[[1],[2]]', '[4]'), 'virtual stages')
    refused(capsys, to_dt(base / 'mm', save, '[3]', '[4]', '--target-gpt-tp-size', '2'), '--hf-dir')
    assert not save.exists()


def test_the_wrong_direction_is_refused(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, to_mm(base / 'mm', tmp_path / 'x'), "Dist-train's", 'mp_rank_00')
    assert to_dt(base / 'mm', tmp_path / 'dt', '[3]', '[4]') == 0
    refused(capsys, to_dt(tmp_path / 'dt', tmp_path / 'y', '[3]', '[4]'), 'plain', 'mp_vit_rank_00')


def test_a_lost_rank_directory_is_refused(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_dt(base / 'mm', tmp_path / 'dt', '[3]', '[1,2,1]') == 0
    middle = tmp_path / 'dt' / 'release' / 'mp_gpt_rank_00_001'
    (middle / 'model_optim_rng.pt').unlink()
    refused(capsys, to_mm(tmp_path / 'dt', tmp_path / 'x'), 'missing')
    middle.rmdir()
    refused(capsys, to_mm(tmp_path / 'dt', tmp_path / 'x'), 'gaps')
    (tmp_path / 'dt' / 'release' / 'mp_gpt_rank_00_002').rename(middle)
    # the set has no gap now, but the embedding is on one stage and the layers of the middle stage are gone
    assert to_mm(tmp_path / 'dt', tmp_path / 'short', '--hf-dir', str(base / 'hf')) == 1
