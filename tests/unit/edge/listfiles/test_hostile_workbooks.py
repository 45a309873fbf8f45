"""A damaged or hostile workbook is rejected in one line, within limits of time and memory."""

from __future__ import annotations

import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ninezero.streams.edge.listfiles.errors import ListFileError
from ninezero.streams.edge.listfiles.list_file import open_list_file
from ninezero.streams.edge.listfiles.tables import cell_values, office_archive
from tests.unit.edge.listfiles.reading import (
    ID,
    error_line,
    lines_of,
)
from tests.unit.edge.listfiles.workbook_files import MAIN, XML, with_parts, with_shared_strings, with_sheet_xml

HOSTILE: dict[str, Callable[[Path], Path]] = {
    "entities": lambda p: with_parts(p, lambda n, d: d.replace(b"<worksheet", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><worksheet', 1)),
    "utf-16 entities": lambda p: with_parts(
        p,
        lambda n, d: (
            '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x [<!ENTITY a "b">]><workbook/>'.encode("utf-16")
            if n == "xl/workbook.xml"
            else d
        ),
    ),
    "deep": lambda p: with_sheet_xml(p, "<row>" * 100_000),
    "long tag": lambda p: with_sheet_xml(p, f'<row r="{"1" * 3_000_000}"/>'),
    "text that is not there": lambda p: with_sheet_xml(p, '<row><c t="s"><v>99999</v></c></row>'),
    "text of a negative number": lambda p: with_sheet_xml(p, '<row><c t="s"><v>-1</v></c></row>'),
    "no sheet": lambda p: with_parts(p, lambda n, d: d.replace(b"worksheets/sheet1.xml", b"gone.xml") if n.endswith(".rels") else d),
    "cut xml": lambda p: with_parts(p, lambda n, d: d[:-20]),
    "no workbook": lambda p: with_parts(p, lambda n, d: d.replace(b"<workbook", b"<w:document", 1).replace(b"</workbook", b"</w:document")),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_or_damaged_workbook_is_rejected_in_one_line(make_workbook: Any, kind: str) -> None:
    message = error_line(lambda: lines_of(HOSTILE[kind](make_workbook([["id", "地址"], [ID, "某地"]]))))
    assert message.startswith("file 1: ") and ID not in message


def test_a_workbook_that_unpacks_to_too_many_bytes_is_rejected(
    make_workbook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_shared_strings(make_workbook([["x"]]), '<row><c t="s"><v>0</v></c></row>', "<t>id</t>", f"<t>{ID}</t>")
    with_parts(path, lambda n, d: d, {"xl/media/bomb": bytes(50 << 20)})
    assert path.stat().st_size < 1 << 20
    monkeypatch.setattr(office_archive, "MAX_UNPACKED_BYTES", 40 << 20)
    assert "unpacks to more" in error_line(lambda: open_list_file(path))
    monkeypatch.setattr(office_archive, "MAX_UNPACKED_BYTES", 1 << 30)
    monkeypatch.setattr(cell_values, "MAX_SHARED_BYTES", 10)
    assert "unpacks to more" in error_line(lambda: open_list_file(path))


def with_layout(path: Path, before: str, after: str) -> Path:
    return with_parts(
        path,
        lambda name, data: (
            data.replace(b"<sheetData>", before.encode() + b"<sheetData>").replace(
                b"</sheetData>", b"</sheetData>" + after.encode()
            )
            if name.endswith("sheet1.xml")
            else data
        ),
    )


def with_styles(path: Path, formats: Iterable[str], styles: int) -> Path:
    codes = "".join(f'<numFmt numFmtId="{200 + place}" formatCode="{code}"/>' for place, code in enumerate(formats))
    cells = "".join(f'<xf numFmtId="{200 + place % 9000}"/>' for place in range(styles))
    whole = f"{XML}<styleSheet {MAIN}><numFmts>{codes}</numFmts><cellXfs>{cells}</cellXfs></styleSheet>"
    return with_parts(path, lambda name, data: whole.encode() if name == "xl/styles.xml" else data)


MANY: dict[str, Callable[[Path], Path]] = {
    "hidden columns": lambda p: with_layout(p, "<cols>" + '<col min="1" max="16384" hidden="0"/><col min="2" max="16384" hidden="1"/>' * 50_000 + "</cols>", ""),
    "merged cells": lambda p: with_layout(p, "", "".join(f'<mergeCell ref="A{n}:XFD1048576"/>' for n in range(1, 240_000))),
    "number formats": lambda p: with_styles(p, ('0?#"x"' * 30 + str(n) for n in range(9000)), 100_000),
}  # fmt: skip


@pytest.mark.parametrize("kind", MANY)
def test_a_workbook_with_very_much_layout_is_read_soon(make_workbook: Any, kind: str) -> None:
    path, began = MANY[kind](make_workbook([["id"], *[[ID]] * 50])), time.process_time()
    with suppress(ListFileError):
        lines_of(path)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "many",
    [
        lambda p: with_layout(p, "", '<mergeCell ref="A1:B2"/>' * 260_000),
        lambda p: with_styles(p, map(str, range(10_001)), 1),
    ],
)
def test_a_workbook_with_too_much_layout_is_rejected(make_workbook: Any, many: Callable[[Path], Path]) -> None:
    assert "more than a list needs" in error_line(lambda: lines_of(many(make_workbook([["id"], [ID]]))))


def test_an_archive_with_a_password_or_of_another_kind_is_rejected(tmp_path: Path, make_workbook: Any) -> None:
    path = make_workbook([["id"], [ID]])
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(mark, at + 1)) >= 0:
            content[at + offset] |= 1
    path.write_bytes(content)
    assert "password" in error_line(lambda: open_list_file(path))
    path.write_bytes(path.read_bytes()[:-30])
    assert "damaged" in error_line(lambda: open_list_file(path))
    with zipfile.ZipFile(tmp_path / "ods", "w") as other:
        other.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
    assert "not an .xlsx workbook" in error_line(lambda: open_list_file(tmp_path / "ods"))


def test_any_damage_to_a_workbook_gives_lines_or_one_error(tmp_path: Path, make_workbook: Any) -> None:
    intact = make_workbook([["id", "phone", "截止"], [ID, 13800138000, datetime(2020, 2, 17)], ["x", None, "y"]])
    rows = '<row><c t="s"><v>0</v></c></row><row><c t="s"><v>1</v></c><c><v>1</v></c></row>'
    whole = with_shared_strings(intact, rows, "<t>id</t>", f"<t>{ID}</t>").read_bytes()
    path = tmp_path / "damaged.xlsx"
    results: Counter[str] = Counter()

    @settings(deadline=None, max_examples=150)
    @given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.booleans())
    def read(at: int, damage: bytes, inside: bool) -> None:
        def damaged(data: bytes) -> bytes:
            return data[: at % len(data)] + damage + data[at % len(data) + len(damage) :]

        if inside:  # the archive is valid, the XML of each part is damaged
            path.write_bytes(whole)
            with_parts(path, lambda name, data: damaged(data))
        else:
            path.write_bytes(damaged(whole))
        try:
            lines_of(path)
        except ListFileError as error:
            assert "\n" not in str(error) and ID not in str(error)
            results["error"] += 1
        else:
            results["lines"] += 1

    read()
    assert min(results["error"], results["lines"]) > 20, results
