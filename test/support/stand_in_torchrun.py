#!/usr/bin/env python3
"""Stands in for torchrun and its ranks where a test is about who watches, saves and stops, not about what is learnt.

One process a node that keeps a trainer's contract: arguments, log lines, tracker, `iter_…` folders, SIGTERM, a collective that fails
when a peer is gone. Its "weights" are a chain of hashes over the iterations, so that the last checkpoint is the same bits only if
no iteration was lost or done twice. It waits where `hold` beside it says: `<iteration>`; and every iteration takes 20 ms.
"""

import argparse
import hashlib
import json
import signal
import socket
import sys
import time
from pathlib import Path

TRACKER = "latest_checkpointed_iteration.txt"
HOLD_FILE = Path(__file__).resolve().parent / "hold"
GO, HOLD, STOP = b"0", b"1", b"2"

parser = argparse.ArgumentParser()
for name in ("node_rank", "master_port", "train-iters", "save-interval"):
    parser.add_argument(f"--{name}", type=int)
for name in ("master_addr", "load", "save"):
    parser.add_argument(f"--{name}")
args = parser.parse_known_args()[0]
save, load = Path(args.save), Path(args.load)
plan = json.loads((save.parent / "plan.json").read_text())["gang"]
stop = False


def asked_to_stop(*_: object) -> None:
    global stop
    stop = True


signal.signal(signal.SIGTERM, asked_to_stop)


def replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def held(iteration: int) -> bool:
    try:
        return iteration >= int(HOLD_FILE.read_text())
    except (OSError, ValueError):
        return False


class Peers:
    """Two nodes in step: each says its word, and both do the higher one."""

    def __init__(self) -> None:
        if args.node_rank == 0:
            server = socket.create_server(("127.0.0.1", args.master_port))
            server.settimeout(30)
            self.line = server.accept()[0]
        else:
            deadline = time.monotonic() + 30
            while True:
                try:
                    self.line = socket.create_connection(
                        (args.master_addr, args.master_port)
                    )
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        sys.exit("RendezvousTimeoutError")
                    time.sleep(0.05)

    def step(self, word: bytes) -> bytes:
        try:
            self.line.sendall(word)
            answer = self.line.recv(1)
        except OSError as error:
            sys.exit(f"{error}: Connection reset by peer")
        if answer == b"":
            sys.exit("Connection closed by peer")
        return max(word, answer)


def shards(written: bool) -> list[str]:
    files = plan["checkpointFiles"]
    return [
        one["path"]
        for one in files
        if (
            one["writtenBy"] == args.node_rank
            if written
            else args.node_rank in one["readBy"]
        )
    ]


def write_save(iteration: int, state: dict[str, str]) -> None:
    print(
        f"saving checkpoint at iteration {iteration:7d} to {save} in torch format",
        flush=True,
    )
    for path in shards(written=True):
        replace(
            save / f"iter_{iteration:07d}" / path,
            json.dumps({"iteration": iteration, "state": state[path]}),
        )
    peers.step(GO)
    if args.node_rank == 0:
        replace(save / TRACKER, str(iteration))
    print(
        f"  successfully saved checkpoint from iteration {iteration:7d} to {save}",
        flush=True,
    )


tracker = (load / TRACKER).read_text().strip()
iteration = 0 if tracker == "release" else int(tracker)
state = {
    path: hashlib.sha256(path.encode()).hexdigest() for path in shards(written=True)
}
if iteration > 0:
    for path in shards(written=False):
        saved = json.loads((load / f"iter_{iteration:07d}" / path).read_text())
        assert saved["iteration"] == iteration, saved
        state[path] = saved["state"]
peers = Peers()
while iteration < args.train_iters:
    decision = peers.step(STOP if stop else HOLD if held(iteration) else GO)
    if decision == HOLD:
        time.sleep(0.02)
        continue
    iteration += 1
    state = {
        path: hashlib.sha256(f"{text} {iteration}".encode()).hexdigest()
        for path, text in state.items()
    }
    time.sleep(0.02)
    if args.node_rank == plan["reportingNode"]:
        print(
            f" iteration {iteration:8d}/{args.train_iters:8d} | loss: {1 / iteration:.6E} |",
            flush=True,
        )
    if (
        decision == STOP
        or iteration % args.save_interval == 0
        or iteration == args.train_iters
    ):
        write_save(iteration, state)
    if decision == STOP:
        print("exiting program after receiving SIGTERM.", flush=True)
        sys.exit(0)
if args.node_rank == 0:
    print("[after training is done] datetime: now", flush=True)
