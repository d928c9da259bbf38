"""Behaves like torchrun in what matters to a supervisor: workers in sessions of their own, each with a loader that was forked
twice into another session and lost its environment. Usage: fake-torchrun.py <folder> <workers> <polite|stubborn|exit:N|exit:N:hidden>.
Hidden loaders give up their standard input as well: only who adopts orphans can find them."""

import os
import signal
import sys
import time

folder, count, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def note(name: str, text: str = "") -> None:
    with open(f"{folder}/{name}.tmp", "w") as file:
        file.write(text)
    os.rename(f"{folder}/{name}.tmp", f"{folder}/{name}")


def loader(index: int) -> None:
    """A grandchild whose parent is gone, in its own session, with an empty environment; its standard input stays."""
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork() == 0:
            if mode.endswith(":hidden"):
                os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            note(f"loader-{index}", str(os.getpid()))
            os.execv("/usr/bin/env", ["env", "-i", "sleep", "600"])
        os._exit(0)
    os.waitpid(middle, 0)


def worker(index: int) -> None:
    os.setsid()

    def on_term(*_: object) -> None:
        note(f"saved-{index}")
        if mode != "stubborn":
            os._exit(0)

    signal.signal(signal.SIGTERM, on_term)
    loader(index)
    print(f"worker {index} of run {os.environ['ANNEAL_RUN_ID']}", flush=True)
    note(f"worker-{index}", str(os.getpid()))
    while True:
        time.sleep(0.05)
        with open(f"{folder}/beat-{index}", "w") as file:
            file.write(str(time.monotonic()))


def launcher_term(*_: object) -> None:
    note("launcher-got-sigterm")
    os._exit(1)


pids = []
for number in range(count):
    pid = os.fork()
    if pid == 0:
        worker(number)
    pids.append(pid)
signal.signal(signal.SIGTERM, launcher_term)
note("launcher", str(os.getpid()))
if mode.startswith("exit:"):
    while not all(os.path.exists(f"{folder}/worker-{number}") for number in range(count)):
        time.sleep(0.02)
    os._exit(int(mode.split(":")[1]))
codes = [os.waitpid(pid, 0)[1] for pid in pids]
sys.exit(1 if any(codes) else 0)
