"""Fixtures that write the files which the tests of this folder read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest


@pytest.fixture
def write_file(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes a file and returns its path."""

    def write(content: bytes | str, encoding: str = "utf-8") -> Path:
        path = tmp_path / f"list{len(list(tmp_path.iterdir()))}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


@pytest.fixture
def make_workbook(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that makes a workbook of sheets of rows with openpyxl, and returns its path."""

    def make(*sheets: list[list[Any]], change: Callable[[Any], None] = lambda book: None) -> Path:
        book = openpyxl.Workbook()
        book.remove(book.active)
        for rows in sheets:
            page = book.create_sheet()
            for row in rows:
                page.append(row)
        change(book)
        path = tmp_path / f"list{len(list(tmp_path.iterdir()))}.xlsx"
        book.save(path)
        return path

    return make
