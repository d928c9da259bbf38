"""Layouts of one training: what is computed must not depend on which rank computes it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import Job, Result, dist_config, model_json, run

from anneal_trainer.config import ModelConfig
from anneal_trainer.layout import plan_stages
from anneal_trainer.model import InternVL, init_weights

HALVES = {'pipeline_num_layers': [1, 1]}
SAVE_LAST = ('--save-interval', '20')


def train(folder: Path, task: Path, ranks: int, model: dict, script: str = 'pretrain_internvl.py') -> Result:
    """A run that saves its last iteration in `folder`/save."""
    return run(Job(folder, task, model, ranks, ('--save', str(folder / 'save'), *SAVE_LAST), script))


def shard(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """Weights of one stage at iteration 20."""
    path = folder / 'save' / 'iter_0000020' / name / 'model_optim_rng.pt'
    return torch.load(path, weights_only=True)['model']


def furthest(one: Result, other: Result) -> float:
    """Largest difference between the losses of two runs of equal length."""
    pairs = zip(one.losses, other.losses, strict=True)
    return max(abs(float.fromhex(mine) - float.fromhex(theirs)) for mine, theirs in pairs)


@pytest.fixture(scope='module')
def one(tmp_path_factory: pytest.TempPathFactory, task: Path) -> tuple[Path, Result]:
    """The run on one process that all layouts are compared with."""
    folder = tmp_path_factory.mktemp('one')
    return folder, train(folder, task, 1, model_json(), 'pretrain_vlm.py')


def test_vision_and_language_ranks_train_to_the_bits_of_one_process(
    tmp_path: Path, task: Path, one: tuple[Path, Result]
) -> None:
    folder, alone = one
    split = train(tmp_path, task, 2, model_json(dist_config=dist_config(1, 1)))
    assert split.losses == alone.losses
    assert [line['grad_norm'] for line in split.metrics] == [line['grad_norm'] for line in alone.metrics]
    whole = shard(folder, 'mp_rank_00')
    parts = shard(tmp_path, 'mp_vit_rank_00') | shard(tmp_path, 'mp_gpt_rank_00')
    assert parts.keys() == whole.keys()
    # The projector sits behind the exchange: it can only be equal if features and their gradients really crossed.
    assert all(torch.equal(parts[name], whole[name]) for name in whole)
    assert not torch.equal(whole['image_encoder.projector.linear_fc1.bias'], torch.zeros(32))


def test_vision_ranks_hold_no_text_and_language_ranks_no_vision(tmp_path: Path, task: Path) -> None:
    train(tmp_path, task, 3, model_json(text={'pipeline_num_layers': [1, 1]}, dist_config=dist_config(1, 2, 2, 'gpt')))
    folders = sorted(path.name for path in (tmp_path / 'save' / 'iter_0000020').iterdir())
    assert folders == ['mp_gpt_rank_00_000', 'mp_gpt_rank_00_001', 'mp_vit_rank_00']
    assert {name.split('.')[0] for name in shard(tmp_path, 'mp_vit_rank_00')} == {'image_encoder'}
    first, last = shard(tmp_path, 'mp_gpt_rank_00_000'), shard(tmp_path, 'mp_gpt_rank_00_001')
    assert {name.split('.')[0] for name in [*first, *last]} == {'text_decoder'}
    # Layers are counted from 0 in every stage.
    assert {name.split('.')[3] for name in [*first, *last] if '.layers.' in name} == {'0'}
    assert 'text_decoder.embedding.word_embeddings.weight' in first
    assert {'text_decoder.decoder.final_layernorm.weight', 'text_decoder.output_layer.weight'} <= last.keys()


@pytest.mark.parametrize(
    ('ranks', 'changes', 'script'),
    [
        (2, {'text': HALVES, 'vision': {'pipeline_num_layers': [2, 0]}}, 'pretrain_vlm.py'),
        (4, {'text': HALVES, 'vision': {'pipeline_num_layers': [2, 0]}}, 'pretrain_vlm.py'),
        (3, {'dist_config': dist_config(1, 2, main='gpt')}, 'pretrain_internvl.py'),
        (4, {'text': HALVES, 'dist_config': dist_config(2, 2, 2, 'gpt')}, 'pretrain_internvl.py'),
        (3, {'vision': HALVES, 'dist_config': dist_config(2, 1, vit_pp=2)}, 'pretrain_internvl.py'),
    ],
    ids=['pp2', 'pp2-dp2', 'vit1-gptdp2', 'vitdp2-gptpp2', 'vitpp2-gpt1'],
)
def test_every_layout_trains_to_the_losses_of_one_process(
    tmp_path: Path, task: Path, one: tuple[Path, Result], ranks: int, changes: dict, script: str
) -> None:
    pipeline = () if 'dist_config' in changes else ('--pipeline-model-parallel-size', '2')
    result = run(Job(tmp_path, task, model_json(**changes), ranks, pipeline, script))
    assert len(result.losses) == 20
    assert furthest(result, one[1]) < 1e-5


def test_tied_embeddings_over_two_stages_train_to_the_losses_of_one_process(tmp_path: Path, task: Path) -> None:
    tied = {'tie_word_embeddings': True}
    alone = run(Job(tmp_path / 'one', task, model_json(text=tied), 1, (), 'pretrain_vlm.py'))
    model = model_json(text={**tied, 'pipeline_num_layers': [1, 1]}, dist_config=dist_config(1, 2, 2, 'gpt'))
    split = train(tmp_path / 'split', task, 3, model)
    assert furthest(split, alone) < 1e-5
    first, last = (shard(tmp_path / 'split', f'mp_gpt_rank_00_00{index}') for index in range(2))
    copies = (first['text_decoder.embedding.word_embeddings.weight'], last['text_decoder.output_layer.weight'])
    assert torch.equal(*copies)


def test_frozen_modules_keep_their_bits(tmp_path: Path, task: Path) -> None:
    model = model_json(vision={'freeze': True}, dist_config=dist_config(1, 1))
    train(tmp_path, task, 2, model)
    start, end = InternVL(ModelConfig.from_dict(model)), shard(tmp_path, 'mp_vit_rank_00')
    init_weights(start, 1234)
    before = start.state_dict()
    changed = {name for name, value in end.items() if not torch.equal(value, before[name])}
    assert changed == {name for name in end if name.startswith('image_encoder.projector.')}


def test_stochastic_depth_does_not_depend_on_the_layout(tmp_path: Path, task: Path) -> None:
    vision, short = {'drop_path_rate': 0.5}, ('--exit-interval', '5')
    alone = run(Job(tmp_path / 'one', task, model_json(vision=vision), 1, short, 'pretrain_vlm.py'))
    calm = run(Job(tmp_path / 'calm', task, model_json(), 1, short, 'pretrain_vlm.py'))
    split = run(Job(tmp_path / 'split', task, model_json(vision=vision, dist_config=dist_config(1, 1)), 2, short))
    assert split.losses == alone.losses
    assert alone.losses != calm.losses


def test_stages_cover_the_model_once_and_number_layers_from_zero() -> None:
    config = ModelConfig.from_dict(model_json())
    names = list(InternVL(config).state_dict())
    stages = plan_stages([1, 1, 0], [0, 1, 1])
    held = [[stage.global_name(name) for name in InternVL(config, stage).state_dict()] for stage in stages]
    assert sorted(name for part in held for name in part) == sorted(names)
    assert all(stage.owns(name) for stage, part in zip(stages, held, strict=True) for name in part)
    assert 'image_encoder.encoder.encoder.layers.0.ls1' in InternVL(config, stages[1]).state_dict()
