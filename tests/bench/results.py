"""`.run/bench.json`: the figures of each benchmark, with the machine on which they were measured."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FILE = Path(".run/bench.json")


def machine() -> dict[str, Any]:
    """Returns processor, cores, memory, versions and the current load of this machine."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())  # fmt: skip
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model, "cores": len(os.sched_getaffinity(0)), "memory_gib": round(pages / 2**30, 1),
        "system": platform.platform(), "python": sys.version.split()[0], "load": os.getloadavg(),
    }  # fmt: skip


def read(bench: str) -> Any:
    """Returns the stored figures of a benchmark, or {} if there are none."""
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found.get(bench, {}).get("figures", {})


def store(bench: str, figures: Any) -> None:
    """Stores the figures of a benchmark with the time and the machine. They replace its earlier figures."""
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    FILE.parent.mkdir(exist_ok=True)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    FILE.write_text(json.dumps(found | {bench: {"at": at, **machine(), "figures": figures}}, indent=2) + "\n")
