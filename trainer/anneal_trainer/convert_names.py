"""Names of InternVL's tensors: Hugging Face's original layout (InternVLChatModel) and MindSpeed MM's.

One MM tensor comes from one Hugging Face tensor, or from several *parts* (`q`, `k`, `v` or `gate`, `up`). Both
directions are read from the same tables, so that a name cannot be renamed one way only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .hf_files import ConvertError, shorten

IMAGE = 'image_encoder'
TEXT = 'text_decoder'
LAYERS = {IMAGE: 'image_encoder.encoder.encoder.layers.', TEXT: 'text_decoder.decoder.layers.'}
EMBEDDING = 'text_decoder.embedding.word_embeddings.weight'
OUTPUT = 'text_decoder.output_layer.weight'

QKV = 'self_attention.linear_qkv'
PROJ = 'self_attention.linear_proj'
FC1 = 'mlp.linear_fc1'
FC2 = 'mlp.linear_fc2'
NORM1 = 'input_layernorm'
NORM2 = 'pre_mlp_layernorm'

VISION_LAYER = {
    'attn.qkv': QKV, 'attn.proj': PROJ, 'attn.q_norm': 'self_attention.q_layernorm',
    'attn.k_norm': 'self_attention.k_layernorm', 'mlp.fc1': FC1, 'mlp.fc2': FC2, 'norm1': NORM1, 'norm2': NORM2,
    'ls1': 'ls1', 'ls2': 'ls2',
}  # fmt: skip
VISION_REST = {
    'vision_model.embeddings.class_embedding': 'image_encoder.encoder.embeddings.class_embedding',
    'vision_model.embeddings.position_embedding': 'image_encoder.encoder.embeddings.position_embedding',
    'vision_model.embeddings.patch_embedding': 'image_encoder.encoder.embeddings.patch_embedding',
    'mlp1.0': 'image_encoder.projector.norm',
    'mlp1.1': 'image_encoder.projector.linear_fc1',
    'mlp1.3': 'image_encoder.projector.linear_fc2',
}


@dataclass(frozen=True)
class TextNames:
    """How one language model family names its tensors below `language_model.`; parts are (module, part)."""

    embedding: str
    norm: str
    head: str
    layer: dict[str, tuple[str, str]]


_LLAMA = TextNames(
    embedding='model.embed_tokens',
    norm='model.norm',
    head='lm_head',
    layer={
        'self_attn.q_proj': (QKV, 'q'), 'self_attn.k_proj': (QKV, 'k'), 'self_attn.v_proj': (QKV, 'v'),
        'self_attn.o_proj': (PROJ, ''), 'mlp.gate_proj': (FC1, 'gate'), 'mlp.up_proj': (FC1, 'up'),
        'mlp.down_proj': (FC2, ''), 'input_layernorm': (NORM1, ''), 'post_attention_layernorm': (NORM2, ''),
    },
)  # fmt: skip
_INTERNLM2 = TextNames(
    embedding='model.tok_embeddings',
    norm='model.norm',
    head='output',
    layer={
        # wqkv is stored per query group already, exactly as MM wants it
        'attention.wqkv': (QKV, ''), 'attention.wo': (PROJ, ''), 'feed_forward.w1': (FC1, 'gate'),
        'feed_forward.w3': (FC1, 'up'), 'feed_forward.w2': (FC2, ''), 'attention_norm': (NORM1, ''),
        'ffn_norm': (NORM2, ''),
    },
)  # fmt: skip
TEXT_NAMES = {'Qwen2ForCausalLM': _LLAMA, 'LlamaForCausalLM': _LLAMA, 'InternLM2ForCausalLM': _INTERNLM2}
PART_ORDER = ('q', 'k', 'v', 'gate', 'up', '')

_VISION_LAYER_NAME = re.compile(r'vision_model\.encoder\.layers\.(\d+)\.(.+)')
_TEXT_LAYER_NAME = re.compile(r'language_model\.model\.layers\.(\d+)\.(.+)')


@dataclass(frozen=True)
class Place:
    """Where a Hugging Face tensor goes: the MM tensor `name`, as its `part` ('' = the whole of it)."""

    name: str
    part: str


def text_names(architecture: str) -> TextNames:
    """The tables of a language model class; raises ConvertError for one that InternVL 2, 2.5 and 3 do not use."""
    if architecture not in TEXT_NAMES:
        known = ', '.join(TEXT_NAMES)
        raise ConvertError(
            f'llm_config.architectures names {architecture!r}, which this converter does not know: {known}.'
        )
    return TEXT_NAMES[architecture]


def place_of(hf_name: str, names: TextNames) -> Place:
    """The MM place of a Hugging Face tensor; raises ConvertError for a name that is none of InternVL's."""
    place = _vision_place(hf_name) if not hf_name.startswith('language_model.') else _text_place(hf_name, names)
    if place is None:
        raise ConvertError(
            f'Tensor {hf_name} is none of InternVL (original layout, InternVLChatModel): wrong model folder?'
        )
    return place


def _vision_place(hf_name: str) -> Place | None:
    match = _VISION_LAYER_NAME.fullmatch(hf_name)
    if match:
        module, leaf = _cut(match[2])
        target = VISION_LAYER.get(module)
        return Place(f'{LAYERS[IMAGE]}{match[1]}.{target}{leaf}', '') if target else None
    module, leaf = _cut(hf_name)
    return Place(VISION_REST[module] + leaf, '') if module in VISION_REST else None


def _text_place(hf_name: str, names: TextNames) -> Place | None:
    match = _TEXT_LAYER_NAME.fullmatch(hf_name)
    if match:
        module, leaf = _cut(match[2])
        if module not in names.layer:
            return None
        target, part = names.layer[module]
        return Place(f'{LAYERS[TEXT]}{match[1]}.{target}{leaf}', part)
    module, leaf = _cut(hf_name.removeprefix('language_model.'))
    rest = {
        names.embedding: 'text_decoder.embedding.word_embeddings',
        names.norm: 'text_decoder.decoder.final_layernorm',
        names.head: 'text_decoder.output_layer',
    }
    return Place(rest[module] + leaf, '') if module in rest else None


def _cut(name: str) -> tuple[str, str]:
    """Module and leaf, as ('attn.qkv', '.weight'); a parameter without such a leaf (ls1) has an empty one."""
    for leaf in ('.weight', '.bias'):
        if name.endswith(leaf):
            return name.removesuffix(leaf), leaf
    return name, ''


def layer_of(mm_name: str) -> tuple[str, int, str] | None:
    """(module, layer number, rest) of an MM tensor inside a layer, None for one outside; 'rest' has no leading dot."""
    for module, prefix in LAYERS.items():
        if mm_name.startswith(prefix):
            number, _, rest = mm_name.removeprefix(prefix).partition('.')
            return module, int(number), rest
    return None


def module_of(mm_name: str) -> str:
    """`image_encoder` or `text_decoder`; raises ConvertError for anything else."""
    module = mm_name.partition('.')[0]
    if module not in LAYERS:
        raise ConvertError(
            f'Tensor {mm_name} is neither of {IMAGE} nor of {TEXT}: no InternVL checkpoint of MindSpeed MM.'
        )
    return module


_REQUIRED_LAYER = [f'{module}.weight' for module in (QKV, PROJ, FC1, FC2, NORM1, NORM2)]
_REQUIRED_REST = {
    IMAGE: [
        'encoder.embeddings.class_embedding', 'encoder.embeddings.position_embedding',
        'encoder.embeddings.patch_embedding.weight', 'projector.norm.weight', 'projector.linear_fc1.weight',
        'projector.linear_fc2.weight',
    ],
    TEXT: ['embedding.word_embeddings.weight', 'decoder.final_layernorm.weight', 'output_layer.weight'],
}  # fmt: skip


def check_complete(mm_names: set[str], layers: dict[str, int], tied: bool, where: str) -> None:
    """Refuses a model of which a tensor is missing: every layer must have the tensors that its first layer has.

    `layers` gives the number of layers of each module; a tied model has no output layer of its own.
    """
    wanted = {f'{m}.{rest}' for m in layers for rest in _REQUIRED_REST[m]} - ({OUTPUT} if tied else set())
    rests = {module: set(_REQUIRED_LAYER) for module in layers}
    for module, number, rest in filter(None, map(layer_of, mm_names)):
        if number >= layers.get(module, 0):
            raise ConvertError(
                f'{where} has a layer {number} of {module}, but only {layers.get(module, 0)} are expected.'
            )
        rests[module].add(rest)
    wanted |= {f'{LAYERS[m]}{i}.{rest}' for m, total in layers.items() for i in range(total) for rest in rests[m]}
    missing = sorted(wanted - mm_names)
    if missing:
        raise ConvertError(f'{where} is incomplete: {len(missing)} tensors missing, as {shorten(missing)}.')
