"""Tiny random InternVL models for the converter's tests: heads and vocabulary chosen not to divide evenly."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from anneal_trainer.mm_convert import main
from anneal_trainer.tensors import weights_digest

torch.set_num_threads(1)


@dataclass(frozen=True)
class Tiny:
    """Sizes of a model; the defaults are those of the run in which the layout of the real converter was recorded."""

    architecture: str = 'Qwen2ForCausalLM'
    hidden: int = 64
    heads: int = 8
    groups: int = 4
    feed: int = 96
    vocabulary: int = 160
    layers: int = 4
    vision_hidden: int = 48
    vision_heads: int = 6
    vision_feed: int = 64
    vision_layers: int = 3
    vision_norms: bool = False  # InternViT-6B: q and k norms, no qkv bias
    tied: bool = False
    dtype: torch.dtype = torch.bfloat16


UNEVEN = Tiny(vocabulary=347)


def tensors_of(tiny: Tiny) -> dict[str, Tensor]:
    """Tensors under the names of the original layout; a pure function of name and position, equal on every machine."""
    shapes = _vision(tiny) | _projector(tiny) | _text(tiny)
    made = {name: _values(name, shape).to(tiny.dtype) for name, shape in shapes.items()}
    # one tensor in another dtype: a converter must not unify them
    made['mlp1.0.weight'] = made['mlp1.0.weight'].float()
    return made


def _values(name: str, shape: tuple[int, ...]) -> Tensor:
    """Values that look random and that every dtype of the tests holds exactly: 256 steps of 1/16."""
    mixed = (torch.arange(prod(shape), dtype=torch.int64) + zlib.crc32(name.encode())) * 2654435761 % 2**32
    mixed = (mixed ^ (mixed >> 15)) * 2246822519 % 2**32
    return ((mixed >> 24).float() - 128).div(16).reshape(shape)


def _vision(tiny: Tiny) -> dict[str, tuple[int, ...]]:
    width, feed = tiny.vision_hidden, tiny.vision_feed
    root = 'vision_model.embeddings.'
    shapes: dict[str, tuple[int, ...]] = {
        f'{root}class_embedding': (1, 1, width),
        f'{root}position_embedding': (1, 5, width),
        f'{root}patch_embedding.weight': (width, 3, 2, 2),
        f'{root}patch_embedding.bias': (width,),
    }
    for number in range(tiny.vision_layers):
        at = f'vision_model.encoder.layers.{number}.'
        shapes |= {f'{at}ls1': (width,), f'{at}ls2': (width,)}
        shapes |= {f'{at}attn.qkv.weight': (3 * width, width), f'{at}attn.proj.weight': (width, width)}
        shapes |= {f'{at}mlp.fc1.weight': (feed, width), f'{at}mlp.fc2.weight': (width, feed)}
        shapes |= {f'{at}mlp.fc1.bias': (feed,)}
        shapes |= {f'{at}{name}.bias': (width,) for name in ('attn.proj', 'mlp.fc2')}
        shapes |= {f'{at}{name}.weight': (width,) for name in ('norm1', 'norm2')}
        if tiny.vision_norms:
            shapes |= {f'{at}attn.{name}.weight': (width,) for name in ('q_norm', 'k_norm')}
        else:
            shapes |= {f'{at}attn.qkv.bias': (3 * width,), f'{at}norm1.bias': (width,), f'{at}norm2.bias': (width,)}
    return shapes


def _projector(tiny: Tiny) -> dict[str, tuple[int, ...]]:
    wide = 4 * tiny.vision_hidden
    return {
        'mlp1.0.weight': (wide,),
        'mlp1.0.bias': (wide,),
        'mlp1.1.weight': (tiny.hidden, wide),
        'mlp1.1.bias': (tiny.hidden,),
        'mlp1.3.weight': (tiny.hidden, tiny.hidden),
        'mlp1.3.bias': (tiny.hidden,),
    }


def _text(tiny: Tiny) -> dict[str, tuple[int, ...]]:
    hidden, head = tiny.hidden, tiny.hidden // tiny.heads
    second = tiny.architecture == 'InternLM2ForCausalLM'
    top = ('tok_embeddings', 'output') if second else ('embed_tokens', 'lm_head')
    shapes: dict[str, tuple[int, ...]] = {
        f'language_model.model.{top[0]}.weight': (tiny.vocabulary, hidden),
        'language_model.model.norm.weight': (hidden,),
    }
    if not tiny.tied:
        shapes[f'language_model.{top[1]}.weight'] = (tiny.vocabulary, hidden)
    rows = {'q': tiny.heads * head, 'k': tiny.groups * head, 'v': tiny.groups * head}
    for number in range(tiny.layers):
        at = f'language_model.model.layers.{number}.'
        if second:
            names = ('attention.wo', 'feed_forward.w1', 'feed_forward.w3', 'feed_forward.w2')
            names += ('attention_norm', 'ffn_norm')
            shapes[f'{at}attention.wqkv.weight'] = (sum(rows.values()), hidden)
        else:
            names = ('self_attn.o_proj', 'mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj')
            names += ('input_layernorm', 'post_attention_layernorm')
            shapes |= {f'{at}self_attn.{part}_proj.weight': (size, hidden) for part, size in rows.items()}
            if tiny.architecture == 'Qwen2ForCausalLM':
                shapes |= {f'{at}self_attn.{part}_proj.bias': (size,) for part, size in rows.items()}
        sizes = ((hidden, hidden), (tiny.feed, hidden), (tiny.feed, hidden), (hidden, tiny.feed), (hidden,), (hidden,))
        shapes |= {f'{at}{name}.weight': size for name, size in zip(names, sizes, strict=True)}
    return shapes


def write_model(folder: Path, tiny: Tiny = UNEVEN, shards: int = 1) -> dict[str, Tensor]:
    """Writes the model, with an index where it has several shards, and two of the files that lie beside weights."""
    folder.mkdir(parents=True)
    made = tensors_of(tiny)
    config = {
        'architectures': ['InternVLChatModel'],
        'llm_config': {
            'architectures': [tiny.architecture],
            'hidden_size': tiny.hidden,
            'num_attention_heads': tiny.heads,
            'num_key_value_heads': tiny.groups,
            'num_hidden_layers': tiny.layers,
            'tie_word_embeddings': tiny.tied,
        },
        'vision_config': {'num_attention_heads': tiny.vision_heads, 'num_hidden_layers': tiny.vision_layers},
    }
    (folder / 'config.json').write_text(json.dumps(config))
    (folder / 'assets').mkdir()
    (folder / 'assets' / 'note.txt').write_text('kept')
    if shards == 1:
        save_file(made, folder / 'model.safetensors', metadata={'format': 'pt'})
        return made
    names = list(made)
    weight_map: dict[str, str] = {}
    for number in range(shards):
        file = f'model-{number + 1:05d}-of-{shards:05d}.safetensors'
        part = names[number::shards]
        save_file({name: made[name] for name in part}, folder / file, metadata={'format': 'pt'})
        weight_map |= dict.fromkeys(part, file)
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'metadata': {}, 'weight_map': weight_map}))
    return made


@dataclass(frozen=True)
class Layout:
    """One layout as the command line takes it."""

    llm: list[list[int]]
    vit: list[list[int]]
    tp: int = 1
    vit_tp: int = 0

    def options(self, flat: bool, prefix: str = 'parallel_config') -> list[str]:
        """`flat`: a single row is given as one list, as mm_to_hf and resplit want it."""
        lists = [rows[0] if flat and len(rows) == 1 else rows for rows in (self.llm, self.vit)]
        return [
            *(f'--cfg.{prefix}.llm_pp_layers', json.dumps(lists[0])),
            *(f'--cfg.{prefix}.vit_pp_layers', json.dumps(lists[1])),
            *(f'--cfg.{prefix}.tp_size', str(self.tp)),
            *(f'--cfg.{prefix}.vit_tp_size', str(self.vit_tp)),
        ]


def hf_to_mm(hf: Path, mm: Path, layout: Layout) -> int:
    options = ['--cfg.mm_dir', str(mm), '--cfg.hf_config.hf_dir', str(hf), *layout.options(flat=False)]
    return main(['InternVLConverter', 'hf_to_mm', *options, '--cfg.trust_remote_code', 'True'])


def mm_to_hf(mm: Path, hf: Path, save: Path, layout: Layout) -> int:
    options = ['--cfg.mm_dir', str(mm), '--cfg.hf_config.hf_dir', str(hf), '--cfg.save_hf_dir', str(save)]
    return main(['InternVLConverter', 'mm_to_hf', *options, *layout.options(flat=True)])


def load_rank(mm: Path, rank: str, folder: str = 'release') -> dict:
    """The payload of a rank as any other reader of Megatron's layout loads it."""
    return torch.load(mm / folder / rank / 'model_optim_rng.pt', weights_only=True)


def fingerprint(mm: Path) -> str:
    """SHA-256 over rank, chunk, name, dtype, shape and bytes of every tensor of a converted checkpoint."""
    total = hashlib.sha256()
    for rank in sorted(path.name for path in (mm / 'release').iterdir()):
        for chunk, entries in sorted(load_rank(mm, rank).items()):
            if not isinstance(entries, dict):
                total.update(f'{rank} {chunk} {entries}'.encode())
                continue
            for name, value in sorted(entries.items()):
                total.update(f'{rank} {chunk} {name} {value.dtype} {list(value.shape)}'.encode())
                total.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def same_weights(first: Path, second: Path) -> bool:
    return weights_digest(first) == weights_digest(second)


ONE = Layout([[4]], [[3]])
LAYOUTS = {
    'one rank': ONE,
    'PP2': Layout([[2, 2]], [[3, 0]]),
    'uneven PP4 with stages without layers': Layout([[0, 1, 3, 0]], [[1, 2, 0, 0]]),
    'TP2': Layout([[4]], [[3]], tp=2),
    'TP4 of six vision heads': Layout([[4]], [[3]], tp=4),
    'TP4 and uneven PP2': Layout([[1, 3]], [[2, 1]], tp=4),
    'two virtual stages of PP2': Layout([[0, 1], [2, 1]], [[2, 1], [0, 0]]),
    'three virtual stages of PP2 with TP2': Layout([[0, 0], [1, 2], [1, 0]], [[1, 1], [1, 0], [0, 0]], tp=2),
    'vision TP1 beside language TP4': Layout([[4]], [[3]], tp=4, vit_tp=1),
    'vision TP4 beside language TP2': Layout([[2, 2]], [[1, 2]], tp=2, vit_tp=4),
}
