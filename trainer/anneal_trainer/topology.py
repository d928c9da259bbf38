"""Which rank holds which pipeline stage: a sub-model has contiguous ranks, pipeline-major, vision before language."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .config import ModelConfig
from .errors import UsageError
from .layout import Stage, plan_stages, shard_folder

_ENTRY_KEYS = {
    'name',
    'model_index',
    'world_size',
    'tensor_model_parallel_size',
    'pipeline_model_parallel_size',
    'context_parallel_size',
    'forward_only',
    'main_dp',
}
_CONFIG_KEYS = {'model_name', 'model_config', 'use_multiparam_send_recv'}


@dataclass(frozen=True)
class SubModel:
    """A run of ranks that train one part of the model: `vit`, `gpt`, or the whole (name "")."""

    name: str
    first_rank: int
    world_size: int
    pp: int

    @property
    def dp(self) -> int:
        """Replicas of each stage."""
        return self.world_size // self.pp

    def ranks(self, pp_rank: int) -> tuple[int, ...]:
        """Global ranks of one stage, by data-parallel rank."""
        first = self.first_rank + pp_rank * self.dp
        return tuple(range(first, first + self.dp))


@dataclass(frozen=True)
class Place:
    """One stage of the global chain and who holds it."""

    index: int
    stage: Stage
    submodel: SubModel
    pp_rank: int

    @property
    def ranks(self) -> tuple[int, ...]:
        return self.submodel.ranks(self.pp_rank)

    @property
    def folder(self) -> str:
        """Folder of this stage's shard inside a checkpoint."""
        return shard_folder(self.submodel.name, self.pp_rank, self.submodel.pp)


@dataclass(frozen=True)
class Topology:
    """The chain of stages over all ranks."""

    submodels: tuple[SubModel, ...]
    places: tuple[Place, ...]

    def place_of(self, rank: int) -> Place:
        """The stage that a global rank holds."""
        return next(place for place in self.places if rank in place.ranks)

    def trained_up_to(self, index: int, trained: list[str]) -> bool:
        """Whether a gradient that enters stage `index` from behind finds one of the trained names there or before."""
        return any(place.stage.owns(name) for place in self.places[: index + 1] for name in trained)


def is_trainable(name: str, config: ModelConfig) -> bool:
    """Honours `freeze` of the three modules for an unsplit-model name."""
    if name.startswith('image_encoder.encoder.'):
        return not config.vision.freeze
    if name.startswith('image_encoder.projector.'):
        return not config.projector_freeze
    return not config.language.freeze


def build_topology(config: ModelConfig, world_size: int, pipeline_size: int, dist_train: bool) -> Topology:
    """Lay the model out over the ranks. Raises UsageError where MindSpeed MM would refuse or hang."""
    if dist_train:
        return _dist_topology(config, world_size)
    if world_size % pipeline_size:
        raise UsageError(f'{world_size} ranks cannot be cut into pipelines of {pipeline_size} stages.')
    whole = SubModel('', 0, world_size, pipeline_size)
    vit = _counts('image_encoder.vision_encoder', config.vision.pipeline_num_layers, config.vision.num_layers, whole)
    llm = _counts('text_decoder', config.language.pipeline_num_layers, config.language.num_layers, whole)
    return Topology((whole,), tuple(_places(whole, plan_stages(vit, llm), 0)))


def _dist_topology(config: ModelConfig, world_size: int) -> Topology:
    vit, gpt = _submodels(config.dist_config)
    if vit.world_size + gpt.world_size != world_size:
        raise UsageError(
            f'The sum of world_size in dist_config is {vit.world_size} + {gpt.world_size}, torchrun started '
            f'{world_size} ranks; they must be equal.'
        )
    vision, language = config.vision, config.language
    vit_counts = _counts('image_encoder.vision_encoder', vision.pipeline_num_layers, vision.num_layers, vit)
    llm_counts = _counts('text_decoder', language.pipeline_num_layers, language.num_layers, gpt)
    stages = plan_stages(vit_counts + [0] * gpt.pp, [0] * vit.pp + llm_counts)
    return Topology((vit, gpt), (*_places(vit, stages[: vit.pp], 0), *_places(gpt, stages[vit.pp :], vit.pp)))


def _places(submodel: SubModel, stages: list[Stage], first: int) -> Iterator[Place]:
    for pp_rank, stage in enumerate(stages):
        yield Place(first + pp_rank, stage, submodel, pp_rank)


def _counts(key: str, counts: tuple[int, ...] | None, layers: int, submodel: SubModel) -> list[int]:
    if counts is None and submodel.pp == 1:
        return [layers]
    if counts is None or len(counts) != submodel.pp:
        raise UsageError(
            f'{key}.pipeline_num_layers is {list(counts) if counts else None}, the pipeline size is {submodel.pp}; '
            'give one number of layers per stage.'
        )
    if sum(counts) != layers or min(counts) < 0:
        raise UsageError(f'{key}.pipeline_num_layers {list(counts)} must add up to num_layers {layers}.')
    return list(counts)


def _submodels(raw: dict[str, Any] | None) -> tuple[SubModel, SubModel]:
    if not isinstance(raw, dict):
        raise UsageError('--dist-train needs a dist_config object in model.json, and there is none.')
    _check_keys(raw, _CONFIG_KEYS, 'dist_config')
    if raw.get('model_name') != 'internvl2':
        raise UsageError(f"dist_config.model_name {raw.get('model_name')!r} is not supported; InternVL is 'internvl2'.")
    entries = raw.get('model_config') or []
    if [entry.get('name') for entry in entries] != ['vit', 'gpt']:
        raise UsageError(
            f'dist_config.model_config must name vit, then gpt; it names {[e.get("name") for e in entries]}.'
        )
    found = []
    for index, entry in enumerate(entries):
        _check_entry(entry, index)
        first = sum(model.world_size for model in found)
        found.append(SubModel(entry['name'], first, entry['world_size'], entry.get('pipeline_model_parallel_size', 1)))
    _check_data_parallel(found, [bool(entry.get('main_dp', False)) for entry in entries])
    return found[0], found[1]


def _check_entry(entry: dict[str, Any], index: int) -> None:
    where = f'dist_config.model_config[{index}]'
    _check_keys(entry, _ENTRY_KEYS, where)
    if entry.get('model_index') != index:
        raise UsageError(f"{where}.model_index is {entry.get('model_index')}; it must be {index}, the entry's place.")
    for key in ('tensor_model_parallel_size', 'context_parallel_size'):
        if entry.get(key, 1) != 1:
            raise UsageError(f'{where}.{key} is {entry[key]}: the CPU trainer splits no tensor and no sequence; use 1.')
    if entry.get('forward_only'):
        raise UsageError(f'{where}.forward_only is true; the CPU trainer always trains, use freeze in model.json.')
    world, pp = entry.get('world_size'), entry.get('pipeline_model_parallel_size', 1)
    if not (isinstance(world, int) and isinstance(pp, int) and world > 0 and pp > 0 and world % pp == 0):
        raise UsageError(f'{where}: world_size {world} must be a positive multiple of its pipeline size {pp}.')


def _check_data_parallel(models: list[SubModel], main: list[bool]) -> None:
    vit, gpt = models[0].dp, models[1].dp
    if all(main):
        raise UsageError('dist_config names two models main_dp; at most one can be it.')
    if not any(main) and vit != gpt:
        raise UsageError(f'vit has {vit} replicas and gpt {gpt}; without main_dp on one of them they must be equal.')
    if max(vit, gpt) % min(vit, gpt):
        raise UsageError(f'vit has {vit} replicas and gpt {gpt}; one number must divide the other.')


def _check_keys(raw: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(raw) - known)
    if unknown:
        raise UsageError(f'{where}: Get unexpected keywords {unknown}; known are {sorted(known)}.')
