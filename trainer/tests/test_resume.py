"""Checkpoints: a run that was killed and resumed ends in the same bits; unfit checkpoints are refused."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from support import Job, alive, dist_config, model_json, run, wait_until

SPLIT = model_json(dist_config=dist_config(1, 1))
TRACKER = 'latest_checkpointed_iteration.txt'


def saving(folder: Path, *flags: str) -> tuple[str, ...]:
    """Flags that save every five iterations into `folder`."""
    return ('--save', str(folder), '--save-interval', '5', *flags)


def file_of(root: Path, iteration: int, folder: str, name: str = 'model_optim_rng.pt') -> Path:
    """A file of a checkpoint."""
    return root / f'iter_{iteration:07d}' / folder / name


def weights(root: Path, iteration: int) -> dict[str, torch.Tensor]:
    """All weights of a Dist-train checkpoint."""
    shards = [torch.load(file_of(root, iteration, f'mp_{name}_rank_00'), weights_only=True) for name in ('vit', 'gpt')]
    return shards[0]['model'] | shards[1]['model']


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory: pytest.TempPathFactory, task: Path) -> tuple[Path, list[str]]:
    """Checkpoints and losses of a run that nobody touched."""
    folder = tmp_path_factory.mktemp('undisturbed')
    result = run(Job(folder, task, SPLIT, 2, saving(folder / 'save')))
    return folder / 'save', result.losses


# Goal: kill -9 costs iterations, never bits. Method: real torchrun, one worker killed after the first save; the resumed
# run has a load folder of its own, as a new generation has, and must end as the undisturbed one did.
def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path, task: Path, undisturbed: tuple[Path, list[str]]) -> None:
    first = Job(tmp_path / 'first', task, SPLIT, 2, saving(tmp_path / 'save'), torchrun=True).start()
    try:
        wait_until(lambda: (tmp_path / 'save' / TRACKER).exists() and len(first.metrics()) > 6, 'the first save')
        workers = first.workers()
        os.kill(workers[0], signal.SIGKILL)
        assert first.finish().code == 1
        wait_until(lambda: not any(map(alive, workers)), 'all workers to be gone')
    finally:
        first.stop()
    saved = int((tmp_path / 'save' / TRACKER).read_text())
    assert 5 <= saved < 20
    (tmp_path / 'save').rename(tmp_path / 'load')
    flags = saving(tmp_path / 'save', '--load', str(tmp_path / 'load'), '--exit-on-missing-checkpoint')
    second = run(Job(tmp_path / 'second', task, SPLIT, 2, flags))
    assert second.losses == undisturbed[1][saved:]
    ours, theirs = weights(tmp_path / 'save', 20), weights(undisturbed[0], 20)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert f' loading checkpoint from {tmp_path / "load"} at iteration {saved}' in second.out


def test_the_same_run_twice_gives_the_same_bits(
    tmp_path: Path, task: Path, undisturbed: tuple[Path, list[str]]
) -> None:
    assert run(Job(tmp_path, task, SPLIT, 2)).losses == undisturbed[1]


# Method: each rank sees a load folder with its own shard only, as ranks on nodes without a common disk do.
def test_a_rank_needs_only_its_own_shard(tmp_path: Path, task: Path, undisturbed: tuple[Path, list[str]]) -> None:
    root, losses = undisturbed
    loads = []
    for rank, name in enumerate(('vit', 'gpt')):
        loads.append(tmp_path / f'node{rank}')
        target = file_of(loads[rank], 10, f'mp_{name}_rank_00').parent
        shutil.copytree(file_of(root, 10, f'mp_{name}_rank_00').parent, target)
        (loads[rank] / TRACKER).write_text('10')

    def flags(rank: int) -> tuple[str, ...]:
        return saving(tmp_path / f's{rank}', '--load', str(loads[rank]))

    job = Job(tmp_path / 'run', task, SPLIT, 2, per_rank=flags)
    assert run(job).losses == losses[10:]
    assert (tmp_path / 's0' / TRACKER).read_text() == '20'
    assert not (tmp_path / 's1' / TRACKER).exists()
    assert [path.name for path in (tmp_path / 's1' / 'iter_0000020').iterdir()] == ['mp_gpt_rank_00']


def test_the_distributed_optimizer_keeps_its_tensors_in_a_file_of_its_own(
    tmp_path: Path, task: Path, undisturbed: tuple[Path, list[str]]
) -> None:
    flags = saving(tmp_path / 'save', '--use-distributed-optimizer')
    run(Job(tmp_path / 'first', task, SPLIT, 2, (*flags, '--exit-interval', '10')))
    payload = torch.load(file_of(tmp_path / 'save', 10, 'mp_gpt_rank_00'), weights_only=True)
    assert payload['optimizer']['state'] == {}
    assert file_of(tmp_path / 'save', 10, 'mp_gpt_rank_00', 'distrib_optim.pt').exists()
    second = run(Job(tmp_path / 'second', task, SPLIT, 2, (*flags, '--load', str(tmp_path / 'save'))))
    assert second.losses == undisturbed[1][10:]


def test_release_weights_start_at_iteration_0_with_a_fresh_optimizer(
    tmp_path: Path, task: Path, undisturbed: tuple[Path, list[str]]
) -> None:
    for name in ('vit', 'gpt'):
        payload = torch.load(file_of(undisturbed[0], 20, f'mp_{name}_rank_00'), weights_only=True)
        target = tmp_path / 'load' / 'release' / f'mp_{name}_rank_00'
        target.mkdir(parents=True)
        torch.save({'model': payload['model'], 'checkpoint_version': 3.0}, target / 'model_optim_rng.pt')
    (tmp_path / 'load' / TRACKER).write_text('release')
    result = run(Job(tmp_path / 'run', task, SPLIT, 2, ('--load', str(tmp_path / 'load'), '--exit-interval', '2')))
    assert [line['iteration'] for line in result.metrics] == [1, 2]
    assert float.fromhex(result.losses[0]) < float.fromhex(undisturbed[1][0]) / 2
    assert '[exiting program at iteration 2] datetime: ' in result.out


def test_without_optimizer_state_a_resumed_run_says_so_or_goes_other_ways(
    tmp_path: Path, task: Path, undisturbed: tuple[Path, list[str]]
) -> None:
    flags = saving(tmp_path / 'save', '--no-save-optim', '--no-save-rng')
    run(Job(tmp_path / 'first', task, SPLIT, 2, (*flags, '--exit-interval', '10')))
    load = ('--load', str(tmp_path / 'save'))
    refused = Job(tmp_path / 'second', task, SPLIT, 2, load).start().finish()
    assert refused.code == 1
    assert 'holds no optimizer state; pass --no-load-optim to start it afresh.' in refused.out
    third = run(Job(tmp_path / 'third', task, SPLIT, 2, (*load, '--no-load-optim', '--no-load-rng')))
    assert third.losses[0] == undisturbed[1][10]  # data position and weights go on
    assert third.losses[2:] != undisturbed[1][12:]


def test_a_missing_checkpoint_is_a_failure_and_not_exit_0(tmp_path: Path, task: Path) -> None:
    flags = ('--load', str(tmp_path / 'nothing'), '--exit-on-missing-checkpoint')
    result = Job(tmp_path, task, model_json(), 1, flags).start().finish()
    assert result.code == 1
    assert ">> '--exit-on-missing-checkpoint' set ... exiting. <<" in result.out
    assert 'iteration' not in result.out.split('exiting. <<')[1]


@pytest.mark.parametrize(
    ('damage', 'says'),
    [
        ('shard', 'mp_gpt_rank_00/model_optim_rng.pt does not exist'),
        ('bytes', 'could not load the checkpoint'),
        ('tracker', 'Invalid metadata file'),
        ('shape', 'has shape'),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(
    tmp_path: Path, task: Path, undisturbed: tuple[Path, list[str]], damage: str, says: str
) -> None:
    root = tmp_path / 'load'
    shutil.copytree(undisturbed[0], root)
    shard = file_of(root, 20, 'mp_gpt_rank_00')
    if damage == 'shard':
        shard.unlink()
    if damage == 'bytes':
        shard.write_bytes(shard.read_bytes()[:1000])
    if damage == 'tracker':
        (root / TRACKER).write_text('')
    other = model_json(text={'ffn_hidden_size': 96}, dist_config=dist_config(1, 1)) if damage == 'shape' else SPLIT
    result = Job(tmp_path / 'run', task, other, 2, ('--load', str(root))).start().finish()
    assert result.code == 1
    assert says in result.out
