"""MindSpeed MM's `data.json` to micro-batches, in an order that depends only on the number of samples consumed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import ModelConfig, read_json
from .errors import TrainerError, UsageError
from .images import ImageLoader
from .text import IGNORE, ChatEncoder, EncodedSample, image_count


@dataclass(frozen=True)
class TextBatch:
    """Ids (batch, length), padded on the right, and where a next token is learned: (rows, columns) and the targets."""

    ids: Tensor
    positions: tuple[Tensor, ...]
    targets: Tensor


class Dataset:
    """The rows that a `data.json` names, in file order, `repeat_time` applied; images and ids are made on demand."""

    def __init__(self, data_json: str | Path, config: ModelConfig) -> None:
        raw = read_json(data_json)
        param = _need(raw, 'dataset_param', str(data_json))
        _check_supported(param, raw.get('dataloader_param') or {}, config, str(data_json))
        entries = _need(param, 'basic_parameters', str(data_json))
        self.rows = [
            row for entry in (entries if isinstance(entries, list) else [entries]) for row in _read_rows(entry)
        ]
        if not self.rows:
            raise UsageError(f'{data_json} names no sample at all; there is nothing to train on.')
        folder = _need(_need(param, 'tokenizer_config', str(data_json)), 'from_pretrained', str(data_json))
        self.encoder = ChatEncoder(folder, config.tokens_per_image)
        self._check_vocabulary(config)
        pipeline = ((param.get('preprocess_parameters') or {}).get('train_pipeline') or {}).get('image') or []
        self.loader = ImageLoader(config.vision.image_size, any('Pad2Square' in json.dumps(step) for step in pipeline))

    def encode_all(self, seq_length: int) -> list[EncodedSample]:
        """Encode every row, so that a sample that is too long fails now and not after hours. Raises TrainerError."""
        encoded = []
        for row in self.rows:
            sample = self.encoder.encode_sample(row)
            if len(sample.ids) > seq_length:
                raise TrainerError(
                    f'Sample {row.get("id")!r} has {len(sample.ids)} tokens, --seq-length is {seq_length}: raise it or '
                    'drop the sample; it is never cut.'
                )
            encoded.append(sample)
        return encoded

    def check_images(self) -> None:
        """Look for every image file, so that a missing one fails before training. Raises TrainerError."""
        for row in self.rows:
            for path in row['paths']:
                if not Path(path).is_file():
                    raise TrainerError(f'Sample {row.get("id")!r}: its image {path} does not exist.')

    def _check_vocabulary(self, config: ModelConfig) -> None:
        if self.encoder.image_token_id != config.img_context_token_id:
            raise UsageError(
                f'model.json says img_context_token_id {config.img_context_token_id}, the tokenizer gives '
                f'<IMG_CONTEXT> the id {self.encoder.image_token_id}; images would never be seen. Make them equal.'
            )
        size = self.encoder.tokenizer.get_vocab_size()
        if size > config.language.vocab_size:
            raise UsageError(
                f"The tokenizer has {size} tokens, model.json's vocab_size is {config.language.vocab_size}."
            )


class Batches:
    """Cuts the endless sample order into global batches and these into micro-batches ("units") of equal size.

    Unit u of an iteration is the same set of samples in every layout; a stage with DP ranks d gives unit u to rank
    u % d. So no layout changes what is averaged, only where.
    """

    def __init__(self, dataset: Dataset, global_batch: int, micro_batch: int, seq_length: int, variable: bool) -> None:
        self.dataset, self.global_batch, self.micro_batch = dataset, global_batch, micro_batch
        self.seq_length, self.variable = seq_length, variable
        self.units = global_batch // micro_batch
        # The remainder of an epoch is dropped as a whole, as drop_last does.
        self.usable = len(dataset.rows) // global_batch * global_batch
        if self.usable == 0:
            raise UsageError(
                f'The data set has {len(dataset.rows)} samples, fewer than one --global-batch-size of {global_batch}.'
            )
        self.encoded: list[EncodedSample] = []
        self._epoch, self._order = -1, [0]

    def encode(self) -> None:
        """Prepare ids; only ranks that hold text layers need them."""
        self.encoded = self.dataset.encode_all(self.seq_length)

    def samples(self, consumed: int, unit: int) -> list[int]:
        """Row numbers of one unit of the iteration that starts after `consumed` samples."""
        start = consumed + unit * self.micro_batch
        return [self._row_at(position) for position in range(start, start + self.micro_batch)]

    def image_count(self, samples: list[int]) -> int:
        """Images in these rows, known without reading one."""
        return sum(len(self.dataset.rows[index]['paths']) for index in samples)

    def images(self, samples: list[int]) -> Tensor:
        """Pixels (images, 3, size, size) of these rows, in order."""
        rows = [self.dataset.rows[index] for index in samples]
        return torch.stack([self.dataset.loader.load(path, row.get('id')) for row in rows for path in row['paths']])

    def text(self, samples: list[int]) -> TextBatch:
        """Ids and targets of these rows; position t learns the token at t + 1."""
        encoded = [self.encoded[index] for index in samples]
        length = max(len(sample.ids) for sample in encoded) if self.variable else self.seq_length
        ids = torch.full((len(encoded), length), self.dataset.encoder.end_id)
        labels = torch.full((len(encoded), length), IGNORE)
        for row, sample in enumerate(encoded):
            ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
            labels[row, : len(sample.ids) - 1] = torch.tensor(sample.labels[1:])
        positions = (labels != IGNORE).nonzero(as_tuple=True)
        return TextBatch(ids, positions, labels[positions])

    def _row_at(self, position: int) -> int:
        epoch, offset = divmod(position, self.usable)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, data_order(epoch, len(self.dataset.rows))
        return self._order[offset]


def data_order(epoch: int, total: int) -> list[int]:
    """Row numbers of one pass: a permutation seeded by the number of the epoch alone, as BaseRandomBatchSampler's.

    Megatron permutes only the rows that survive drop_last, so its last rows are never seen; this permutes all first.
    """
    return torch.randperm(total, generator=torch.Generator().manual_seed(epoch)).tolist()


def _read_rows(entry: dict[str, Any]) -> list[dict[str, Any]]:
    path, folder = Path(_need(entry, 'data_path', 'basic_parameters')), Path(entry.get('data_folder') or '.')
    try:
        content = path.read_text(encoding='utf-8')
    except OSError as error:
        raise UsageError(f'Cannot read the annotation file {path}: {error.strerror}.') from error
    try:
        # Not splitlines(): it also cuts at U+2028 and the like, which may stand inside a JSON string.
        lines = [] if path.suffix == '.json' else [line for line in content.split('\n') if line.strip()]
        rows = [json.loads(line) for line in lines] if path.suffix == '.jsonl' else json.loads(content)
    except ValueError as error:
        raise UsageError(f'The annotation file {path} is neither .jsonl nor .json: {error}.') from error
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not isinstance(row.get('conversations'), list):
            raise TrainerError(f'Row {number} of {path} has no conversations; prepare the data first.')
        image = row.get('image')
        row['paths'] = [
            str(folder / name) for name in (image if isinstance(image, list) else [image][: image_count(row)])
        ]
        if not row['paths']:
            raise TrainerError(
                f'Sample {row.get("id")!r} of {path} has no image; MindSpeed MM cannot train on such a row.'
            )
    repeat = entry.get('repeat_time', 1)
    if repeat < 1:
        return rows[: int(len(rows) * repeat)]
    if repeat != int(repeat):
        raise UsageError(f'repeat_time of {path} is {repeat}; above 1 it must be a whole number.')
    return rows * int(repeat)


def _need(raw: dict[str, Any], key: str, source: str) -> Any:
    if raw.get(key) is None:
        raise UsageError(f'{source} has no "{key}".')
    return raw[key]


def _check_supported(param: dict[str, Any], loader: dict[str, Any], config: ModelConfig, source: str) -> None:
    if param.get('dynamic_image_size'):
        raise UsageError(
            f'{source}: dynamic_image_size is true; the CPU trainer takes one tile per image, set it false.'
        )
    if param.get('template_name', 'internvl2_5') != 'internvl2_5':
        raise UsageError(f'{source}: template_name is {param["template_name"]!r}; only internvl2_5 is built.')
    if not loader.get('drop_last', True):
        raise UsageError(f'{source}: dataloader_param.drop_last false is refused, by MindSpeed MM too.')
    vision = config.vision
    wanted = (
        ('image_size', vision.image_size),
        ('patch_size', vision.patch_size),
        ('down_sample_ratio', config.downsample_ratio),
    )
    for key, want in wanted:
        if param.get(key, want) != want:
            raise UsageError(f'{source}: {key} is {param[key]}, model.json says {want}; they must be equal.')
