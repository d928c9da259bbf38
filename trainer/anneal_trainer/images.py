"""Image files to normalised tensors, one tile each; a bad file is an error and never replaced by another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .errors import TrainerError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CACHE_BYTES = 256 * 1024 * 1024  # decoded tensors kept per process; small sets are then decoded once


def load_image(path: str | Path, size: int, pad_square: bool = False) -> Tensor:
    """Read a picture as float (3, size, size), ImageNet-normalised. Raises OSError or ValueError if it is bad."""
    with Image.open(path) as opened:
        picture = opened.convert('RGB')
    if pad_square and picture.width != picture.height:
        side = max(picture.size)
        square = Image.new('RGB', (side, side), tuple(int(value * 255) for value in IMAGENET_MEAN))
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        picture = square
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255.0).permute(2, 0, 1)
    return (
        (pixels - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    ).contiguous()


class ImageLoader:
    """`load_image` with a bounded cache and errors that name the sample."""

    def __init__(self, size: int, pad_square: bool) -> None:
        self.size, self.pad_square = size, pad_square
        self.cache: dict[str, Tensor] = {}
        self.capacity = max(1, CACHE_BYTES // (3 * size * size * 4))

    def load(self, path: str, sample_id: object) -> Tensor:
        """One image (3, size, size). Raises TrainerError naming sample and file."""
        cached = self.cache.get(path)
        if cached is not None:
            return cached
        try:
            image = load_image(path, self.size, self.pad_square)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise TrainerError(
                f'Sample {sample_id!r}: the image {path} cannot be read ({error}). Repair or drop the row; '
                'this trainer never puts another sample in its place.'
            ) from error
        if len(self.cache) < self.capacity:
            self.cache[path] = image
        return image
