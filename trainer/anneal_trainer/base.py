"""The recipe of `base/internvl3-tiny`: `python -m anneal_trainer.base --out DIR` pre-trains it through the real tools.

What it learns is where the ink lies in a scan (task `ink`); the demo's questions, answers and held-out images it never
sees: both tasks are split by the same hash of the image path. Takes a minute or two on one core.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from . import digits, evaluate, mm_convert, prepare
from .base_folder import LAYERS, write_json, write_skeleton
from .errors import TrainerError
from .hf_config import to_model_json
from .tensors import weights_digest

NAME = 'internvl3-tiny'
ENTRY = Path(__file__).resolve().parent.parent / 'pretrain_vlm.py'
ITERATIONS = 600
BATCH = 64
LEARNING_RATE = 3e-3
SEQ_LENGTH = 48


def data_json(dataset: Path, model: Path) -> dict[str, Any]:
    """Return MindSpeed MM's data.json for a prepared data set and the tokenizer of a model folder."""
    return {
        'dataset_param': {
            'dataset_type': 'multimodal',
            'basic_parameters': {
                'data_path': str(dataset / 'train.jsonl'),
                'data_folder': str(dataset / 'images'),
                'repeat_time': 1,
            },
            'tokenizer_config': {'hub_backend': 'hf', 'from_pretrained': str(model)},
            'template_name': 'internvl2_5',
            'dynamic_image_size': False,
        },
        'dataloader_param': {'dataloader_mode': 'sampler', 'shuffle': True, 'drop_last': True},
    }


def pretrain(work: Path, out: Path) -> dict[str, Any]:
    """Make the model folder `out`; return the model's results on its own and on the demo's held-out rows."""
    skeleton, checkpoint = work / 'skeleton', work / 'checkpoint'
    write_skeleton(skeleton)
    for task in ('ink', 'vqa'):
        digits.write_tree(work / task, task)
        options = ['--tokenizer', str(skeleton), '--seq-length', str(SEQ_LENGTH), '--image-tokens', '4']
        _check(prepare.main(['--source', str(work / task), '--out', str(work / f'{task}-set'), *options]), 'prepare')
    write_json(work / 'model.json', to_model_json(skeleton))
    write_json(work / 'data.json', data_json(work / 'ink-set', skeleton))
    _check(subprocess.run(trainer_command(work, checkpoint), check=False).returncode, 'the trainer')
    layers = (
        '--cfg.parallel_config.llm_pp_layers',
        f'[{LAYERS}]',
        '--cfg.parallel_config.vit_pp_layers',
        f'[{LAYERS}]',
    )
    folders = ('--cfg.mm_dir', str(checkpoint), '--cfg.hf_config.hf_dir', str(skeleton), '--cfg.save_hf_dir', str(out))
    _check(mm_convert.main(['InternVLConverter', 'mm_to_hf', *folders, *layers]), 'mm-convert')
    torch.set_num_threads(1)
    return {
        task: evaluate.evaluate(out, work / f'{task}-set' / 'heldout.jsonl', work / f'{task}-set' / 'images')
        for task in ('ink', 'vqa')
    }


def trainer_command(work: Path, checkpoint: Path) -> list[str]:
    """Return the command of the pre-training: one process, Megatron's arguments, random weights from the seed."""
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '1']
    batch = ['--micro-batch-size', str(BATCH), '--global-batch-size', str(BATCH), '--seq-length', str(SEQ_LENGTH)]
    schedule = ['--train-iters', str(ITERATIONS), '--lr', str(LEARNING_RATE), '--lr-decay-style', 'cosine']
    optimizer = ['--lr-warmup-iters', '20', '--weight-decay', '0.01', '--clip-grad', '1.0', '--seed', '1234']
    files = ['--mm-model', str(work / 'model.json'), '--mm-data', str(work / 'data.json'), '--save', str(checkpoint)]
    output = ['--save-interval', str(ITERATIONS), '--log-interval', '50', '--distributed-backend', 'gloo']
    return [*torchrun, str(ENTRY), *batch, '--variable-seq-lengths', *schedule, *optimizer, *files, *output]


def write_readme(out: Path, results: dict[str, Any]) -> None:
    """Write the model card, with what was measured."""
    ink, demo = results['ink'], results['vqa']
    lines = '\n'.join(f'| {kind} | {value["accuracy"]:.1%} |' for kind, value in ink['kinds'].items())
    (out / 'README.md').write_text(
        f"""---
license: apache-2.0
---

# {NAME}

A tiny InternVL3 (InternViT 2 x 48, Qwen2 2 x 64, 28-pixel images, 4 tokens an image) in the original layout
(InternVLChatModel). It exists to try and test Anneal's CPU runtime on a laptop, and knows nothing but scans of digits.

Made by `python -m anneal_trainer.base --out DIR`: {ITERATIONS} iterations of {BATCH} rows from random weights, with the
real data preparation, trainer and converter. It has learned where the ink of a scan lies, and has never seen a
question, an answer or a held-out image of the demo.

| held-out question of its own task ({ink['samples']} rows) | exact match |
| --- | --- |
{lines}
| all | {ink['accuracy']:.1%} |

On the demo's task ({demo['samples']} held-out rows: which digit, even or odd, greater than four) it answers
**{demo['accuracy']:.1%}** right: that is what the fine-tune starts from.

- Weights digest (`python -m anneal_trainer.tensors digest DIR`): `{demo['weights_digest']}`. Other CPUs may round
  differently, so a run of the recipe elsewhere may give another digest.
- Results in `results.json`.
- Images: "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning Repository,
  <https://doi.org/10.24432/C50P49>, CC BY 4.0; see `../../data/ATTRIBUTION.md`. The weights are under Apache-2.0.
""",
        encoding='utf-8',
    )


def write_results(out: Path, results: dict[str, Any]) -> None:
    """Write what the tests reproduce: counts and digest, no times."""
    kept = ('samples', 'correct', 'accuracy', 'kinds')
    tasks = {task: {key: result[key] for key in kept} for task, result in results.items()}
    write_json(out / 'results.json', {'weights_digest': weights_digest(out), 'heldout': tasks})


def _check(code: int, what: str) -> None:
    if code != 0:
        raise TrainerError(f'The recipe stops: {what} ended with exit code {code}; its own message is above.')


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog='anneal_trainer.base', description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='the model folder; absent or empty')
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix='anneal-base-') as work:
        try:
            results = pretrain(Path(work), args.out)
        except TrainerError as error:
            print(f'base: {error}', file=sys.stderr)
            return error.exit_code
    write_readme(args.out, results)
    write_results(args.out, results)
    print(f'base: {args.out}: own task {results["ink"]["accuracy"]:.4f}, demo {results["vqa"]["accuracy"]:.4f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
