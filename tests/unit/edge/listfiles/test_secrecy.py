"""No cell of a list file is shown, sent or written, whatever the file contains."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ninezero.schemas.events import encode
from ninezero.streams.edge.documents.checks import check
from ninezero.streams.edge.listfiles.batch_parts import split_into_parts
from ninezero.streams.edge.listfiles.column_mapping import ColumnMapping
from ninezero.streams.edge.listfiles.errors import ListFileError
from ninezero.streams.edge.listfiles.list_file import open_list_file
from ninezero.streams.edge.listfiles.push_lines import read_lines
from ninezero.streams.edge.listfiles.push_summary import summarise, write_rejects
from tests.unit.edge.listfiles.reading import (
    ID,
    OPTIONS,
    PASS,
    PASSPORT,
    PHONE,
    PLATE,
    RING,
)

SECRETS = ("张密", ID, ID[:17], "L898902C3", PHONE, "12345", "某村某号", "密表", "000123")


def outputs(path: Path, folder: Path, **opening: Any) -> Iterator[str]:
    """Yields everything that a push of the file can show, write or send."""
    rejects = folder / "rejects.csv"
    try:
        file = open_list_file(path, **opening)
        yield str(file.describe()) + repr(file) + repr(file._layout) + repr(file._table)
        yield from (repr(row) for row in file.rows())
        yield repr(summarise(read_lines([file], RING, OPTIONS, check), 300))
        write_rejects(rejects, read_lines([file], RING, OPTIONS, check), [file])
        yield rejects.read_text("utf-8")
        for part in split_into_parts(read_lines([file], RING, OPTIONS, check), 300):
            yield repr(part) + encode([line.push for line in part]).decode()
    except ListFileError as error:
        yield str(error)
        yield "".join(str(frame) for frame in (error.__cause__, error.__context__) if frame)


@pytest.mark.parametrize(
    "header",
    ["姓名,身份证号,护照号,手机号,车牌号,健康通行证,截止,地址", "张密,,,,,,,某村某号", "身份证号,身份证,手机号", ""],
)
@pytest.mark.parametrize("break_", ["", "\0", '"', "\ud800", ",,,,,,,,,,", "x" * (1 << 20), "\x81"])
def test_no_cell_is_ever_shown_sent_or_written(tmp_path: Path, make_workbook: Any, header: str, break_: str) -> None:
    cells = ["张密", ID, PASSPORT, PHONE, PLATE, PASS, "03/04/2020", "某村某号"]
    for name, where in (
        (f"张密{ID}.csv", None),
        ("other.csv", ColumnMapping(id="张密", phone=PHONE)),
        ("third.csv", ColumnMapping(id="B")),
    ):
        path = tmp_path / name
        path.write_bytes(
            f"{header}\n{','.join(cells)}\n{break_}{','.join(reversed(cells))}\n".encode("utf-8", "surrogatepass")
        )
        for shown in outputs(path, tmp_path, mapping=where):
            assert not [secret for secret in SECRETS if secret in shown]
    if break_ in ("", '"'):
        book = make_workbook([header.split(","), cells, cells[::-1]])
        for opening in ({}, {"sheet": "密表"}):
            for shown in outputs(book, tmp_path, **opening):
                assert not [secret for secret in SECRETS if secret in shown]


def test_list_files_are_read_without_the_packages_of_the_workers() -> None:
    code = (
        "import sys\n"
        "for name in ('faust', 'aiokafka', 'clickhouse_driver', 'chdb', 'openpyxl', 'orjson'): sys.modules[name] = None\n"
        "import ninezero.streams.edge.listfiles.push_lines, ninezero.streams.edge.listfiles.list_file\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
