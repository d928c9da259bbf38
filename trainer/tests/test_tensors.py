"""The weights digest depends on the weights alone; listings say what a folder holds."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from convert_support import LAYOUTS, UNEVEN, hf_to_mm, tensors_of, write_model
from safetensors.torch import save_file

from anneal_trainer.tensors import main, weights_digest


def output(capsys: pytest.CaptureFixture[str], *argv: str) -> dict:
    capsys.readouterr()
    assert main(list(argv)) == 0
    return json.loads(capsys.readouterr().out)


def test_the_digest_is_the_documented_hash_of_names_dtypes_shapes_and_bytes(tmp_path: Path) -> None:
    second, first = torch.tensor([[1.0, -2.0]]), torch.tensor([3], dtype=torch.bfloat16)
    save_file({'b': second, 'a': first}, tmp_path / 'model.safetensors')
    expected = hashlib.sha256(b'["a","BF16",[1]]\n\x40\x40["b","F32",[1,2]]\n\x00\x00\x80\x3f\x00\x00\x00\xc0')
    assert weights_digest(tmp_path) == expected.hexdigest()


def test_the_digest_does_not_depend_on_how_the_weights_are_cut_into_files(tmp_path: Path) -> None:
    for shards in (1, 2, 5):
        write_model(tmp_path / str(shards), UNEVEN, shards)
    assert len({weights_digest(tmp_path / str(shards)) for shards in (1, 2, 5)}) == 1


def test_the_digest_does_not_depend_on_metadata(tmp_path: Path) -> None:
    for name, metadata in (('one', {'format': 'pt'}), ('two', {'format': 'pt', 'made': 'yesterday'})):
        (tmp_path / name).mkdir()
        save_file({'a': torch.ones(3)}, tmp_path / name / 'model.safetensors', metadata=metadata)
    assert weights_digest(tmp_path / 'one') == weights_digest(tmp_path / 'two')


VARIANTS = {
    'one bit': {'a': torch.tensor([1.0, 2.0000002])},
    'name': {'b': torch.tensor([1.0, 2.0])},
    'shape': {'a': torch.tensor([[1.0, 2.0]])},
    'dtype with equal bytes': {'a': torch.tensor([1.0, 2.0]).view(torch.int32)},
    'one more tensor': {'a': torch.tensor([1.0, 2.0]), 'z': torch.zeros(0)},
}


@pytest.mark.parametrize('changed', VARIANTS.values(), ids=VARIANTS.keys())
def test_the_digest_changes_with_the_weights(tmp_path: Path, changed: dict[str, torch.Tensor]) -> None:
    for name, tensors in (('old', {'a': torch.tensor([1.0, 2.0])}), ('new', changed)):
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / 'model.safetensors')
    assert weights_digest(tmp_path / 'old') != weights_digest(tmp_path / 'new')


def test_the_command_prints_digest_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = write_model(tmp_path / 'hf', UNEVEN, shards=2)
    printed = output(capsys, 'digest', str(tmp_path / 'hf'))
    parameters = sum(value.numel() for value in made.values())
    assert printed == {'digest': weights_digest(tmp_path / 'hf'), 'tensors': len(made), 'parameters': parameters}


def test_a_model_folder_is_listed_file_by_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = write_model(tmp_path / 'hf', UNEVEN, shards=2)
    listing = output(capsys, 'list', str(tmp_path / 'hf'), '--json')
    assert (listing['kind'], listing['tensors']) == ('hf', len(made))
    assert [part['file'] for part in listing['files']] == [f'model-0000{i}-of-00002.safetensors' for i in (1, 2)]
    listed = {tensor['name']: tensor for part in listing['files'] for tensor in part['tensors']}
    assert listed.keys() == made.keys()
    assert listed['mlp1.0.weight'] == {'name': 'mlp1.0.weight', 'dtype': 'F32', 'shape': [192]}
    assert listed['mlp1.1.weight']['dtype'] == 'BF16'


def test_a_checkpoint_is_listed_rank_by_rank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(tmp_path / 'hf', UNEVEN)
    assert hf_to_mm(tmp_path / 'hf', tmp_path / 'mm', LAYOUTS['two virtual stages of PP2']) == 0
    listing = output(capsys, 'list', str(tmp_path / 'mm'), '--json')
    assert (listing['kind'], listing['iteration'], listing['directory']) == ('megatron', 'release', 'release')
    assert [rank['rank'] for rank in listing['ranks']] == ['mp_rank_00_000', 'mp_rank_00_001']
    assert {tensor['chunk'] for rank in listing['ranks'] for tensor in rank['tensors']} == {'model0', 'model1'}
    # 20 fewer than the model's: q, k, v and gate, up are one each, and their biases, in 4 layers
    assert listing['tensors'] == len(tensors_of(UNEVEN)) - 20
    assert listing['parameters'] == sum(value.numel() for value in tensors_of(UNEVEN).values())
    assert output(capsys, 'list', str(tmp_path / 'mm' / 'release'), '--json')['ranks'] == listing['ranks']


def test_the_plain_listing_names_every_tensor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(tmp_path / 'hf', UNEVEN)
    assert main(['list', str(tmp_path / 'hf')]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in tensors_of(UNEVEN))


@pytest.mark.parametrize(
    ('damage', 'word'),
    [
        (lambda folder: (folder / 'model-00001-of-00002.safetensors').unlink(), 'incomplete'),
        (lambda folder: os.truncate(folder / 'model-00001-of-00002.safetensors', 4000), 'fetch it again'),
        (lambda folder: os.truncate(folder / 'model-00001-of-00002.safetensors', 5), 'cut'),
        (lambda folder: save_file({'x': torch.ones(1)}, folder / 'more.safetensors'), 'does not name'),
        (lambda folder: (folder / 'model.safetensors.index.json').write_text('{}'), 'no index'),
        (lambda folder: (folder / 'model.safetensors.index.json').unlink(), ''),
    ],
)
def test_a_damaged_folder_has_no_digest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: object, word: str
) -> None:
    write_model(tmp_path / 'hf', UNEVEN, shards=2)
    damage(tmp_path / 'hf')
    code = main(['digest', str(tmp_path / 'hf')])
    printed = capsys.readouterr()
    if word:
        assert code == 1 and word in printed.err and printed.out == ''
    else:
        assert code == 0  # without an index complete numbers are enough


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['digest', str(tmp_path)]) == 1
    assert 'no *.safetensors file' in capsys.readouterr().err
    assert main(['list', str(tmp_path / 'nothing')]) == 1
    assert 'no folder' in capsys.readouterr().err
