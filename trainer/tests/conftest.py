"""Fixtures of the trainer's tests."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch and tokenizers are loaded: ranks are forks of this process, so it must have no threads of its own.
os.environ.update(OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false')

import pytest  # noqa: E402
from support import write_task  # noqa: E402


@pytest.fixture(scope='session')
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`data.json` of a small task that tests only read."""
    return write_task(tmp_path_factory.mktemp('task') / 'colours')
