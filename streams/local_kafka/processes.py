"""The process of a broker, found again by its number and its arguments.

A number may have been given to another process since the broker ended. The last two arguments of a broker, Kafka's class and a
configuration that is in its own folder, tell it from every other process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path


def runs(pid: int, last: tuple[str, str]) -> bool:
    """Returns whether a process lives and has these last arguments."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        return arguments.split(b"\0")[-3:-1] == [os.fsencode(one) for one in last]  # a zombie process has no arguments
    except OSError:
        if Path("/proc/self").exists():
            return False
    with contextlib.suppress(OSError):  # macOS has no /proc
        command = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout
        return command.rstrip().endswith(f" {last[0]} {last[1]}")
    return False


def send_signal(pid: int, last: tuple[str, str], sign: signal.Signals) -> None:
    """Sends a signal to a process if it has these last arguments, and never to another one.

    Raises:
        PermissionError: the process belongs to another user.
    """
    with contextlib.suppress(ProcessLookupError):  # it has ended
        if not hasattr(os, "pidfd_open"):  # macOS
            if runs(pid, last):
                os.kill(pid, sign)
            return
        process = os.pidfd_open(pid)
        try:
            if runs(pid, last):  # from here on the descriptor means this process, even if it ends
                signal.pidfd_send_signal(process, sign)
        finally:
            os.close(process)
