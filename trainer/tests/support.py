"""Shared parts of the trainer's tests: a tiny coloured-squares task, configs, and torchrun jobs with a deadline."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from anneal_trainer.train import main

TRAINER = Path(__file__).resolve().parent.parent
SPECIAL = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<img>', '</img>', '<IMG_CONTEXT>']
COLOURS = {'red': (220, 30, 30), 'green': (30, 200, 40), 'blue': (40, 60, 230), 'white': (240, 240, 240)}
DEADLINE_S = 90.0  # a job of this suite takes under 10 s on a quiet machine


def write_task(folder: Path, rows: int = 40) -> Path:
    """Images, `train.jsonl`, tokenizer and `data.json` of a task that a tiny model can learn; returns `data.json`."""
    rng = random.Random(7)
    (folder / 'images').mkdir(parents=True)
    lines = []
    for index in range(rows):
        name = rng.choice(sorted(COLOURS))
        shade = tuple(max(0, min(255, value + rng.randint(-25, 25))) for value in COLOURS[name])
        Image.new('RGB', (28, 28), shade).save(folder / 'images' / f'{index}.png')
        lines.append(row_of(index, f'{index}.png', name))
    (folder / 'train.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    write_tokenizer(folder / 'tokenizer.json', [turn['value'] for line in lines for turn in line['conversations']])
    return write_data_json(folder)


def row_of(index: int | str, image: str, answer: str, question: str = 'Which colour is this?') -> dict[str, Any]:
    """One InternVL-Finetune row."""
    turns = [{'from': 'human', 'value': f'<image>\n{question}'}, {'from': 'gpt', 'value': answer}]
    return {'id': index, 'image': image, 'width': 28, 'height': 28, 'conversations': turns}


def write_tokenizer(path: Path, texts: list[str]) -> None:
    """A byte-level BPE tokenizer with InternVL's special tokens; `<IMG_CONTEXT>` gets id 5."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(text, special=True) for text in SPECIAL]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*texts, 'user\nassistant\nsystem\n'], trainer)
    tokenizer.save(str(path))


def write_data_json(folder: Path, **changes: Any) -> Path:
    """MindSpeed MM's `data.json` for the task in `folder`."""
    entry = {'data_path': str(folder / 'train.jsonl'), 'data_folder': str(folder / 'images'), 'repeat_time': 1}
    param = {
        'dataset_type': 'multimodal',
        'basic_parameters': [entry],
        'tokenizer_config': {'hub_backend': 'hf', 'from_pretrained': str(folder)},
        'template_name': 'internvl2_5',
        'image_size': 28,
        'patch_size': 7,
        'down_sample_ratio': 0.5,
        'dynamic_image_size': False,
    }
    loader = {'dataloader_mode': 'sampler', 'drop_last': True, 'sampler_type': 'BaseRandomBatchSampler'}
    path = folder / 'data.json'
    path.write_text(json.dumps({'dataset_param': {**param, **changes}, 'dataloader_param': loader}))
    return path


def model_json(**top: Any) -> dict[str, Any]:
    """A model of two vision and two text layers; keyword arguments are merged at the top or into `text`, `vision`."""
    text = {
        'num_layers': 2,
        'pipeline_num_layers': [2],
        'hidden_size': 32,
        'ffn_hidden_size': 64,
        'num_attention_heads': 4,
        'num_query_groups': 2,
        'vocab_size': 296,
        'rotary_base': 1000000,
        'layernorm_epsilon': 1e-6,
        'max_position_embeddings': 512,
        **top.pop('text', {}),
    }
    vision = {
        'num_layers': 2,
        'pipeline_num_layers': [2],
        'hidden_size': 24,
        'ffn_hidden_size': 48,
        'num_attention_heads': 2,
        'patch_size': 7,
        'image_size': 28,
        'freeze': False,
        **top.pop('vision', {}),
    }
    projector = {'vit_hidden_size': 24, 'llm_hidden_size': text['hidden_size'], 'freeze': False}
    return {
        'model_id': 'InternVL3',
        'downsample_ratio': 0.5,
        'select_layer': -1,
        'ps_version': 'v2',
        'img_context_token_id': 5,
        'text_decoder': text,
        'image_encoder': {'vision_encoder': vision, 'vision_projector': {**projector, **top.pop('projector', {})}},
        **top,
    }


def dist_config(vit: int, gpt: int, gpt_pp: int = 1, main: str | None = None, vit_pp: int = 1) -> dict[str, Any]:
    """`dist_config` for `vit` and `gpt` ranks; `main` names the sub-model whose replicas count."""
    entries = [('vit', vit, vit_pp), ('gpt', gpt, gpt_pp)]
    return {
        'model_name': 'internvl2',
        'model_config': [
            {
                'name': name,
                'model_index': index,
                'world_size': world,
                'pipeline_model_parallel_size': pp,
                'main_dp': name == main,
            }
            for index, (name, world, pp) in enumerate(entries)
        ],
    }


@dataclass
class Result:
    """How a job ended, and what it printed."""

    code: int
    out: str
    metrics: list[dict[str, Any]]

    @property
    def losses(self) -> list[str]:
        return [line['loss'] for line in self.metrics]


@dataclass
class Job:
    """One training run in `folder`; `flags` are added to a short default command line.

    Its ranks are forks of the test process, which has torch loaded already, or with `torchrun` real torchrun workers.
    """

    folder: Path
    data: Path
    model: dict[str, Any]
    ranks: int = 1
    flags: tuple[str, ...] = ()
    script: str = 'pretrain_internvl.py'
    torchrun: bool = False
    per_rank: Callable[[int], tuple[str, ...]] | None = None
    agent: subprocess.Popen[str] | None = field(default=None, init=False)
    forks: list[ForkProcess] = field(default_factory=list, init=False)

    def start(self) -> Job:
        """Start it; `finish` waits."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / 'model.json').write_text(json.dumps(self.model))
        port = str(free_port())
        if self.torchrun:
            command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node', str(self.ranks)]
            command += ['--nnodes', '1', '--node_rank', '0', '--master_addr', '127.0.0.1', '--master_port', port]
            command += [str(TRAINER / self.script), '--die-with-parent', *self.arguments()]
            with (self.folder / 'out.log').open('w') as out:
                self.agent = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, text=True)
            return self
        fork = multiprocessing.get_context('fork')
        for rank in range(self.ranks):
            self.forks.append(fork.Process(target=_rank_main, args=(self, rank, port), daemon=True))
            self.forks[-1].start()
        return self

    def arguments(self) -> list[str]:
        """The command line behind the script's name."""
        line = (
            '--micro-batch-size 4 --global-batch-size 16 --seq-length 40 --train-iters 20 --lr 3e-3 '
            '--weight-decay 0.05 --lr-decay-style cosine --lr-warmup-iters 2 --log-interval 1 '
            '--distributed-timeout-minutes 0.5'
        )
        files = {'mm-data': self.data, 'mm-model': self.folder / 'model.json', 'metrics-file': self.folder / 'm.jsonl'}
        own = [item for name, path in files.items() for item in (f'--{name}', str(path))]
        return own + line.split() + ['--dist-train'] * ('dist_config' in self.model) + list(self.flags)

    def finish(self) -> Result:
        """Wait for the end, at most DEADLINE_S; the code is the first that is not 0."""
        end = time.monotonic() + DEADLINE_S
        try:
            if self.agent is not None:
                return Result(self.agent.wait(DEADLINE_S), self.output(), self.metrics())
            while any(fork.exitcode is None for fork in self.forks) and time.monotonic() < end:
                failed = next((fork.exitcode for fork in self.forks if fork.exitcode), None)
                if failed is not None:  # as torchrun does: one down, all down
                    self.stop()
                    return Result(failed, self.output(), self.metrics())
                multiprocessing.connection.wait([fork.sentinel for fork in self.forks if fork.exitcode is None], 0.1)
            assert time.monotonic() < end, f'the job did not end in {DEADLINE_S} s:\n{self.output()[-3000:]}'
            codes = [fork.exitcode or 0 for fork in self.forks]
            return Result(next((code for code in codes if code), 0), self.output(), self.metrics())
        finally:
            self.stop()

    def stop(self) -> None:
        """Leave no process behind."""
        for process in [self.agent, *self.forks]:
            if process is not None:
                process.kill()
        if self.agent is not None:
            self.agent.wait()
        for fork in self.forks:
            fork.join()

    def output(self) -> str:
        """What all ranks have printed."""
        return ''.join(path.read_text() for path in sorted(self.folder.glob('out*.log')))

    def metrics(self) -> list[dict[str, Any]]:
        """Complete lines of the metrics file."""
        path = self.folder / 'm.jsonl'
        text = path.read_text() if path.exists() else ''
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith('\n')]

    def workers(self) -> list[int]:
        """Process ids of torchrun's workers."""
        assert self.agent is not None
        found = []
        for task in Path(f'/proc/{self.agent.pid}/task').iterdir():
            found += [int(pid) for pid in (task / 'children').read_text().split()]
        return sorted(found)


def _rank_main(job: Job, rank: int, port: str) -> None:
    """A forked rank: torchrun's environment, output to a file of its own."""
    if job.ranks > 1:
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(job.ranks), LOCAL_RANK=str(rank))
        os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    out = os.open(job.folder / f'out{rank}.log', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout, sys.stderr = os.fdopen(1, 'w', buffering=1), os.fdopen(2, 'w', buffering=1)
    extra = job.per_rank(rank) if job.per_rank else ()
    main([*job.arguments(), *extra], dist_train_allowed=job.script == 'pretrain_internvl.py')


def run(job: Job) -> Result:
    """Start and finish a job that must succeed."""
    result = job.start().finish()
    assert result.code == 0, result.out[-3000:]
    return result


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll until true; AssertionError after DEADLINE_S."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f'waited {DEADLINE_S} s for {what}'
        time.sleep(0.02)


def free_port() -> int:
    """A TCP port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False
