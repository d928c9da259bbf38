"""What the trainer refuses: before anything starts where it can, always in a sentence that names the culprit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import Job, dist_config, model_json, row_of, write_data_json, write_task

from anneal_trainer.arguments import parse_args
from anneal_trainer.config import ModelConfig
from anneal_trainer.data import Batches, Dataset
from anneal_trainer.errors import TrainerError, UsageError
from anneal_trainer.layout import plan_stages
from anneal_trainer.topology import build_topology

LINE = (
    '--mm-data d --mm-model m --micro-batch-size 4 --global-batch-size 16 --seq-length 40 --train-iters 20 --lr 1e-3'
).split()


@pytest.mark.parametrize(
    ('extra', 'says'),
    [
        ('--tensor-model-parallel-size 2', 'the CPU trainer splits no tensor and no sequence, so it must be 1.'),
        ('--context-parallel-size 2', '--context-parallel-size is 2: the CPU trainer splits no tensor'),
        ('--learning-rate 1', 'knows; the nearest known one is --'),
        ('--save-intervall 5', 'the nearest known one is --save-interval.'),
        ('--save-intervall=5', 'the nearest known one is --save-interval.'),
        ('stray', "'stray' is not a flag"),
        ('--distributed-backend nccl', 'on CPU only gloo works.'),
        ('--ckpt-format torch_dist', '--ckpt-format is torch_dist: only torch is written and read.'),
        ('--save-interval 5', '--save-interval is given without --save'),
        ('--lr-warmup-iters 20', 'it must be below the 20 decay iterations.'),
        ('--virtual-pipeline-model-parallel-size 2', '--virtual-pipeline-model-parallel-size is refused: '),
        ('--num-layers-per-virtual-pipeline-stage 1', 'MindSpeed MM itself refuses this flag as deprecated'),
        ('--lora-r 8', '--lora-r is given without --lora-target-modules, so all weights would be trained.'),
        ('--load-base-model b', '--load-base-model is given without --lora-target-modules'),
        ('--lora-target-modules linear_qkv q_proj', '--lora-target-modules names q_proj, which no layer is called'),
        ('--lora-target-modules linear_qkv --lora-r 0', "'0' must be a whole number of at least 1."),
        (
            '--lora-target-modules linear_qkv --lora-dropout 0.1',
            '--lora-dropout is 0.1: the CPU trainer has no dropout',
        ),
        ('--lora-apply-modules text_decoder', '--lora-apply-modules is refused: MindSpeed MM reads it nowhere'),
        ('--train-iters 0', "'0' must be a whole number of at least 1."),
    ],
)
def test_a_command_line_that_cannot_work_is_refused(extra: str, says: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_args([*LINE, *extra.split()], dist_train_allowed=True)
    assert says in str(refusal.value)
    assert refusal.value.exit_code == 2


def test_a_misspelt_flag_is_named_even_when_it_leaves_a_required_one_missing() -> None:
    with pytest.raises(UsageError, match='--mm-dta is not a flag .* the nearest known one is --mm-data.'):
        parse_args(['--mm-dta', 'd', *LINE[2:]], dist_train_allowed=True)


def test_flags_of_the_real_launch_script_are_accepted_and_listed() -> None:
    real = (
        '--tensor-model-parallel-size 1 --pipeline-model-parallel-size 4 --context-parallel-size 1 --tokenizer-type '
        'NullTokenizer --vocab-size 151674 --position-embedding-type rope --rotary-base 1000000 --swiglu '
        '--no-masked-softmax-fusion --min-lr 0.0 --lr-decay-style cosine --weight-decay 0.05 --clip-grad 1.0 '
        '--adam-beta1 0.9 --adam-beta2 0.999 --no-gradient-accumulation-fusion --no-load-optim --no-load-rng '
        '--no-save-optim --no-save-rng --use-distributed-optimizer --use-flash-attn --bf16 --load ckpt '
        '--variable-seq-lengths --normalization RMSNorm --num-workers 4 --mm-tool tools.json --log-interval 1 '
        '--save-interval 5000 --eval-interval 5000 --eval-iters 5000 --save save_dir --ckpt-format torch'
    )
    args = parse_args([*LINE, *real.split()], dist_train_allowed=False)
    assert '--bf16' in args.ignored and '--eval-iters' in args.ignored
    assert not {'--variable-seq-lengths', '--weight-decay', '--save'} & set(args.ignored)
    assert args.no_load_optim and args.pipeline_model_parallel_size == 4


@pytest.mark.parametrize(
    ('config', 'says'),
    [
        ({**dist_config(1, 1), 'world_index': 0}, "Get unexpected keywords ['world_index']"),
        ({**dist_config(1, 1), 'model_name': 'internvl3'}, "'internvl3' is not supported; InternVL is 'internvl2'."),
        (dist_config(2, 2), 'The sum of world_size in dist_config is 2 + 2, torchrun started 3 ranks'),
        (dist_config(1, 2), 'without main_dp on one of them they must be equal.'),
        (dist_config(2, 3, main='gpt'), 'one number must divide the other.'),
        (dist_config(1, 2, 2), 'text_decoder.pipeline_num_layers is [2], the pipeline size is 2'),
        (None, '--dist-train needs a dist_config object'),
    ],
)
def test_a_dist_config_that_mindspeed_would_refuse_is_refused(config: dict | None, says: str) -> None:
    with pytest.raises(UsageError) as refusal:
        build_topology(ModelConfig.from_dict(model_json(dist_config=config)), 3, 1, dist_train=True)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ('vit', 'llm', 'says'),
    [
        ([1, 1], [0, 1, 1], 'differ in length'),
        ([2, 0, 0], [0, 0, 2], 'Pipeline stage 1 has no layer'),
        ([1, 1], [1, 1], 'the vision layers must end first.'),
    ],
)
def test_a_pipeline_that_cannot_flow_is_refused(vit: list[int], llm: list[int], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        plan_stages(vit, llm)


def test_a_rank_that_refuses_exits_with_2_and_one_sentence(tmp_path: Path, task: Path) -> None:
    result = Job(tmp_path, task, model_json(), 1, ('--tensor-model-parallel-size', '2')).start().finish()
    assert result.code == 2
    assert result.out == (
        '[Rank 0] error: --tensor-model-parallel-size is 2: the CPU trainer splits no tensor and no sequence, '
        'so it must be 1.\n'
    )


def test_a_stage_with_nothing_to_train_is_refused(tmp_path: Path, task: Path) -> None:
    model = model_json(text={'freeze': True}, dist_config=dist_config(1, 1))
    result = Job(tmp_path, task, model, 2).start().finish()
    assert result.code == 2
    assert 'Pipeline stage 1 has only frozen parameters; unfreeze one of its modules.' in result.out


def own_task(folder: Path, *rows: dict) -> Path:
    """A task with further rows at its end; returns `data.json`."""
    path = write_task(folder)
    with (folder / 'train.jsonl').open('a') as file:
        file.write(''.join(json.dumps(row) + '\n' for row in rows))
    return path


def test_a_sample_longer_than_seq_length_is_named_and_never_cut(tmp_path: Path) -> None:
    data = own_task(tmp_path / 'task', row_of('long-one', '0.png', 'red ' * 60))
    result = Job(tmp_path / 'run', data, model_json(dist_config=dist_config(1, 1)), 2).start().finish()
    assert result.code == 1
    assert "Sample 'long-one' has " in result.out
    assert 'tokens, --seq-length is 40: raise it or drop the sample; it is never cut.' in result.out


def test_an_image_that_cannot_be_read_stops_the_run_and_names_the_sample(tmp_path: Path) -> None:
    data = own_task(tmp_path / 'task')
    for image in (tmp_path / 'task' / 'images').iterdir():
        image.write_bytes(image.read_bytes()[:60])
    result = Job(tmp_path / 'run', data, model_json(dist_config=dist_config(1, 1)), 2).start().finish()
    assert result.code == 1
    assert 'this trainer never puts another sample in its place.' in result.out
    assert not result.metrics


@pytest.mark.parametrize(
    ('row', 'says'),
    [
        (row_of('gone', 'nowhere.png', 'red'), "Sample 'gone': its image "),
        ({**row_of('text', '', 'red'), 'image': None}, "Sample 'text' of "),
    ],
)
def test_a_row_without_its_image_is_named_before_training(tmp_path: Path, row: dict, says: str) -> None:
    data = own_task(tmp_path / 'task', row)
    with pytest.raises(TrainerError, match=says):
        Dataset(data, ModelConfig.from_dict(model_json())).check_images()


def test_a_data_set_smaller_than_a_global_batch_is_refused(task: Path) -> None:
    dataset = Dataset(task, ModelConfig.from_dict(model_json()))
    with pytest.raises(UsageError, match='The data set has 40 samples, fewer than one --global-batch-size of 64.'):
        Batches(dataset, 64, 4, 40, variable=False)


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ({'dynamic_image_size': True}, 'the CPU trainer takes one tile per image'),
        ({'image_size': 448}, 'image_size is 448, model.json says 28'),
        ({'template_name': 'qwen2vl'}, 'only internvl2_5 is built'),
    ],
)
def test_a_data_json_that_does_not_fit_the_model_is_refused(
    tmp_path: Path, task: Path, change: dict, says: str
) -> None:
    shutil.copytree(task.parent, tmp_path / 'task')
    with pytest.raises(UsageError, match=says):
        Dataset(write_data_json(tmp_path / 'task', **change), ModelConfig.from_dict(model_json()))


def test_another_image_token_than_the_tokenizers_is_refused(task: Path) -> None:
    with pytest.raises(UsageError, match='images would never be seen'):
        Dataset(task, ModelConfig.from_dict(model_json(img_context_token_id=7)))
