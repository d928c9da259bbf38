"""What a trainer process does before torch is loaded: tie its life to that of the process that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def die_with_parent(argv: Sequence[str]) -> None:
    """With `--die-with-parent` in `argv`: have the kernel SIGKILL this process when its parent dies.

    torchrun puts each worker in a session of its own, so a killed agent takes no worker with it: an orphan would go on
    training and writing checkpoints (seen). Linux only; elsewhere the flag is refused.
    """
    if '--die-with-parent' not in argv:
        return
    parent = os.getppid()
    if not sys.platform.startswith('linux'):
        sys.exit('error: --die-with-parent needs Linux (prctl); leave it out on this system.')
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f'error: prctl(PR_SET_PDEATHSIG) failed with errno {ctypes.get_errno()}.')
    # The parent may have died before the call took hold; then nobody would ever send the signal.
    orphaned = parent == 1 and 'TORCHELASTIC_RUN_ID' in os.environ and not _is_torchrun(1)
    if os.getppid() != parent or orphaned:
        os.kill(os.getpid(), signal.SIGKILL)


def _is_torchrun(pid: int) -> bool:
    """Whether a process is a torchrun agent; in a bare container that can be process 1."""
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as file:
            command = file.read()
    except OSError:
        return True  # cannot tell: the kernel's signal still protects
    return b'torchrun' in command or b'torch.distributed.run' in command
