"""Hugging Face -> MindSpeed MM -> Hugging Face is bit-exact for every layout and every kind of InternVL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from convert_support import LAYOUTS, ONE, UNEVEN, Layout, Tiny, hf_to_mm, mm_to_hf, same_weights, write_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anneal_trainer.mm_convert import main

KINDS = {
    'Llama without qkv bias': Tiny('LlamaForCausalLM', vocabulary=347, dtype=torch.float32),
    'InternLM2 with a fused wqkv': Tiny('InternLM2ForCausalLM', vocabulary=347),
    'InternViT-6B with q and k norms': Tiny(vocabulary=347, vision_norms=True, dtype=torch.float16),
    'tied embeddings': Tiny(vocabulary=347, tied=True),
    'one group per head': Tiny(vocabulary=347, groups=8),
}


@pytest.fixture(scope='module')
def hf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('model') / 'hf'
    write_model(folder, UNEVEN)
    return folder


def round_trip(hf: Path, work: Path, layout: Layout) -> Path:
    assert hf_to_mm(hf, work / 'mm', layout) == 0
    assert mm_to_hf(work / 'mm', hf, work / 'back', layout) == 0
    return work / 'back'


@pytest.mark.parametrize('layout', LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_model_comes_back_with_equal_bits_from_every_layout(hf: Path, tmp_path: Path, layout: Layout) -> None:
    back = round_trip(hf, tmp_path, layout)
    assert same_weights(back, hf)
    before, after = (load_file(folder / 'model.safetensors') for folder in (hf, back))
    assert before.keys() == after.keys()
    assert all(before[name].dtype == after[name].dtype and torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize('tiny', KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize('name', ['TP4 and uneven PP2', 'two virtual stages of PP2'])
def test_every_kind_of_internvl_comes_back_with_equal_bits(tmp_path: Path, tiny: Tiny, name: str) -> None:
    write_model(tmp_path / 'hf', tiny)
    assert same_weights(round_trip(tmp_path / 'hf', tmp_path, LAYOUTS[name]), tmp_path / 'hf')


def test_shards_index_and_other_files_come_back_as_they_were(tmp_path: Path) -> None:
    write_model(tmp_path / 'hf', UNEVEN, shards=3)
    back = round_trip(tmp_path / 'hf', tmp_path, LAYOUTS['TP2'])
    assert same_weights(back, tmp_path / 'hf')
    files = [{p.relative_to(d).as_posix() for p in d.rglob('*') if p.is_file()} for d in (tmp_path / 'hf', back)]
    assert files[0] == files[1]
    assert 'model-00003-of-00003.safetensors' in files[1]
    index = json.loads((back / 'model.safetensors.index.json').read_text())['weight_map']
    for file in set(index.values()):
        with safe_open(back / file, framework='pt') as reader:
            assert reader.metadata() == {'format': 'pt'}
            assert set(reader.keys()) == {name for name, place in index.items() if place == file}
    assert (back / 'assets' / 'note.txt').read_text() == 'kept'


def test_without_an_index_everything_goes_into_one_file(hf: Path, tmp_path: Path) -> None:
    back = round_trip(hf, tmp_path, ONE)
    assert [path.name for path in back.glob('*.safetensors*')] == ['model.safetensors']


def test_a_tied_model_that_stores_its_head_gets_it_back(tmp_path: Path) -> None:
    made = write_model(tmp_path / 'hf', Tiny(tied=True))
    made['language_model.lm_head.weight'] = made['language_model.model.embed_tokens.weight'].clone()
    save_file(made, tmp_path / 'hf' / 'model.safetensors')
    assert same_weights(round_trip(tmp_path / 'hf', tmp_path, LAYOUTS['PP2']), tmp_path / 'hf')


def test_equal_weights_give_equal_files(hf: Path, tmp_path: Path) -> None:
    for name in ('first', 'second'):
        assert hf_to_mm(hf, tmp_path / name, LAYOUTS['TP2']) == 0
    files = [sorted(path.relative_to(tmp_path / 'first') for path in (tmp_path / 'first').rglob('*.pt'))]
    assert len(files[0]) == 2
    assert all((tmp_path / 'first' / f).read_bytes() == (tmp_path / 'second' / f).read_bytes() for f in files[0])


@pytest.mark.parametrize('target', ['one rank', 'TP4 and uneven PP2', 'vision TP4 beside language TP2'])
@pytest.mark.parametrize('source', ['PP2', 'TP4 of six vision heads', 'two virtual stages of PP2'])
def test_resplit_gives_what_a_direct_conversion_gives(hf: Path, tmp_path: Path, source: str, target: str) -> None:
    old, new = LAYOUTS[source], LAYOUTS[target]
    assert hf_to_mm(hf, tmp_path / 'old', old) == 0
    assert hf_to_mm(hf, tmp_path / 'direct', new) == 0
    assert resplit(tmp_path / 'old', tmp_path / 'new', old, new, ['--cfg.hf_config.hf_dir', str(hf)]) == 0
    assert snapshot(tmp_path / 'new') == snapshot(tmp_path / 'direct')


@pytest.mark.parametrize('tied', [True, False])
def test_resplit_finds_out_about_tied_embeddings_without_the_model(tmp_path: Path, tied: bool) -> None:
    write_model(tmp_path / 'hf', Tiny(tied=tied))
    for name in ('one rank', 'PP2'):
        assert hf_to_mm(tmp_path / 'hf', tmp_path / name, LAYOUTS[name]) == 0
    for old, new in (('one rank', 'PP2'), ('PP2', 'one rank')):
        target = tmp_path / f'to {new}'
        assert resplit(tmp_path / old, target, LAYOUTS[old], LAYOUTS[new], []) == 0
        assert snapshot(target) == snapshot(tmp_path / new)


def resplit(source: Path, target: Path, old: Layout, new: Layout, more: list[str]) -> int:
    options = ['--cfg.source_dir', str(source), '--cfg.target_dir', str(target), *more]
    lists = old.options(flat=True, prefix='source_parallel_config') + new.options(
        flat=True, prefix='target_parallel_config'
    )
    return main(['InternVLConverter', 'resplit', *options, *lists])


def snapshot(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob('*') if path.is_file()}
