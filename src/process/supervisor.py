"""Supervises the trainer of one generation on one host: holds the host lock, enforces the lease, ends every process of the
trainer, and writes `exit.json` last. It outlives the agent that started it; the trainer does not outlive it.

Usage: python3 supervisor.py <directory of the generation>. Python >= 3.8, Linux, standard library only.
Exit codes: 0 = `exit.json` is written; 75 = another trainer holds the host (`refused.json` names it), nothing was started;
76 = somebody else owns this directory already, nothing was started.

Files in the directory (all JSON is replaced by rename, so that a reader never sees half of it):
  launch.json   read   argv, env, cwd, logFile, lockFile, marker, leaseTtlMs, graceMs
  lease         read   seconds of the host's monotonic clock at which the last acknowledged heartbeat was sent
  stop          read   {graceMs, to}: a request to end; `to` is `workers` or `launcher`
  state.json    wrote  pid, start, boot (together they name this process for ever), trainer (pid of the launcher)
  exit.json     wrote  reason, rc, swept, left, at, detail
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, NamedTuple, NoReturn

TICK_S = 0.1
SWEEP_LIMIT_S = 10.0  # A process that survives SIGKILL this long hangs in a driver: the host is dirty.
LOCK_PATIENCE_S = 0.5  # Who only asks whether the lock is free holds it for milliseconds: no reason to refuse a launch.
EXIT_WRITE_TRIES = 30  # One a second: a full disk may be emptied, but the lock must not be kept for ever.
FUTURE_S = 1.0
HOST_BUSY, NOT_OURS = 75, 76
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

libc = ctypes.CDLL(None, use_errno=True)


class Stat(NamedTuple):
    """What we need of /proc/<pid>/stat."""

    pid: int
    ppid: int
    session: int
    start: int


def read_stat(pid: int) -> Stat | None:
    """Returns None when the process is gone or only a zombie; a dead leader with living threads still counts as alive."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    field = text[text.rindex(b")") + 2 :].split()
    if field[0] in (b"Z", b"X") and int(field[17]) <= 1:
        return None
    return Stat(pid, int(field[1]), int(field[3]), int(field[19]))


def process_table() -> dict[int, Stat]:
    stats = (read_stat(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {stat.pid: stat for stat in stats if stat is not None}


def descendants(table: dict[int, Stat], roots: Iterable[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for stat in table.values():
        children.setdefault(stat.ppid, []).append(stat.pid)
    found: set[int] = set()
    queue = list(roots)
    while queue:
        for child in children.get(queue.pop(), ()):
            if child not in found:
                found.add(child)
                queue.append(child)
    return found


def identity() -> dict[str, Any]:
    """Names this process so that a reused pid is never taken for it."""
    stat = read_stat(os.getpid())
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()
    return {"pid": os.getpid(), "start": stat.start if stat else 0, "boot": boot}


def read_json(path: str) -> Any | None:
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def write_json(path: str, value: Any, exclusive: bool = False) -> None:
    """Writes durably and at once. With `exclusive` raises FileExistsError when somebody was first."""
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    try:
        if exclusive:
            os.link(temporary, path)
        else:
            os.rename(temporary, path)
    finally:
        if exclusive:
            os.unlink(temporary)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def wall_clock() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def note_error() -> None:
    """Into the log, if that can be: it lies on the same disk, and who died of a full one would leave no report."""
    try:
        traceback.print_exc()
    except OSError:
        pass


class Supervisor:
    def __init__(self, directory: str) -> None:
        self.directory = directory
        with open(self.path("launch.json")) as file:
            self.launch: dict[str, Any] = json.load(file)
        self.marks = {f"{name}={value}".encode() for name, value in self.launch["marker"].items()}
        self.me = identity()
        self.wake = -1
        self.lock = -1
        self.lock_name = ""
        self.launcher = 0
        self.rc: int | None = None
        self.launcher_gone = False
        self.lease = time.monotonic()
        self.stop_deadline: float | None = None
        self.stop_at_once = False

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    # -- taking the host -------------------------------------------------------------------------------------------

    def take_host(self) -> None:
        """Takes the host lock and this generation, in this order: a refused launch leaves no trace of a start."""
        path = os.path.realpath(self.launch["lockFile"])
        self.lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.lock_name = os.path.basename(path)
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    write_json(self.path("refused.json"), {"holder": read_json(path)})
                    sys.exit(HOST_BUSY)
                time.sleep(0.02)
        try:
            write_json(self.path("state.json"), dict(self.me, trainer=None), exclusive=True)
        except FileExistsError:
            sys.exit(NOT_OURS)
        # The name of the holder goes in before any process has the lock as its standard input: who finds such a process
        # and reads a name afterwards reads the right one.
        holder = dict(self.me, marker=self.launch["marker"], directory=self.directory, at=wall_clock())
        text = json.dumps(holder).encode()
        os.pwrite(self.lock, text, 0)
        os.ftruncate(self.lock, len(text))
        os.dup2(self.lock, 0)

    def start_trainer(self) -> None:
        """Raises OSError or SubprocessError when the command cannot be started."""
        log = os.open(self.launch["logFile"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        parent = os.getpid()

        def in_child() -> None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # The supervisor died before the line above.
                os._exit(1)

        child = subprocess.Popen(
            self.launch["argv"],
            stdin=self.lock,
            stdout=log,
            stderr=log,
            cwd=self.launch["cwd"],
            env={**self.launch["env"], **self.launch["marker"]},
            start_new_session=True,
            preexec_fn=in_child,  # noqa: PLW1509 - this process has one thread.
        )
        os.close(log)
        self.launcher = child.pid
        child.returncode = 0  # We reap by waitpid(-1) ourselves; Popen must not try it too.
        write_json(self.path("state.json"), dict(self.me, trainer=child.pid))

    # -- watching --------------------------------------------------------------------------------------------------

    def watch(self) -> str:
        """Returns the reason of the end; from then on it does not change."""
        while True:
            self.reap()
            now = time.monotonic()
            # First of all: a supervisor that was frozen wakes with an expired lease.
            if now - self.read_lease(now) > self.launch["leaseTtlMs"] / 1000:
                return "lease" if self.stop_deadline is None else "stopped"
            self.read_stop(now)
            if self.launcher_gone:
                return "exited" if self.stop_deadline is None else "stopped"
            if self.stop_deadline is not None and now >= self.stop_deadline:
                return "stopped"
            self.wait_for_signal()

    def listen(self) -> None:
        """Signals end a wait through a pipe. (`signal.sigtimedwait` returns garbage after SIGSTOP and SIGCONT.)"""
        self.wake, write_end = os.pipe()
        for end in (self.wake, write_end):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)

    def wait_for_signal(self) -> None:
        if not select.select([self.wake], [], [], TICK_S)[0]:
            return
        received = os.read(self.wake, 4096)
        if signal.SIGTERM in received or signal.SIGINT in received:
            self.stop_within(self.launch["graceMs"], "workers")

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.launcher:
                self.launcher_gone = True
                self.rc = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def read_lease(self, now: float) -> float:
        """A lease only moves forward; a stamp from the future is not believed."""
        try:
            with open(self.path("lease")) as file:
                stamp = float(file.read())
        except (OSError, ValueError):
            return self.lease
        if self.lease < stamp <= now + FUTURE_S:
            self.lease = stamp
        return self.lease

    def read_stop(self, now: float) -> None:
        if self.stop_at_once or not os.path.exists(self.path("stop")):
            return
        request = read_json(self.path("stop"))
        request = request if isinstance(request, dict) else {}
        self.stop_within(float(request.get("graceMs", self.launch["graceMs"])), request.get("to", "workers"))

    def stop_within(self, grace_ms: float, to: str) -> None:
        """Asks once; a later request can only shorten the grace."""
        asked = self.stop_deadline is not None
        deadline = time.monotonic() + grace_ms / 1000
        if self.stop_deadline is None or grace_ms <= 0:
            self.stop_deadline = deadline
        self.stop_at_once = grace_ms <= 0
        if not asked and not self.stop_at_once:
            self.terminate(to)

    def terminate(self, to: str) -> None:
        """SIGTERM goes to torchrun's workers, each of which leads a session: torchrun itself would kill them after 30 s."""
        table = process_table()
        workers = self.workers(table, self.launcher) if to == "workers" else []
        for pid in workers or [self.launcher]:
            kill(table.get(pid), signal.SIGTERM)

    def workers(self, table: dict[int, Stat], parent: int) -> list[int]:
        found: list[int] = []
        for stat in table.values():
            if stat.ppid == parent:
                found += [stat.pid] if stat.session == stat.pid else self.workers(table, stat.pid)
        return found

    # -- the end ---------------------------------------------------------------------------------------------------

    def members(self) -> dict[int, Stat]:
        """All living processes of the trainer: our tree, who holds the lock as standard input, who carries the marker."""
        table = process_table()
        me = os.getpid()
        found = descendants(table, [me])
        found |= {pid for pid in table if pid not in found and (self.holds_lock(pid) or self.is_marked(pid))}
        found |= descendants(table, found)
        return {pid: table[pid] for pid in found if pid not in (me, 1)}

    def holds_lock(self, pid: int) -> bool:
        try:
            link = f"/proc/{pid}/fd/0"
            # The name first: to stat a stranger's file on a dead network mount would hang.
            return self.lock_name in os.readlink(link) and os.path.samestat(os.stat(link), os.fstat(self.lock))
        except OSError:
            return False

    def is_marked(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return self.marks.issubset(file.read().split(b"\0"))
        except OSError:
            return False

    def sweep(self) -> dict[str, list[int]]:
        """SIGKILL to everything until nothing is found any more; a fork may run away from one round, not from all."""
        swept: set[int] = set()
        deadline = time.monotonic() + SWEEP_LIMIT_S
        while True:
            self.reap()
            living = self.members()
            if not living or time.monotonic() > deadline:
                return {"swept": sorted(swept - set(living)), "left": sorted(living)}
            for stat in living.values():
                kill(stat, signal.SIGKILL)
            swept |= set(living)
            time.sleep(0.01)

    def finish(self, reason: str, detail: str) -> NoReturn:
        report = {"reason": reason, "detail": detail, **self.sweep()}
        self.reap()
        report.update(rc=self.rc, at=wall_clock())
        for _ in range(EXIT_WRITE_TRIES):
            try:
                write_json(self.path("exit.json"), report)
                os._exit(0)  # At once: the lock goes with us, and who reads the report may want the host.
            except OSError:
                note_error()
                time.sleep(1)
        os._exit(1)


def kill(stat: Stat | None, number: int) -> None:
    """Sends a signal if the process is still the one that was seen."""
    now = read_stat(stat.pid) if stat else None
    if stat is None or now is None or now.start != stat.start:
        return
    try:
        os.kill(stat.pid, number)
    except OSError:
        pass


DETAILS = {
    "exited": "The trainer ended by itself.",
    "stopped": "The trainer was asked to stop.",
    "lease": "The lease ran out: the agent renewed it no more, so the trainer was killed.",
}


def main() -> None:
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    supervisor = Supervisor(os.path.abspath(sys.argv[1]))
    supervisor.listen()
    supervisor.take_host()
    try:
        supervisor.start_trainer()
    except (OSError, subprocess.SubprocessError) as error:
        supervisor.finish("failed-to-start", f"The trainer's command could not be started: {error}.")
    try:
        reason = supervisor.watch()
    except Exception as error:  # noqa: BLE001 - whatever it is, a trainer without a watcher must not go on.
        note_error()
        supervisor.finish("supervisor-error", f"The supervisor failed: {error!r}.")
    supervisor.finish(reason, DETAILS[reason])


if __name__ == "__main__":
    main()
