"""Checks that released migrations are unchanged: `python -m tests.released`, part of `make lint`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from ninezero.streams.clickhouse.migrations import SQL_FOLDER


def problems(folder: Path) -> Iterator[str]:
    """Yields a line for each released migration that is missing or has changed, and for each one too many.

    Args:
        folder: the folder of the migrations and of `released.txt`.
    """
    lines = [line.split() for line in (folder / "released.txt").read_text().splitlines() if line and line[0] != "#"]
    released = {name: sha256 for sha256, name in lines}
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.sql")}
    for name, sha256 in released.items():
        if files.get(name) != sha256:
            yield f"{name} is part of a release and was {'changed' if name in files else 'removed'}: restore it, and add a migration"
    if len(unreleased := sorted(files.keys() - released.keys())) > 1:
        yield f"a release adds at most one migration: join {', '.join(unreleased)}"
    numbers = [int(name[:3]) for name in sorted(files)]
    if numbers != list(range(1, len(files) + 1)):
        yield "the migrations are not numbered 001, 002, … without gaps: rename them"


if __name__ == "__main__":
    found = list(problems(SQL_FOLDER))
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
