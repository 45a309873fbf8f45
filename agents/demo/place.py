"""What one demo has for itself: a folder and ports. Demos that run at the same time do not share them."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ninezero.streams.errors import UserError
from ninezero.streams.local_kafka.ports import is_free
from ninezero.streams.settings import ROLES

FIRST_PORT, BLOCKS = 6066, 200
"""The roles of a demo listen on consecutive ports, the first of them here, or in a later block of ports."""


class Place(NamedTuple):
    """A folder and ports of one demo. `lock` is the descriptor that keeps other demos out of the folder while a process has it open."""

    folder: Path
    port: int
    lock: int


@contextlib.contextmanager
def own_place(run: Path) -> Iterator[Place]:
    """Yields a place that no other demo uses: a folder `demo`, `demo-2`, … below `run`, and a block of free ports.

    Raises:
        UserError: the folder cannot be written, or no ports are free.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder, lock = _lock_folder(run)
        except OSError as error:
            raise UserError(
                f"cannot write in {run.absolute()} ({error.strerror}): run the demo in another folder"
            ) from None
        stack.callback(os.close, lock)
        yield Place(folder, stack.enter_context(_reserved_ports()), lock)


def demo_folders(run: Path) -> list[Path]:
    """Returns the folders of the demos that were run below `run`, the latest first."""
    found = [path for path in run.glob("demo*") if (path / "lock").is_file()]
    return sorted(found, key=lambda path: (path / "started").stat().st_mtime if (path / "started").exists() else 0)[
        ::-1
    ]


def _lock_folder(run: Path) -> tuple[Path, int]:
    for number in itertools.count(1):
        folder = run.absolute() / ("demo" if number == 1 else f"demo-{number}")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # a demo, or the workers of one that was killed
            os.close(lock)
            continue
        (folder / "started").touch()
        return folder, lock
    raise AssertionError  # the count has no end


@contextlib.contextmanager
def _reserved_ports() -> Iterator[int]:
    """Yields the first port of a block of free ports.

    The roles take their ports some seconds later. Until the end of the demo a socket that listens on the last port of the block keeps
    other demos out of it.
    """
    size = len(ROLES) + 1
    for block in range(BLOCKS):
        first = FIRST_PORT + block * size
        with socket.socket() as guard:
            guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                guard.bind(("127.0.0.1", first + len(ROLES)))
                guard.listen()
            except OSError:
                continue
            if all(is_free(first + n) for n in range(len(ROLES))):
                yield first
                return
    raise UserError(f"no {size} free ports in a row from {FIRST_PORT} on: end programs that listen on this machine")
