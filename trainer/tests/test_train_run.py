"""A run as its watchers see it: log lines, metrics, signals, ends; and the order of its data."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from time import time

import pytest
from support import COLOURS, Job, alive, dist_config, model_json, run, wait_until

from anneal_trainer.arguments import parse_args
from anneal_trainer.config import ModelConfig
from anneal_trainer.data import Batches, Dataset
from anneal_trainer.schedule import LearningRate
from anneal_trainer.text import IGNORE, ChatEncoder

SPLIT = model_json(dist_config=dist_config(1, 1))
LOSS_LINE = re.compile(
    r'^ \[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] iteration {8}2/ {6}20 \| consumed samples: {11}32 '
    r'\| elapsed time per iteration \(ms\): [0-9.]+ \| learning rate: 1\.500000E-03 \| global batch size: {4}16 '
    r'\| loss: \d\.\d{6}E[+-]\d\d \| loss scale: 1\.0 \| grad norm: [0-9.]+ '
    r'\| number of skipped iterations:   0 \| number of nan iterations:   0 \|$',
    re.MULTILINE,
)


@pytest.fixture(scope='module')
def printed(tmp_path_factory: pytest.TempPathFactory, task: Path) -> tuple[Path, str]:
    """Folder and output of a short run under real torchrun."""
    folder = tmp_path_factory.mktemp('printed')
    flags = ('--save', str(folder / 'save'), '--save-interval', '15', '--bf16', '--use-flash-attn')
    return folder, run(Job(folder, task, SPLIT, 2, flags, torchrun=True)).out


def test_the_log_has_megatrons_lines_in_megatrons_order(printed: tuple[Path, str]) -> None:
    folder, out = printed
    assert len(LOSS_LINE.findall(out)) == 1
    assert len(re.findall(r'\[Rank (\d+)\] \(after 1 iterations\) memory \(MB\) \| allocated: ([0-9.]+) \|', out)) == 2
    assert "_RANK_NUMBER_TO_MODEL_NAME=['vit', 'gpt']" in out
    assert 'accepted without effect on CPU: --bf16 --use-flash-attn' in out
    order = [
        '[after megatron is initialized] datetime: ',
        'building VLMModel ...',
        '[after model, optimizer, and learning rate scheduler are built] datetime: ',
        '[after dataloaders are built] datetime: ',
        'done with setup ...',
        '[before the start of training step] datetime: ',
        f'saving checkpoint at iteration      15 to {folder / "save"} in torch format',
        f'  successfully saved checkpoint from iteration      15 to {folder / "save"} [ t 1/1, p 1/1 ]',
        '[after training is done] datetime: ',
        f'  successfully saved checkpoint from iteration      20 to {folder / "save"} [ t 1/1, p 1/1 ]',
    ]
    places = [out.index(text) for text in order]
    assert places == sorted(places)
    assert (folder / 'save' / 'latest_checkpointed_iteration.txt').read_text() == '20'
    assert not list((folder / 'save').rglob('*.tmp'))


# As MindSpeed MM prints it since 2.2.0, and not, as Megatron does, the rate of the coming iteration.
def test_the_log_has_the_learning_rate_that_was_used(tmp_path: Path, task: Path) -> None:
    result = Job(tmp_path, task, SPLIT, 2, ('--train-iters', '4')).start().finish()
    printed = re.findall(r' iteration +\d+/.* learning rate: (\S+) \|', result.out)
    used = [f'{float.fromhex(line["lr"]):.6E}' for line in result.metrics]
    assert printed == used
    assert printed[:3] == ['0.000000E+00', '1.500000E-03', '3.000000E-03']


# Method: SIGTERM to the vision rank alone; both must leave at the same iteration, saved, with exit code 0.
def test_sigterm_with_exit_signal_handler_saves_and_exits(tmp_path: Path, task: Path) -> None:
    flags = ('--exit-signal-handler', '--save', str(tmp_path / 'save'), '--train-iters', '100000')
    job = Job(tmp_path, task, SPLIT, 2, flags).start()
    try:
        wait_until(lambda: len(job.metrics()) > 2, 'the third iteration')
        os.kill(job.forks[0].pid or 0, signal.SIGTERM)
        result = job.finish()
    finally:
        job.stop()
    assert result.code == 0, result.out[-2000:]
    last = result.metrics[-1]['iteration']
    assert (tmp_path / 'save' / 'latest_checkpointed_iteration.txt').read_text() == str(last)
    assert '[exiting program after receiving SIGTERM.] datetime: ' in result.out
    assert '[after training is done]' not in result.out


# torchrun's workers are in sessions of their own; without the flag they outlive a killed agent and go on saving.
def test_workers_die_with_a_killed_torchrun(tmp_path: Path, task: Path) -> None:
    job = Job(tmp_path, task, SPLIT, 2, ('--train-iters', '100000'), torchrun=True).start()
    try:
        wait_until(lambda: len(job.metrics()) > 1, 'the second iteration')
        workers = job.workers()
        assert len(workers) == 2
        job.agent.kill()
        wait_until(lambda: not any(map(alive, workers)), 'the workers to die')
    finally:
        job.stop()


# Method: the ranks are bare processes, so nobody tells the survivor; two hosts lose each other like this.
@pytest.mark.parametrize(('signal_number', 'says'), [(signal.SIGKILL, 'Connection'), (signal.SIGSTOP, 'Timed out')])
def test_a_rank_that_loses_its_peer_fails_by_itself(
    tmp_path: Path, task: Path, signal_number: signal.Signals, says: str
) -> None:
    flags = ('--train-iters', '100000', '--distributed-timeout-minutes', '0.1')
    job = Job(tmp_path, task, SPLIT, 2, flags).start()
    try:
        wait_until(lambda: len(job.metrics()) > 2, 'the third iteration')
        os.kill(job.forks[0].pid or 0, signal_number)
        wait_until(lambda: job.forks[1].exitcode is not None, 'the other rank to end')
        assert job.forks[1].exitcode == 1
        assert says in job.output()
    finally:
        job.stop()


def test_the_task_is_learned(tmp_path: Path, task: Path) -> None:
    result = run(Job(tmp_path, task, model_json(), 1, ('--train-iters', '60', '--exit-interval', '60')))
    losses = [float.fromhex(loss) for loss in result.losses]
    # Four colours guessed blindly cost ln 4 = 1.39 on the answer token and next to nothing on the end: 0.7 a token.
    assert sum(losses[-5:]) / 5 < 0.35
    assert result.metrics[-1]['consumed_samples'] == 960
    ended = [line['time'] for line in result.metrics]
    assert ended == sorted(ended)
    assert abs(ended[-1] - time()) < 60


def test_every_epoch_is_a_permutation_that_only_its_number_decides(task: Path) -> None:
    dataset = Dataset(task, ModelConfig.from_dict(model_json()))
    batches = Batches(dataset, 16, 4, 40, variable=False)
    assert batches.usable == 32
    epochs = [[row for unit in range(8) for row in batches.samples(32 * epoch, unit)] for epoch in range(2)]
    assert all(len(set(rows)) == 32 for rows in epochs)
    assert epochs[0] != epochs[1]
    again = Batches(dataset, 8, 8, 40, variable=False)
    assert again.samples(8, 0) == epochs[0][8:16]
    # Rows that one epoch drops come in another: nothing is left out for good.
    seen = {row for epoch in range(12) for unit in range(8) for row in batches.samples(32 * epoch, unit)}
    assert seen == set(range(40))


def test_only_answers_carry_labels_and_prompts_are_the_prefix_of_samples(task: Path) -> None:
    encoder = ChatEncoder(task.parent, tokens_per_image=4)
    row = {
        'id': 1,
        'image': '0.png',
        'conversations': [
            {'from': 'human', 'value': '<image>\nWhich colour is this?'},
            {'from': 'gpt', 'value': 'red'},
            {'from': 'human', 'value': 'Sure?'},
            {'from': 'gpt', 'value': 'green'},
        ],
    }
    sample = encoder.encode_sample(row)
    prompt = encoder.encode_prompt('<image>\nWhich colour is this?')
    assert list(sample.ids[: len(prompt)]) == prompt
    assert sample.ids.count(encoder.image_token_id) == 4
    assert encoder.tokenizer.decode(list(sample.ids), skip_special_tokens=False) == (
        '<|im_start|>user\n<img><IMG_CONTEXT><IMG_CONTEXT><IMG_CONTEXT><IMG_CONTEXT></img>\nWhich colour is this?'
        '<|im_end|>\n<|im_start|>assistant\nred<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\n'
        'green<|im_end|>'
    )
    learned = [token for token in sample.labels if token != IGNORE]
    assert encoder.tokenizer.decode(learned, skip_special_tokens=False) == 'red<|im_end|>green<|im_end|>'
    assert set(COLOURS) >= {'red', 'green'}


def test_the_learning_rate_follows_megatrons_formulas() -> None:
    line = (
        '--mm-data d --mm-model m --micro-batch-size 5 --global-batch-size 10 --seq-length 40 --train-iters 12 '
        '--lr 1e-2 --min-lr 1e-3 --lr-warmup-iters 2 --lr-decay-style cosine'
    )
    args = parse_args(line.split(), dist_train_allowed=True)
    schedule, rates = LearningRate(args), []
    for _ in range(14):
        rates.append(schedule.value())
        schedule.step(10)
    assert rates[:3] == [0.0, 5e-3, 1e-2]
    assert rates[7] == pytest.approx((1e-2 + 1e-3) / 2)  # half of the decay: the middle of a cosine
    assert rates[12:] == [pytest.approx(1e-3), 1e-3]
