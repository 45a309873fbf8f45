"""The deployment and the values with which the tests of this folder read files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ninezero.streams.edge.documents.checks import check
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.edge.listfiles.errors import ListFileError
from ninezero.streams.edge.listfiles.list_file import open_list_file
from ninezero.streams.edge.listfiles.push_lines import CheckedLine, PushOptions, read_lines

ID, PASSPORT, PHONE, PLATE, PASS = "11010519491231002X", "UTO/L898902C3", "13800138000", "鲁A12345", "JY-000123"
CHINA = ZoneInfo("Asia/Shanghai")
NOW = datetime(2020, 2, 3, 4, 0, tzinfo=UTC)
OPTIONS = PushOptions("delta", "close_contact", NOW, CHINA, days=14)
RING = KeyRing("k2", {"k1": (b"1" * 32, None), "k2": (b"2" * 32, None)})


def lines_of(*paths: Path, options: PushOptions = OPTIONS, **opening: Any) -> list[CheckedLine]:
    """Returns the lines of files, opened with these arguments of `open_list_file`."""
    files = [open_list_file(path, number, **opening) for number, path in enumerate(paths, 1)]
    return list(read_lines(files, RING, options, check))


def tokens(domain: str, normal: str) -> list[str]:
    """Returns the tokens of a normal form under every key of the ring."""
    return RING.tokens(domain, normal)  # type: ignore[arg-type]


def local(*parts: int) -> datetime:
    """Returns a time of the zone in which the files are read."""
    return datetime(*parts, tzinfo=CHINA)  # type: ignore[arg-type, misc]


def error_line(act: Callable[[], object]) -> str:
    """Returns the message of the ListFileError that `act` raises: one line, with no other error attached."""
    with pytest.raises(ListFileError) as caught:
        act()
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    message = str(caught.value)
    assert "\n" not in message
    return message
