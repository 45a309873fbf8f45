"""Text files in all encodings, separators and line ends become lines; stray marks and damage lose no other row."""

from __future__ import annotations

import os
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ninezero.schemas.events import PushTokens
from ninezero.streams.edge.listfiles.column_mapping import ColumnMapping
from ninezero.streams.edge.listfiles.errors import ListFileError
from ninezero.streams.edge.listfiles.list_file import open_list_file
from tests.unit.edge.listfiles.reading import (
    ID,
    PHONE,
    PLATE,
    error_line,
    lines_of,
    tokens,
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "，", "；", "｜"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_encoding_separator_and_line_end_reads_the_same(
    write_file: Any, encoding: str, separator: str, end: str
) -> None:
    rows = ["姓名|身份证号|手机号|车牌号|地址", f"张三|{ID}|{PHONE}|{PLATE}|某地", f"李四||{PHONE}|京·A 12345|某地"]
    text = end.join(row.replace("|", separator) for row in rows)
    found = lines_of(write_file(text, encoding))
    assert [line.row for line in found] == [2, 3]
    assert found[0].push.tokens == PushTokens(
        id=tokens("id", ID), phone=tokens("phone", "86" + PHONE), plate=tokens("plate", PLATE)
    )
    assert found[1].push.tokens.plate == tokens("plate", "京A12345")


@pytest.mark.parametrize("bom,encoding", [(b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")])
def test_both_byte_orders_of_utf_16_are_read(write_file: Any, bom: bytes, encoding: str) -> None:
    assert lines_of(write_file(bom + f"身份证号\n{ID}".encode(encoding)))[0].code is None


def test_full_width_digits_and_headers_are_read(write_file: Any) -> None:
    wide = ID.translate({ord(c): ord(c) + 0xFEE0 for c in ID})
    found = lines_of(write_file(f"＊身份证号（必填），Ｐｈｏｎｅ　Ｎｏ．\n{wide}，１３８００１３８０００\n"))
    assert found[0].push.tokens == PushTokens(id=tokens("id", ID), phone=tokens("phone", "86" + PHONE))


def test_one_column_needs_no_separator(write_file: Any) -> None:
    assert len(lines_of(write_file(f"id\n{ID}\n{ID}"))) == 2


def test_titles_above_the_header_and_an_excel_hint_are_skipped(write_file: Any) -> None:
    found = lines_of(write_file(f"sep=;\n某区密切接触者名单\n\n制表;2020年2月3日\n身份证号;电话\n{ID};{PHONE}\n"))
    assert [(line.row, line.code) for line in found] == [(6, None)]


def test_a_blank_row_is_no_line_but_a_row_without_an_identity_is(write_file: Any) -> None:
    found = lines_of(write_file(f'姓名,id\n,\n  ,\u3000\n"",""\n张三,\n\n李四,{ID}\n合计,\n'))
    assert [(line.push.line, line.row, line.code) for line in found] == [
        (1, 5, "no_token"),
        (2, 7, None),
        (3, 8, "no_token"),
    ]


def test_a_short_or_long_row_keeps_the_cells_of_its_columns(write_file: Any) -> None:
    found = lines_of(write_file(f"id,phone,姓名\n{ID}\n{ID},{PHONE},张三,,\n"))
    assert found[0].push.tokens == PushTokens(id=tokens("id", ID))
    assert found[1].findings == () and found[1].push.tokens.phone == tokens("phone", "86" + PHONE)


def test_a_row_that_a_stray_separator_has_shifted_gets_no_token(write_file: Any) -> None:
    found = lines_of(write_file(f"地址,id,phone\n某路1号,某室,{ID},{PHONE}\n某路,{ID},{PHONE},二楼\n"))
    assert found[0].code == "no_token" and "row:shifted" in found[0].findings
    assert found[1].code is None and found[1].findings == ("row:shifted",)


def test_quoted_cells_may_hold_separators_quotes_and_line_ends(write_file: Any) -> None:
    found = lines_of(write_file(f'姓名,地址,id\n"张""三","某路,\n1号\n二楼",{ID}\n李四,某路,{ID}\n'))
    assert [(line.row, line.code) for line in found] == [(2, None), (3, None)]


@pytest.mark.parametrize("stray", ['"张三', '张"三', '"张"三', '"', '""张三"'])
def test_a_stray_quotation_mark_loses_no_row(write_file: Any, stray: str) -> None:
    rows = [f"甲,{ID},x"] * 3 + [f"{stray},{ID},x"] + [f"乙,{ID},x"] * 30 + [f"{stray},{ID},x"] + [f'"丙",{ID},"x"'] * 3
    found = lines_of(write_file("姓名,id,地址\n" + "\n".join(rows)))
    assert [line.row for line in found] == list(range(2, 40))
    assert all(line.push.tokens.id == tokens("id", ID) for line in found)


def test_a_quoted_cell_that_swallowed_rows_is_split_into_them(write_file: Any) -> None:
    found = lines_of(write_file(f'姓名,id,地址\n"甲,{ID},x\n乙,{ID},x\n丙",{ID},x\n丁,{ID},x\n'))
    assert [line.row for line in found] == [2, 3, 4, 5] and all(line.code is None for line in found)


@pytest.mark.parametrize(
    "content,expected",
    [
        (b"", "empty"), (b" \r\n\t\n", "empty"), (b"\xff\xfe\0\0i\0\0\0", "UTF-32"), (b"id\n\0\0\0\x01", "not a text file"),
        (b"id\n\xff\xff\xff", "neither UTF-8"), (b"\xff\xfei\0d\0\n\0\0\xd8", "neither UTF-8"),
        ("身份证号,车牌号\n,鲁A12345\n".encode() + b"\x81A\n", "damaged characters"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old Excel"), (b"%PDF-1.7 id\n", "PDF"),
        (b"<html><table><tr><td>id</td></tr>", "web page"), (b"PK\x03\x04id", "damaged"),
        (b"id\n" + b"1" * (1 << 21), "row 2 has over"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table_is_rejected_in_one_line(write_file: Any, content: bytes, expected: str) -> None:
    message = error_line(lambda: lines_of(write_file(content)))
    assert expected in message and message.startswith("file 1: ")


def test_a_missing_file_a_folder_and_a_changed_file_are_rejected(write_file: Any, tmp_path: Path) -> None:
    assert "no such file" in error_line(lambda: open_list_file(tmp_path / ID))
    assert "not a file" in error_line(lambda: open_list_file(tmp_path, 3))
    path = write_file(f"id\n{ID}\n")
    sheet = open_list_file(path)
    path.write_text(f"id\n{ID}\n{ID}\n")
    assert "changed" in error_line(lambda: list(sheet.rows()))


def test_a_pipe_is_rejected_without_reading_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a file" in error_line(lambda: open_list_file(tmp_path / "pipe"))


def test_a_row_of_300_000_columns_and_a_huge_cell_are_read(write_file: Any) -> None:
    wide = write_file("id" + ",x" * 300_000 + f"\n{ID}" + ",y" * 300_000)
    assert lines_of(wide)[0].push.tokens == PushTokens(id=tokens("id", ID))
    [line] = lines_of(write_file(f"id,phone\n{'9' * 500_000},{PHONE}\n"))
    assert line.findings == ("id:bad_length",) and line.code is None


def test_a_long_list_takes_little_memory(write_file: Any) -> None:
    path = write_file("姓名,id,地址\n" + f"张三,{ID},某地\n" * 60_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in open_list_file(path).rows()) == 60_000
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


ANY_CONTENT = (
    st.binary(max_size=400)
    | st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.text(alphabet='",;\t\n\r\0身份证号手机id通1980X-/Ａ無\u2028\ufeff', max_size=300).map(
        lambda text: ("身份证号,手机号,id2\n" + text).encode()
    )
    | st.text(alphabet='",\n1x', max_size=200).map(lambda text: ("id,phone\n" + text).encode("gb18030"))
)


def test_any_bytes_give_lines_or_one_error(tmp_path: Path) -> None:
    path = tmp_path / "fuzz"
    results: Counter[str] = Counter()

    @settings(deadline=None, max_examples=300)
    @given(ANY_CONTENT)
    @example(b"\xef\xbb\xbf")
    @example(b"\xff\xfe")
    @example(b'id\n"')
    def read(content: bytes) -> None:
        path.write_bytes(content)
        for mapping in (None, ColumnMapping(id="A", plate="B", valid_to=3)):
            try:
                found = lines_of(path, mapping=mapping)
            except ListFileError as error:
                assert "\n" not in str(error)
                results["error"] += 1
            else:
                rows = [line.row for line in found]
                assert rows == sorted(set(rows)) and len(rows) <= content.count(b"\n") + content.count(b"\r") + 1
                results["lines" if rows else "no line"] += 1

    read()
    assert min(results["error"], results["lines"]) > 20, results
