"""LoRA: adapters alone are trained and saved, a resume beside the base has the same bits, merged they are one model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from convert_support import LAYOUTS, ONE, UNEVEN, Layout, hf_to_mm, load_rank, write_model
from support import Job, Result, dist_config, model_json, run

from anneal_trainer import lora_merge
from anneal_trainer.arguments import parse_args
from anneal_trainer.config import ModelConfig
from anneal_trainer.lora import TARGETS, add_adapters
from anneal_trainer.model import InternVL, init_weights

TRACKER = 'latest_checkpointed_iteration.txt'
LORA = ('--lora-target-modules', *TARGETS, '--lora-r', '4', '--lora-alpha', '8')
DIST = model_json(dist_config=dist_config(1, 1))
FOLDERS = ('mp_vit_rank_00', 'mp_gpt_rank_00')


def release_of(folder: Path, model: dict, *names: str) -> Path:
    """A base model as a conversion leaves it: one folder for each name with the tensors that belong there."""
    config = ModelConfig.from_dict(model)
    whole = InternVL(config)
    init_weights(whole, 7)
    for name in names:
        part = {'mp_vit_rank_00': 'image_encoder.', 'mp_gpt_rank_00': 'text_decoder.'}.get(name, '')
        weights = {key: value.clone() for key, value in whole.state_dict().items() if key.startswith(part)}
        (folder / 'release' / name).mkdir(parents=True)
        payload = {'model': weights, 'checkpoint_version': 3.0}
        torch.save(payload, folder / 'release' / name / 'model_optim_rng.pt')
    (folder / TRACKER).write_text('release')
    return folder


def train(folder: Path, task: Path, load: Path, *more: str, model: dict = DIST, ranks: int = 2) -> Result:
    """A run with adapters that saves in `folder`/save."""
    flags = ('--save', str(folder / 'save'), '--save-interval', '10', '--load', str(load), *LORA, *more)
    return run(Job(folder, task, model, ranks, ('--use-distributed-optimizer', *flags)))


def shard(root: Path, iteration: int, name: str, file: str = 'model_optim_rng.pt') -> dict:
    """A file of a checkpoint."""
    return torch.load(root / f'iter_{iteration:07d}' / name / file, weights_only=True)


@pytest.fixture(scope='module')
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model in Dist-train's layout, which nobody writes into."""
    return release_of(tmp_path_factory.mktemp('base') / 'mm', DIST, *FOLDERS)


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory: pytest.TempPathFactory, task: Path, base: Path) -> tuple[Path, Result]:
    """A run with adapters that nobody touched."""
    folder = tmp_path_factory.mktemp('undisturbed')
    return folder / 'save', train(folder, task, base)


def test_adapters_alone_are_trained_and_saved(undisturbed: tuple[Path, Result]) -> None:
    saved, result = undisturbed
    assert float.fromhex(result.losses[-1]) < float.fromhex(result.losses[0])
    for name, layers in (('mp_vit_rank_00', 2 * 4 + 2), ('mp_gpt_rank_00', 2 * 4)):
        weights = shard(saved, 20, name)['model']
        assert len(weights) == 2 * layers
        assert all('.lora_A.default.weight' in key or '.lora_B.default.weight' in key for key in weights)
        # B begins at zero: each of them has moved, so each adapter gets a gradient.
        assert all(bool(value.any()) for key, value in weights.items() if '.lora_B.' in key)
        assert shard(saved, 20, name, 'distrib_optim.pt').keys() == weights.keys()


# Method: new processes get adapters and base as a new generation gets them, and all that follows must be equal.
def test_a_resume_beside_its_base_goes_on_in_the_same_bits(
    tmp_path: Path, task: Path, base: Path, undisturbed: tuple[Path, Result]
) -> None:
    saved, result = undisturbed
    shutil.copytree(saved / 'iter_0000010', tmp_path / 'load' / 'iter_0000010')
    (tmp_path / 'load' / TRACKER).write_text('10')
    resumed = train(tmp_path, task, tmp_path / 'load', '--load-base-model', str(base))
    assert resumed.losses == result.losses[10:]
    for name in FOLDERS:
        ours, theirs = shard(tmp_path / 'save', 20, name)['model'], shard(saved, 20, name)['model']
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_what_is_learned_does_not_depend_on_the_layout(
    tmp_path: Path, task: Path, undisturbed: tuple[Path, Result]
) -> None:
    alone = train(tmp_path, task, release_of(tmp_path / 'mm', model_json(), 'mp_rank_00'), model=model_json(), ranks=1)
    assert alone.losses == undisturbed[1].losses


def test_a_frozen_tower_gets_no_adapters(tmp_path: Path, task: Path) -> None:
    model = model_json(vision={'freeze': True}, projector={'freeze': True})
    train(tmp_path, task, release_of(tmp_path / 'mm', model, 'mp_rank_00'), model=model, ranks=1)
    assert {key.split('.')[0] for key in shard(tmp_path / 'save', 20, 'mp_rank_00')['model']} == {'text_decoder'}


def merge(base: Path, lora: Path, target: Path) -> int:
    folders = ['--base-dir', str(base), '--lora-dir', str(lora), '--save-dir', str(target)]
    return lora_merge.main([*folders, '--lora-r', '4', '--lora-alpha', '8'])


def test_merged_they_answer_as_base_and_adapters_did(
    tmp_path: Path, base: Path, undisturbed: tuple[Path, Result]
) -> None:
    saved, _ = undisturbed
    assert merge(base, saved, tmp_path / 'merged') == 0
    parts = {key: value for name in FOLDERS for key, value in load_rank(base, name)['model'].items()}
    merged = {key: value for name in FOLDERS for key, value in load_rank(tmp_path / 'merged', name)['model'].items()}
    adapters = {key: value for name in FOLDERS for key, value in shard(saved, 20, name)['model'].items()}
    changed = {key for key in parts if not torch.equal(parts[key], merged[key])}
    assert changed == {key.replace('.lora_A.default', '') for key in adapters if '.lora_A.' in key}
    config = ModelConfig.from_dict(model_json())
    plain, adapted, before = InternVL(config), InternVL(config), InternVL(config)
    line = '--mm-data d --mm-model m --micro-batch-size 4 --seq-length 40 --train-iters 20 --lr 1e-3'
    add_adapters(adapted, parse_args([*line.split(), *LORA], dist_train_allowed=True))
    before.load_state_dict(parts)
    plain.load_state_dict(merged)
    wrapped = {key.replace('.base_layer.', '.'): key for key in adapted.state_dict()}
    adapted.load_state_dict({wrapped[key]: value for key, value in (parts | adapters).items()})
    ids = torch.tensor([[9, 3, 5, 5, 5, 5, 4, 20, 21, 22]])
    pixels = torch.randn((1, 3, 28, 28), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        answers = [model(ids, pixels) for model in (adapted, plain, before)]
    assert torch.allclose(answers[0], answers[1], atol=1e-4)
    assert not torch.allclose(answers[0], answers[2], atol=1e-2)


# Method: every rank of a split layout has adapters with values of their own; each is held against a product in float64.
@pytest.mark.parametrize('layout', [ONE, LAYOUTS['TP4 and uneven PP2'], LAYOUTS['two virtual stages of PP2']], ids=str)
def test_every_rank_of_a_layout_is_merged_by_itself(tmp_path: Path, layout: Layout) -> None:
    write_model(tmp_path / 'hf', UNEVEN)
    assert hf_to_mm(tmp_path / 'hf', tmp_path / 'base', layout) == 0
    generator = torch.Generator().manual_seed(3)
    expected: dict[tuple[str, str, str], torch.Tensor] = {}
    for path in sorted((tmp_path / 'base' / 'release').iterdir()):
        chunks = {
            key: value for key, value in load_rank(tmp_path / 'base', path.name).items() if key != 'checkpoint_version'
        }
        adapters: dict[str, dict[str, torch.Tensor]] = {chunk: {} for chunk in chunks}
        for chunk, weights in chunks.items():
            for key, weight in weights.items():
                layer = key.removesuffix('.weight')
                if not key.endswith('.weight') or layer.rpartition('.')[2] not in TARGETS:
                    continue
                a = torch.randn((4, weight.shape[1]), generator=generator).bfloat16()
                b = torch.randn((weight.shape[0], 4), generator=generator).bfloat16()
                adapters[chunk] |= {f'{layer}.lora_A.default.weight': a, f'{layer}.lora_B.default.weight': b}
                expected[path.name, chunk, key] = (weight.double() + 2 * (b.double() @ a.double())).to(weight.dtype)
        (tmp_path / 'lora' / 'iter_0000020' / path.name).mkdir(parents=True)
        torch.save({**adapters, 'iteration': 20}, tmp_path / 'lora' / 'iter_0000020' / path.name / 'model_optim_rng.pt')
    (tmp_path / 'lora' / TRACKER).write_text('20')
    assert merge(tmp_path / 'base', tmp_path / 'lora', tmp_path / 'merged') == 0
    assert expected
    for (rank, chunk, key), value in expected.items():
        found = load_rank(tmp_path / 'merged', rank)[chunk][key]
        assert found.dtype == value.dtype
        assert torch.allclose(found.double(), value.double(), rtol=0.01)


def refused(folder: Path, task: Path, load: Path, *flags: str, model: dict = DIST, ranks: int = 2) -> str:
    result = Job(folder, task, model, ranks, ('--load', str(load), *flags)).start().finish()
    assert result.code != 0
    return result.out


def test_adapters_without_their_base_are_refused(tmp_path: Path, task: Path, undisturbed: tuple[Path, Result]) -> None:
    out = refused(tmp_path / 'a', task, undisturbed[0], *LORA)
    assert 'holds adapters alone; name the model that they belong to with --load-base-model.' in out
    out = refused(tmp_path / 'b', task, undisturbed[0], *LORA, '--load-base-model', str(tmp_path))
    assert f'--load-base-model {tmp_path} holds no checkpoint' in out
    assert 'missing image_encoder' in refused(tmp_path / 'c', task, undisturbed[0])


def test_a_stage_without_an_adapter_is_refused(tmp_path: Path, task: Path) -> None:
    model = model_json(vision={'freeze': True}, dist_config=dist_config(1, 1))
    base = release_of(tmp_path / 'mm', model, *FOLDERS)
    out = refused(tmp_path, task, base, '--lora-target-modules', 'linear_qkv', model=model)
    assert 'Pipeline stage 0 has only frozen parameters' in out


def test_adapters_that_fit_no_layer_are_no_merge(
    tmp_path: Path, base: Path, undisturbed: tuple[Path, Result], capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(undisturbed[0], tmp_path / 'lora')
    file = tmp_path / 'lora' / 'iter_0000020' / 'mp_gpt_rank_00' / 'model_optim_rng.pt'
    payload = torch.load(file, weights_only=True)
    names = list(payload['model'])
    whole = payload['model']
    payload['model'] = {name: value for name, value in whole.items() if name != names[1]}
    torch.save(payload, file)
    assert merge(base, tmp_path / 'lora', tmp_path / 'one') == 1
    assert f'but there is no {names[1]}.' in capfd.readouterr().err
    payload['model'] = {name.replace('layers.0', 'layers.9'): value for name, value in whole.items()}
    torch.save(payload, file)
    assert merge(base, tmp_path / 'lora', tmp_path / 'two') == 1
    assert 'the base model has no such layer' in capfd.readouterr().err
    shutil.rmtree(file.parent)
    assert merge(base, tmp_path / 'lora', tmp_path / 'three') == 1
    assert 'are of different layouts: they differ in mp_gpt_rank_00' in capfd.readouterr().err
    assert merge(base, base, tmp_path / 'four') == 1
    assert 'which belongs to no adapter' in capfd.readouterr().err
    assert not (tmp_path / 'four' / TRACKER).exists()
