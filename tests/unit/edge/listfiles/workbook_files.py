"""Workbooks whose parts are written by hand, for what openpyxl does not write."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

XML = '<?xml version="1.0" encoding="UTF-8"?>'
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def with_parts(path: Path, change: Callable[[str, bytes], bytes], extra: dict[str, bytes] | None = None) -> Path:
    """Rewrites a workbook with every part changed by `change`, and with `extra` parts."""
    with zipfile.ZipFile(path) as old:
        content = {name: change(name, old.read(name)) for name in old.namelist()} | (extra or {})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in content.items():
            new.writestr(name, data)
    return path


def with_sheet_xml(path: Path, rows: str, part: str = "xl/worksheets/sheet1.xml") -> Path:
    """Replaces the rows of a workbook's first sheet by hand-written XML."""
    whole = f"{XML}<worksheet {MAIN}><dimension ref='A1'/><sheetData>{rows}</sheetData></worksheet>".encode()
    return with_parts(path, lambda name, data: whole if name == part else data)


def with_shared_strings(path: Path, rows: str, *strings: str) -> Path:
    """Replaces the rows by XML that refers to shared strings, as Excel writes them. openpyxl writes strings into the cells."""
    whole = f"{XML}<sst {MAIN}>{''.join(f'<si>{text}</si>' for text in strings)}</sst>".encode()
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"
    relation = f'<Relationship Id="rId99" Type="{kind}" Target="sharedStrings.xml"/></Relationships>'.encode()
    return with_parts(
        with_sheet_xml(path, rows),
        lambda name, data: (
            data.replace(b"</Relationships>", relation) if name == "xl/_rels/workbook.xml.rels" else data
        ),
        {"xl/sharedStrings.xml": whole},
    )
