"""How a model is cut over ranks: layer lists, tensor-parallel sizes, and which tensor lies in which pipeline stage.

Stages are numbered flat, `virtual stage * pipeline size + pipeline rank`, as Megatron fills its chunks `model0`, …
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .convert_names import EMBEDDING, IMAGE, LAYERS, OUTPUT, TEXT, layer_of, module_of
from .convert_split import Heads
from .hf_files import ConvertError

FIRST = {IMAGE: ('image_encoder.encoder.embeddings.',), TEXT: ('text_decoder.embedding.',)}
LAST = {
    IMAGE: ('image_encoder.projector.',),
    TEXT: ('text_decoder.decoder.final_layernorm.', 'text_decoder.output_layer.'),
}


@dataclass(frozen=True)
class ModelFacts:
    """What the conversion must know of a model, from its config.json."""

    architecture: str
    heads: Heads
    layers: dict[str, int]  # by module
    tied: bool


def read_facts(hf_dir: Path) -> ModelFacts:
    """Reads config.json of the original layout; raises ConvertError where it is missing or is another model's."""
    path = hf_dir / 'config.json'
    if not path.is_file():
        raise ConvertError(f'{hf_dir} holds no config.json: name the folder of a downloaded InternVL model.')
    try:
        config = json.loads(path.read_text(encoding='utf-8'))
        text, vision = config['llm_config'], config['vision_config']
        return _facts(config, text, vision)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ConvertError(
            f'{path} is no config of InternVL in the original layout (llm_config, vision_config): {error!r}.'
        ) from error


def _facts(config: dict[str, Any], text: dict[str, Any], vision: dict[str, Any]) -> ModelFacts:
    heads = int(text['num_attention_heads'])
    groups = int(text.get('num_key_value_heads') or heads)
    if groups < 1 or heads % groups != 0:
        raise ValueError(f'{groups} key-value heads do not divide {heads} attention heads')
    return ModelFacts(
        architecture=str(text['architectures'][0]),
        heads=Heads(vision=int(vision['num_attention_heads']), text=heads, groups=groups),
        layers={IMAGE: int(vision['num_hidden_layers']), TEXT: int(text['num_hidden_layers'])},
        tied=bool(text.get('tie_word_embeddings', config.get('tie_word_embeddings', False))),
    )


@dataclass(frozen=True)
class Parallel:
    """One layout. `layers` maps each module to its list per virtual stage (outer) and pipeline rank (inner).

    `tp` maps each module to its tensor-parallel size; the greatest is the number of tensor-parallel rank directories,
    and rank r holds share `r % size` of a module cut less finely, as MindSpeed MM's hetero-parallel does.
    """

    layers: Mapping[str, tuple[tuple[int, ...], ...]]
    tp: Mapping[str, int]

    @property
    def pp_size(self) -> int:
        return len(self._any[0])

    @property
    def vpp_size(self) -> int:
        return len(self._any)

    @property
    def tp_size(self) -> int:
        return max(self.tp.values())

    @property
    def _any(self) -> tuple[tuple[int, ...], ...]:
        return next(iter(self.layers.values()))

    def flat(self, module: str) -> tuple[int, ...]:
        return tuple(count for stage in self.layers[module] for count in stage)

    def totals(self) -> dict[str, int]:
        return {module: sum(self.flat(module)) for module in self.layers}

    def rank_directory(self, tp_rank: int, pp_rank: int, label: str = '') -> str:
        """`mp_rank_00`, `mp_rank_00_001`, `mp_vit_rank_00`: the pipeline number only where there is a pipeline."""
        name = f'mp_{label}_rank_{tp_rank:02d}' if label else f'mp_rank_{tp_rank:02d}'
        return f'{name}_{pp_rank:03d}' if self.pp_size > 1 else name


def check_shape(parallel: Parallel) -> None:
    """Refuses lists that differ in shape and tensor-parallel sizes that do not nest."""
    shapes = {module: [len(row) for row in rows] for module, rows in parallel.layers.items()}
    for module, shape in shapes.items():
        if not shape or shape[0] < 1 or shape != [parallel.pp_size] * parallel.vpp_size:
            raise ConvertError(
                f'The layer lists differ in shape ({shapes}): give every module a row per virtual stage, each with one '
                f'number per pipeline rank; {module} does not fit.'
            )
    for module, size in parallel.tp.items():
        if parallel.tp_size % size != 0:
            raise ConvertError(f'TP size {size} of {module} does not divide {parallel.tp_size}, the greatest TP size.')


def check_against(parallel: Parallel, facts: ModelFacts) -> None:
    """Refuses a layout that does not fit the model, each time with the numbers that would."""
    check_shape(parallel)
    for module, total in parallel.totals().items():
        if total != facts.layers[module]:
            raise ConvertError(
                f'The layer list of {module} sums to {total}, but the model has {facts.layers[module]} layers there: '
                f'make {list(map(list, parallel.layers[module]))} sum to {facts.layers[module]}.'
            )
    text_tp, image_tp = parallel.tp.get(TEXT, 1), parallel.tp.get(IMAGE, 1)
    if facts.heads.groups % text_tp != 0:
        raise ConvertError(
            f'TP size {text_tp} does not divide the {facts.heads.groups} key-value heads of the language model.'
        )
    if image_tp > facts.heads.vision:
        raise ConvertError(f'TP size {image_tp} is greater than the {facts.heads.vision} heads of the vision model.')


def stage_contents(names: Iterable[str], parallel: Parallel, tied: bool) -> list[dict[str, str]]:
    """For each flat stage: name in the stage's file -> full MM name. Layers are numbered from 0 in every stage.

    A tied model has no output layer; in a pipeline its last language stage cannot see the embedding and gets a copy.
    """
    total = parallel.pp_size * parallel.vpp_size
    stages: list[dict[str, str]] = [{} for _ in range(total)]
    spans = {module: _Spans(parallel.flat(module)) for module in parallel.layers}
    for name in names:
        span, layer = spans[module_of(name)], layer_of(name)
        if layer is None:
            stages[span.holder(name)][name] = name
            continue
        module, number, rest = layer
        stage, local = span.locate(number)
        stages[stage][f'{LAYERS[module]}{local}.{rest}'] = name
    if tied and parallel.pp_size > 1 and TEXT in spans:
        stages[spans[TEXT].last][OUTPUT] = EMBEDDING
    return stages


class _Spans:
    """The layers of one module over the flat stages."""

    def __init__(self, counts: tuple[int, ...]) -> None:
        self.counts = counts
        used = [stage for stage, count in enumerate(counts) if count > 0]
        if not used:
            raise ConvertError(f'The layer list {list(counts)} gives no stage a layer.')
        self.first, self.last = used[0], used[-1]

    def holder(self, name: str) -> int:
        module = module_of(name)
        if name.startswith(FIRST[module]):
            return self.first
        if name.startswith(LAST[module]):
            return self.last
        raise ConvertError(f'Tensor {name} belongs to no pipeline stage that this converter knows.')

    def locate(self, number: int) -> tuple[int, int]:
        start = 0
        for stage, count in enumerate(self.counts):
            if number < start + count:
                return stage, number - start
            start += count
        raise ConvertError(f'Layer {number} lies beyond the layer list {list(self.counts)}.')
