"""CPU time and memory of processes, read from /proc."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.support import wait_for


def cpu_seconds(pid: int) -> float:
    """Returns the user and system CPU seconds of one process so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Processes:
    """Named processes, each with all its descendants."""

    def __init__(self, **pids: int) -> None:
        self._pids = pids

    def cpu(self) -> dict[str, float]:
        """Returns the CPU seconds of each process so far, with its descendants, including those that have ended."""
        stats = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                stats[int(path.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
        children: dict[int, list[int]] = {}
        for pid, (parent, _) in stats.items():
            children.setdefault(parent, []).append(pid)

        def total(pid: int) -> int:
            return stats[pid][1] + sum(map(total, children.get(pid, ())))

        return {name: total(pid) / os.sysconf("SC_CLK_TCK") for name, pid in self._pids.items()}

    def memory_mb(self, field: str = "VmRSS:") -> dict[str, int]:
        """Returns a memory field of /proc/PID/status for each process, in MB, without its descendants."""
        texts = {name: Path(f"/proc/{pid}/status").read_text() for name, pid in self._pids.items()}
        return {name: int(text.partition(field)[2].split()[0]) >> 10 for name, text in texts.items()}

    def peak_mb(self) -> int:
        """Returns the sum of the peak memory of all processes, in MB."""
        return sum(self.memory_mb("VmHWM:").values())

    def wait_until_idle(self, ready: Callable[[], bool]) -> None:
        """Waits until `ready` holds and the processes use almost no CPU time."""
        wait_for(ready, 90, "the processes to be ready")
        deadline = time.monotonic() + 60
        while True:
            before = sum(self.cpu().values())
            time.sleep(1.5)
            if sum(self.cpu().values()) - before < 0.15:
                return
            assert time.monotonic() < deadline, "the processes do not become idle"
