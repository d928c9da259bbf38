"""Check that images can really be read to their last byte, in a small process pool; imports nothing heavy.

MindSpeed-MM replaces a row whose image fails by a random other row, silently: so each image is decoded here, before.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import stat
import sys
import warnings
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from .boot import die_with_parent

MAX_PROCESSES = 2
POOL_FROM_IMAGES = 64
MAX_IMAGE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class CheckedImage:
    """What is known of one image: its size and the digest of its bytes, or why it cannot be used."""

    width: int = 0
    height: int = 0
    digest: str = ''
    reason: str = ''
    detail: str = ''


def check_image(path: str) -> CheckedImage:
    """Read and decode one image completely; never raises for a bad file."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return CheckedImage(reason='image-missing', detail='is not a file')
        if status.st_size > MAX_IMAGE_BYTES:
            return CheckedImage(
                reason='image-undecodable', detail=f'has {status.st_size} bytes, the limit is {MAX_IMAGE_BYTES}'
            )
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return CheckedImage(reason='image-missing', detail='does not exist')
    except OSError as error:
        return CheckedImage(reason='image-missing', detail=f'cannot be read ({error.strerror})')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                image.convert('RGB')
                width, height = image.size
    except UnidentifiedImageError:  # its own message holds a memory address
        return CheckedImage(reason='image-undecodable', detail='is in no image format that is known')
    except Exception as error:  # Pillow's decoders raise nearly any type on damaged bytes
        return CheckedImage(reason='image-undecodable', detail=f'{type(error).__name__}: {error}'[:200])
    return CheckedImage(width, height, hashlib.sha256(content).hexdigest())


class ImageChecker:
    """Checks batches of images, each path once; the pool starts only when a batch is worth it."""

    def __init__(self) -> None:
        self.known: dict[Path, CheckedImage] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> ImageChecker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def check(self, paths: Iterable[Path]) -> None:
        """Fill `known` for these paths."""
        fresh = [path for path in dict.fromkeys(paths) if path not in self.known]
        if len(fresh) >= POOL_FROM_IMAGES and self._pool is None and (os.cpu_count() or 1) > 1:
            # spawn, not fork: the tokenizer's threads may hold locks at the moment of a fork
            # and each child dies with us: killed hard, a pool's parent leaves its children waiting for ever
            tie = (die_with_parent, (['--die-with-parent'],)) if sys.platform == 'linux' else (None, ())
            self._pool = ProcessPoolExecutor(MAX_PROCESSES, multiprocessing.get_context('spawn'), *tie)
        names = [str(path) for path in fresh]
        results = map(check_image, names) if self._pool is None else self._pool.map(check_image, names, chunksize=32)
        self.known.update(zip(fresh, results, strict=True))
