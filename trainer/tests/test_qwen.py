"""Qwen2.5-VL: rows as its data.json reads them, tokens as transformers counts them, a judge that is its own class."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessor

from anneal_trainer.evaluate import MAX_NEW_TOKENS, evaluate
from anneal_trainer.prepare import main as prepare
from anneal_trainer.prepare_rows import RowFault, check_row
from anneal_trainer.prepare_templates import TEMPLATES
from anneal_trainer.qwen_text import QwenChat, image_tokens, read_processor, scaled, straightened

MOST_PIXELS = 262144
SPECIAL = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|vision_start|>', '<|vision_end|>', '<|image_pad|>']
torch.set_num_threads(1)


def write_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(text, special=True, normalized=False) for text in SPECIAL]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(['You are a helpful assistant.', 'user', 'system', 'Which colour?'] * 4, trainer)
    tokenizer.save(str(folder / 'tokenizer.json'))


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2.5-VL with random weights: windows of 2 x 2 tokens, full attention in every second layer."""
    folder = tmp_path_factory.mktemp('qwen')
    write_tokenizer(folder)
    torch.manual_seed(1)
    text = {
        'hidden_size': 64, 'num_hidden_layers': 2, 'intermediate_size': 96, 'num_attention_heads': 4,
        'num_key_value_heads': 2, 'vocab_size': 300,
        'rope_parameters': {'rope_type': 'default', 'rope_theta': 10000.0, 'mrope_section': [2, 3, 3]},
    }  # fmt: skip
    vision = {
        'depth': 4, 'hidden_size': 32, 'intermediate_size': 40, 'num_heads': 4, 'out_hidden_size': 64,
        'fullatt_block_indexes': [1, 3], 'window_size': 56,
    }  # fmt: skip
    tokens = {'image_token_id': 5, 'vision_start_token_id': 3, 'vision_end_token_id': 4, 'video_token_id': 299}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **tokens)
    made = Qwen2_5_VLForConditionalGeneration(config)
    with torch.no_grad():  # or every answer would be one and the same token
        for parameter in made.parameters():
            parameter.mul_(3)
    made.save_pretrained(folder)
    Qwen2VLImageProcessor().save_pretrained(folder)
    return folder


def picture(path: Path, size: tuple[int, int] = (60, 40), shade: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, shade).convert('RGB').save(path)


def row(number: int, image: Any, question: str = '<image>\nWhich colour?', **changes: Any) -> dict[str, Any]:
    turns = [{'from': 'human', 'value': question}, {'from': 'gpt', 'value': 'red'}]
    return {'id': number, 'image': image, 'conversations': turns} | changes


def write_source(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / 'playground/opensource/d_rows.jsonl'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(one) + '\n' for one in rows))
    return folder


def run(source: Path, out: Path, model: Path, length: int = 400) -> int:
    where = ['--source', str(source), '--out', str(out), '--tokenizer', str(model), '--report', f'{out}.report']
    limits = ['--seq-length', str(length), '--image-max-pixels', str(MOST_PIXELS), '--max-bad-rows', '9']
    return prepare([*where, '--template', 'qwen2vl', *limits])


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


SIZES = [(60, 40), (1, 1), (27, 3000), (5000, 20), (640, 480), (1920, 1080), (4000, 3000), (512, 512), (42, 6241)]


def test_an_image_has_as_many_tokens_as_the_processor_of_the_model_makes(model: Path) -> None:
    processor, images = read_processor(model), Qwen2VLImageProcessor.from_pretrained(model)
    rng = random.Random(3)
    for size in [*SIZES, *((rng.randint(1, 900), rng.randint(1, 900)) for _ in range(60))]:
        small = scaled(size, MOST_PIXELS)
        shown = Image.new('RGB', [small, *straightened(small)][-1])
        grid = images([shown], return_tensors='pt')['image_grid_thw'][0]
        assert image_tokens(size, MOST_PIXELS, processor) == int(grid.prod()) // 4, size
        assert image_tokens(size, MOST_PIXELS, processor) <= 446, size  # what the engine's rules take for the most


def test_rows_for_training_have_one_type_a_column_and_held_out_ones_stay_as_they_are(
    tmp_path: Path, model: Path
) -> None:
    rows = []
    for number in range(12):
        picture(tmp_path / f'source/playground/data/{number}.png', (60, 40 + number))
        rows.append(row(number, f'{number}.png'))
    pair = '<image> <image>\nWhich colour?'
    rows.append(row(99, ['0.png', '1.png'], pair))
    assert run(write_source(tmp_path / 'source', rows), tmp_path / 'out', model) == 0
    train, heldout = (read(tmp_path / f'out/{side}.jsonl') for side in ('train', 'heldout'))
    assert len(train) + len(heldout) == 13
    assert heldout
    for one in train:
        assert set(one) == {'images', 'messages'}
        assert all((tmp_path / 'out/images' / image).is_file() for image in one['images'])
        assert [turn['role'] for turn in one['messages']] == ['user', 'assistant']
        assert one['messages'][0]['content'].count('<image>') == len(one['images'])
    assert all('conversations' in one for one in heldout)


def test_rows_of_llama_factory_are_read_as_those_of_internvl(tmp_path: Path, model: Path) -> None:
    mine, theirs = [], []
    for number in range(6):
        for source in ('mine', 'theirs'):
            picture(tmp_path / source / f'playground/data/{number}.png', (60, 40 + number), shade=number)
        mine.append(row(number, f'{number}.png'))
        turns = [('user', '<image>\nWhich colour?'), ('assistant', 'red')]
        messages = [{'role': role, 'content': content} for role, content in turns]
        theirs.append({'images': [f'./{number}.png'], 'messages': messages})
    for name, rows in (('mine', mine), ('theirs', theirs)):
        assert run(write_source(tmp_path / name, rows), tmp_path / f'{name}-out', model) == 0
    assert read(tmp_path / 'theirs-out/train.jsonl') == read(tmp_path / 'mine-out/train.jsonl')


@pytest.mark.parametrize(
    ('reason', 'value'),
    [
        ('reserved-text', row(1, 'a.png', '<image>\nWhich <video>?')),
        ('reserved-text', row(1, 'a.png', '<image>\nWhich <|image_pad|>?')),
        ('text-only', {'images': [], 'messages': [{'role': 'user', 'content': 'Hello?'}]}),
        ('video', {'videos': ['a.mp4'], 'messages': [{'role': 'user', 'content': '<video>'}]}),
        ('conversations', {'images': ['a.png'], 'messages': [{'role': 'tool', 'content': '<image>'}]}),
        ('conversations', {'images': ['a.png'], 'messages': ['<image>']}),
        (
            'system-turn',
            row(
                1, 'a.png', conversations=[{'from': 'system', 'value': 'Be brief.'}, *row(1, 'a.png')['conversations']]
            ),
        ),
    ],
)
def test_a_row_that_would_end_the_training_is_a_fault(reason: str, value: dict[str, Any]) -> None:
    with pytest.raises(RowFault) as fault:
        check_row('d', 1, value, template=TEMPLATES['qwen2vl'])
    assert fault.value.reason == reason


def test_a_row_is_as_long_as_its_image_makes_it(tmp_path: Path, model: Path) -> None:
    picture(tmp_path / 'source/playground/data/small.png', (56, 56))
    picture(tmp_path / 'source/playground/data/large.png', (560, 448))
    source = write_source(tmp_path / 'source', [row(0, 'small.png'), row(1, 'large.png'), row(2, 'small.png')])
    chat = QwenChat(model)
    text = len(chat.prompt('<image>\nWhich colour?')) + len(chat.answer('red')) - 1
    prepare_at = ['--heldout-fraction', '0']
    for length, bad in ((text + 320, 0), (text + 319, 1), (text + 3, None)):
        out = tmp_path / f'out-{length}'
        where = ['--source', str(source), '--out', str(out), '--tokenizer', str(model), '--seq-length', str(length)]
        code = prepare([*where, '--template', 'qwen2vl', '--image-max-pixels', str(MOST_PIXELS), *prepare_at])
        assert code == (3 if bad is None else 0)
        if bad is not None:
            assert json.loads((out / 'summary.json').read_text())['rows']['bad'] == bad


def greedy(model: Path, question: str, image: Path) -> str:
    """The same answer by plain forward passes over the whole sequence, with nothing of the judge's own."""
    made = Qwen2_5_VLForConditionalGeneration.from_pretrained(model).float().eval()
    seen = Qwen2VLImageProcessor.from_pretrained(model)([Image.open(image).convert('RGB')], return_tensors='pt')
    tokenizer = Tokenizer.from_file(str(model / 'tokenizer.json'))
    pads = '<|image_pad|>' * (int(seen['image_grid_thw'].prod()) // 4)
    text = (
        '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n'
        f'<|im_start|>user\n<|vision_start|>{pads}<|vision_end|>{question}<|im_end|>\n<|im_start|>assistant\n'
    )
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    new: list[int] = []
    with torch.no_grad():
        while len(new) < MAX_NEW_TOKENS and 2 not in new:
            tensor = torch.tensor([ids + new])
            logits = made(input_ids=tensor, attention_mask=torch.ones_like(tensor), **seen, use_cache=False).logits
            new.append(int(logits[0, -1].argmax()))
    return tokenizer.decode([token for token in new if token != 2], skip_special_tokens=True).strip()


def test_the_judge_answers_as_the_model_does(tmp_path: Path, model: Path) -> None:
    rows = []
    for number in range(3):
        picture(tmp_path / f'images/{number}.png', (60 + 30 * number, 40), shade=40 * number)
        rows.append(row(number, f'{number}.png'))
    (tmp_path / 'heldout.jsonl').write_text(''.join(json.dumps(one) + '\n' for one in rows))
    result = evaluate(model, tmp_path / 'heldout.jsonl', tmp_path / 'images', image_max_pixels=MOST_PIXELS)
    expected = [greedy(model, '\nWhich colour?', tmp_path / f'images/{number}.png') for number in range(3)]
    assert [example['predicted'] for example in result['examples']] == expected
    assert any(expected)
    assert result['samples'] == 3
