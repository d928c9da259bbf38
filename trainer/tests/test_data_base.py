"""The committed base model: its files are those that the recipe writes, small, complete, and in the original layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anneal_trainer.base_folder import write_skeleton
from anneal_trainer.digits import build_rows
from anneal_trainer.errors import UsageError
from anneal_trainer.hf_config import image_token_id, read_hf_config
from anneal_trainer.hf_load import load_model
from anneal_trainer.tensors import describe_digest, list_hf
from anneal_trainer.text import ChatEncoder
from anneal_trainer.tokenizer import SPECIAL_TOKENS

BASE = Path(__file__).resolve().parent.parent / 'base' / 'internvl3-tiny'


def test_configuration_tokenizer_and_names_are_what_the_recipe_writes(tmp_path: Path) -> None:
    write_skeleton(tmp_path / 'again')
    written = sorted(path.name for path in (tmp_path / 'again').iterdir())
    assert written == [
        'config.json',
        'model.safetensors.index.json',
        'preprocessor_config.json',
        'tokenizer.json',
        'tokenizer_config.json',
    ]
    for name in written:
        assert (tmp_path / 'again' / name).read_bytes() == (BASE / name).read_bytes(), name


def test_the_weights_are_small_complete_and_those_that_the_card_describes() -> None:
    assert (BASE / 'model.safetensors').stat().st_size < 1.5e6
    facts = describe_digest(BASE)
    assert facts['parameters'] == sum(parameter.numel() for parameter in load_model(BASE).parameters())
    assert facts['digest'] == json.loads((BASE / 'results.json').read_text())['weights_digest']
    assert facts['digest'] in (BASE / 'README.md').read_text()
    names = {tensor['name'] for file in list_hf(BASE)['files'] for tensor in file['tensors']}
    index = json.loads((BASE / 'model.safetensors.index.json').read_text())
    assert names == index['weight_map'].keys()
    assert index['metadata']['total_size'] == 4 * facts['parameters']
    assert {name.split('.')[0] for name in names} == {'vision_model', 'mlp1', 'language_model'}


def test_it_holds_no_code_and_names_none() -> None:
    assert not [path for path in BASE.rglob('*') if path.suffix in ('.py', '.bin', '.pt', '.pkl')]
    assert 'auto_map' not in json.loads((BASE / 'config.json').read_text())


def test_it_is_an_internvl_chat_model_over_qwen2_with_a_head_of_its_own() -> None:
    config = json.loads((BASE / 'config.json').read_text())
    assert config['architectures'] == ['InternVLChatModel']
    assert config['llm_config']['architectures'] == ['Qwen2ForCausalLM']
    assert (config['template'], config['ps_version'], config['select_layer']) == ('internvl2_5', 'v2', -1)
    assert config['tie_word_embeddings'] is False
    assert read_hf_config(BASE).tokens_per_image == 4


def test_the_tokenizer_reads_back_every_text_and_keeps_special_tokens_whole() -> None:
    encoder = ChatEncoder(BASE, 4)
    for text in ('Which digit is this?', 'Привет, 世界 🙂\n\ttab', 'top left'):
        assert encoder.decode(encoder.tokenizer.encode(text).ids) == text
    assert [encoder.tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == list(range(6))
    assert image_token_id(BASE) == 4
    longest = max(len(encoder.encode_sample(row).ids) for task in ('vqa', 'ink') for row in build_rows(task))
    assert longest <= 48


def test_another_kind_of_model_is_refused_by_the_key_that_tells(tmp_path: Path) -> None:
    config = json.loads((BASE / 'config.json').read_text())
    (tmp_path / 'tokenizer.json').write_bytes((BASE / 'tokenizer.json').read_bytes())
    for change, part in (
        ({'architectures': ['LlavaForConditionalGeneration']}, 'only the original layout'),
        (
            {'llm_config': config['llm_config'] | {'architectures': ['InternLM2ForCausalLM']}},
            'llm_config.architectures',
        ),
    ):
        (tmp_path / 'config.json').write_text(json.dumps(config | change))
        with pytest.raises(UsageError, match=part):
            read_hf_config(tmp_path)
