"""A loss or a gradient that is no number ends the training before it spoils a weight, and says where it began."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from support import Job, dist_config, model_json

from anneal_trainer import exchange as exchange_module
from anneal_trainer.finite import count_not_finite, main, tensors_in
from anneal_trainer.reduce import Reducer

SAID = re.compile(
    r'\[Rank (\d)\] error: iteration (\d+) is not finite: loss (\S+), gradient norm (\S+), (.+?), '
    r'began on rank (.+?)\. '
)


def poison_forward(monkeypatch: pytest.MonkeyPatch, rank: int, at: int) -> None:
    """Make the output of one rank NaN in its `at`-th iteration."""
    forward, run = exchange_module.Exchange._forward, exchange_module.Exchange.run
    count = {'iteration': 0}

    def counted(self, consumed):
        count['iteration'] += 1
        return run(self, consumed)

    def poisoned(self, consumed, unit):
        flight = forward(self, consumed, unit)
        if self.rank == rank and count['iteration'] == at:
            flight.output = flight.output * float('nan')
        return flight

    monkeypatch.setattr(exchange_module.Exchange, 'run', counted)
    monkeypatch.setattr(exchange_module.Exchange, '_forward', poisoned)


def poison_gradient(monkeypatch: pytest.MonkeyPatch, rank: int, at: int) -> None:
    """Make one gradient of one rank infinite in its `at`-th iteration, before it is added to those of others."""
    reduce_gradients = Reducer.reduce_gradients
    count = {'iteration': 0}

    def poisoned(self):
        count['iteration'] += 1
        if self.rank == rank and count['iteration'] == at:
            next(iter(self.parameters.values())).grad.fill_(float('inf'))
        return reduce_gradients(self)

    monkeypatch.setattr(Reducer, 'reduce_gradients', poisoned)


# Goal: every rank ends at the first bad iteration, with the same words, and names the rank that made it.
# Method: ranks are forks of this process, which is changed first. Layouts: Dist-train, and two language replicas.
@pytest.mark.parametrize(
    ('poison', 'rank', 'ranks', 'split', 'loss'),
    [
        (poison_forward, 0, 2, (1, 1), 'nan'),
        (poison_forward, 1, 2, (1, 1), 'nan'),
        (poison_gradient, 0, 2, (1, 1), None),
        (poison_gradient, 2, 3, (1, 2), None),
    ],
)
def test_the_first_bad_iteration_ends_every_rank_and_names_the_one_that_made_it(
    tmp_path: Path, task: Path, monkeypatch: pytest.MonkeyPatch, poison, rank: int, ranks: int, split, loss: str | None
) -> None:
    poison(monkeypatch, rank, 7)
    flags = ('--save', str(tmp_path / 'save'), '--save-interval', '5')
    job = Job(tmp_path / 'job', task, model_json(dist_config=dist_config(*split, main='gpt')), ranks, flags).start()
    for fork in job.forks:  # not as torchrun, which stops the others: each must have found it
        fork.join(60)
    assert [fork.exitcode for fork in job.forks] == [1] * ranks
    result = job.finish()
    said = SAID.findall(result.out)
    assert sorted(words[0] for words in said) == [str(one) for one in range(ranks)]
    assert {words[1] for words in said} == {'7'}
    assert {words[5] for words in said} == {str(rank)}
    assert all(re.fullmatch(r'loss \d\.\d{6}E[+-]\d\d before it', words[4]) for words in said)
    if loss is None:
        assert all(words[2] not in ('nan', 'inf') and words[3] in ('nan', 'inf') for words in said)
    else:
        assert {words[2] for words in said} == {loss}
    # Nothing of the bad iteration is left: neither a step in the metrics, nor a checkpoint.
    assert [line['iteration'] for line in result.metrics] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / 'save' / 'latest_checkpointed_iteration.txt').read_text() == '5'


# A learning rate that no model bears: the same iteration each time, and no rank is to blame more than its input.
def test_a_rate_that_is_far_too_high_ends_at_the_same_iteration_each_time(tmp_path: Path, task: Path) -> None:
    iterations = []
    for name in ('one', 'two'):
        job = Job(tmp_path / name, task, model_json(), 1, ('--lr', '1e30', '--lr-warmup-iters', '0')).start()
        result = job.finish()
        assert result.code == 1
        iterations += [words[1] for words in SAID.findall(result.out)]
    assert len(iterations) == 2
    assert iterations[0] == iterations[1]


def shard(folder: Path, **tensors: torch.Tensor) -> None:
    """A file as the trainer writes it: weights, and an optimizer's state beside plain values."""
    state = {name: {'step': 3, 'exp_avg': value} for name, value in tensors.items()}
    torch.save({'iteration': 3, 'model': {}, 'optimizer': {'state': state}}, folder / 'shard.pt')


@pytest.mark.parametrize(
    ('value', 'bad'),
    [
        (torch.ones(4), 0),
        (torch.tensor([1.0, float('nan'), float('-inf')]), 2),
        (torch.tensor([float('inf')], dtype=torch.bfloat16), 1),
        (torch.tensor([1, 2]), 0),
        (torch.zeros(0), 0),
    ],
)
def test_a_number_that_is_not_finite_is_found_wherever_it_lies(tmp_path: Path, value: torch.Tensor, bad: int) -> None:
    assert count_not_finite(value) == bad
    shard(tmp_path, fine=torch.ones(2), other=value)
    assert main(['--report', str(tmp_path / 'report.json'), str(tmp_path), 'shard.pt']) == 0
    found = json.loads((tmp_path / 'report.json').read_text())['found']
    expected = {
        'file': 'shard.pt',
        'tensor': 'optimizer.state.other.exp_avg',
        'bad': bad,
        'elements': value.numel(),
    }
    assert found == (expected if bad else None)


def test_a_file_that_cannot_be_read_is_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'cut.pt').write_bytes(b'PK')
    report = tmp_path / 'report.json'
    assert main(['--report', str(report), str(tmp_path), 'cut.pt']) == 1
    assert 'cut.pt cannot be read as a checkpoint' in capsys.readouterr().err
    assert not report.exists()


def test_tensors_are_named_by_the_way_to_them() -> None:
    value = {'a': [torch.ones(1), {'b': torch.ones(1)}], 3: (torch.ones(1),)}
    assert [name for name, _ in tensors_in(value)] == ['a[0]', 'a[1].b', '3[0]']
