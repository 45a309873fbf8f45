"""Keeps what the memory of a process holds, such as identities and keys, away from files and other programs."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_PR_SET_DUMPABLE = 4
"""`prctl(2)` of Linux."""


def keep_memory_private() -> None:
    """Makes this process leave no core dump. On Linux no other program of its user can read its memory or attach a debugger either.

    A core limit of 0 is not enough: Linux ignores it where a program such as systemd-coredump receives the dumps.

    Raises:
        OSError: the operating system refuses it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
