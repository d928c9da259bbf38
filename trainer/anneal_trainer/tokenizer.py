"""Train the tiny model's tokenizer: byte-level BPE on the text of both tasks, with InternVL's special tokens.

Every text can be written with it (bytes are its alphabet); only the tasks' words are short. The same input gives the
same file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

# The order gives the ids: <|endoftext|> is 0 and <IMG_CONTEXT> is 4, as the engine's preset `internvl3-tiny` says.
SPECIAL_TOKENS = ('<|endoftext|>', '<|im_start|>', '<|im_end|>', '<img>', '<IMG_CONTEXT>', '</img>')
VOCAB_SIZE = 384
MAX_LENGTH = 512


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Return a tokenizer whose vocabulary has at most VOCAB_SIZE tokens, the special ones first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # Each distinct text counts alike: the order and the number of rows must not show in the file.
    distinct = sorted(set(texts))
    tokenizer.train_from_iterator(distinct * 2, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and the tokenizer_config.json that transformers reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / 'tokenizer.json'))
    config = {
        'tokenizer_class': 'PreTrainedTokenizerFast',
        'bos_token': None,
        'eos_token': '<|im_end|>',
        'pad_token': '<|endoftext|>',
        'unk_token': None,
        'additional_special_tokens': list(SPECIAL_TOKENS[1:]),
        'clean_up_tokenization_spaces': False,
        'model_max_length': MAX_LENGTH,
    }
    (folder / 'tokenizer_config.json').write_text(json.dumps(config, indent=2) + '\n', encoding='utf-8')
