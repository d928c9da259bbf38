"""Which layers, tensor names and folders belong to which pipeline stage: pure arithmetic, no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .config import ModelConfig
from .errors import UsageError

_LAYER = re.compile(r'^(image_encoder\.encoder\.encoder|text_decoder\.decoder)\.layers\.(\d+)\.')


@dataclass(frozen=True)
class Stage:
    """One pipeline stage: a run of ViT layers and a run of decoder layers, counted from 0 in the whole model."""

    vit_first: int
    vit_count: int
    llm_first: int
    llm_count: int
    vit_begin: bool  # owns image_encoder.encoder.embeddings
    vit_end: bool  # owns image_encoder.projector
    llm_begin: bool  # owns text_decoder.embedding
    llm_end: bool  # owns text_decoder.decoder.final_layernorm and text_decoder.output_layer

    def global_name(self, name: str) -> str:
        """The tensor's name in the unsplit model; in a stage's own file layers are counted from 0."""
        return self._shift(name, 1)

    def local_name(self, name: str) -> str:
        """The inverse of `global_name`."""
        return self._shift(name, -1)

    def owns(self, name: str) -> bool:
        """Whether this stage holds the tensor of that unsplit-model name."""
        match = _LAYER.match(name)
        if match:
            layer = int(match.group(2))
            first, count = (
                (self.vit_first, self.vit_count) if name.startswith('image') else (self.llm_first, self.llm_count)
            )
            return first <= layer < first + count
        if name.startswith('image_encoder.encoder.embeddings.'):
            return self.vit_begin
        if name.startswith('image_encoder.projector.'):
            return self.vit_end
        if name.startswith('text_decoder.embedding.'):
            return self.llm_begin
        return self.llm_end

    def _shift(self, name: str, sign: int) -> str:
        match = _LAYER.match(name)
        if not match:
            return name
        first = self.vit_first if name.startswith('image') else self.llm_first
        return f'{match.group(1)}.layers.{int(match.group(2)) + sign * first}.{name[match.end() :]}'


def plan_stages(vit_counts: Sequence[int], llm_counts: Sequence[int]) -> list[Stage]:
    """Stages for two lists of layer counts of one length (one entry per pipeline rank; 0 leaves the module out there).

    Raises UsageError when the lists differ in length, a stage would be empty, or text would start before vision ends.
    """
    vit, llm = list(vit_counts), list(llm_counts)
    if len(vit) != len(llm):
        raise UsageError(f'pipeline_num_layers differ in length: vision {vit}, text {llm}; give one entry per stage.')
    vit_used = [index for index, count in enumerate(vit) if count > 0]
    llm_used = [index for index, count in enumerate(llm) if count > 0]
    for index, pair in enumerate(zip(vit, llm, strict=True)):
        if not any(pair):
            raise UsageError(f'Pipeline stage {index} has no layer of either module (vision {vit}, text {llm}).')
    if vit_used and llm_used and vit_used[-1] > llm_used[0]:
        raise UsageError(
            f'Text layers begin on stage {llm_used[0]} but vision layers end on stage {vit_used[-1]} '
            f'(vision {vit}, text {llm}); the vision layers must end first.'
        )
    return [
        Stage(
            vit_first=sum(vit[:index]),
            vit_count=vit[index],
            llm_first=sum(llm[:index]),
            llm_count=llm[index],
            vit_begin=bool(vit_used) and index == vit_used[0],
            vit_end=bool(vit_used) and index == vit_used[-1],
            llm_begin=bool(llm_used) and index == llm_used[0],
            llm_end=bool(llm_used) and index == llm_used[-1],
        )
        for index in range(len(vit))
    ]


def whole(config: ModelConfig) -> Stage:
    """The single stage that holds the complete model."""
    return plan_stages([config.vision.num_layers], [config.language.num_layers])[0]


def shard_folder(submodel: str, pp_rank: int, pp_size: int) -> str:
    """`mp_rank_00`, `mp_vit_rank_00`, `mp_gpt_rank_00_001`: with the pipeline number only where PP > 1."""
    prefix = f'mp_{submodel}_rank_00' if submodel else 'mp_rank_00'
    return f'{prefix}_{pp_rank:03d}' if pp_size > 1 else prefix


def iteration_folder(iteration: int | str) -> str:
    """`iter_0000120`, or `release` for converted weights."""
    return 'release' if iteration == 'release' else f'iter_{int(iteration):07d}'
