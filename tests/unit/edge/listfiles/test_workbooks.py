"""The cells of an .xlsx workbook become the same lines as those of a text file."""

from __future__ import annotations

import tracemalloc
import warnings
from datetime import UTC, datetime
from typing import Any

import openpyxl
import pytest

from ninezero.schemas.events import PushTokens
from ninezero.streams.edge.listfiles.column_mapping import ColumnMapping
from ninezero.streams.edge.listfiles.list_file import open_list_file
from tests.unit.edge.listfiles.reading import (
    ID,
    PHONE,
    lines_of,
    tokens,
)
from tests.unit.edge.listfiles.workbook_files import XML, with_parts, with_shared_strings, with_sheet_xml


def test_a_workbook_is_read_with_dates_and_numbers_as_excel_has_them(make_workbook: Any) -> None:
    head = ["姓名", "身份证号", "手机号", "起始日期", "截止日期"]
    rows = [
        ["甲", ID, 13800138000, datetime(2020, 2, 3), datetime(2020, 2, 17)],
        ["乙", ID, 13800138000.0, 43864, 43878.5],
        ["丙", ID, PHONE, "2020年2月3日", 20200217],
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = lines_of(make_workbook([["名单"], [], head, *rows]))
    assert [line.row for line in found] == [4, 5, 6]
    assert {str(line.push.tokens) for line in found} == {
        str(PushTokens(id=tokens("id", ID), phone=tokens("phone", "86" + PHONE)))
    }
    start, end = datetime(2020, 2, 2, 16, tzinfo=UTC), datetime(2020, 2, 17, 16, tzinfo=UTC)
    assert [(line.push.valid_from, line.push.valid_to) for line in found] == [
        (start, end), (start, datetime(2020, 2, 17, 4, tzinfo=UTC)), (start, end),
    ]  # fmt: skip


@pytest.mark.parametrize("number", [110105194912310021, 1.1010519491231e17, 1e15, 13800138000.5, -13800138000, 1e300])
def test_a_number_of_a_workbook_that_is_not_exact_gets_no_token(make_workbook: Any, number: float) -> None:
    [line] = lines_of(make_workbook([["id", "姓名"], [number, "甲"]]))
    assert line.code == "no_token" and line.findings == ("id:digits_lost",)


def test_fifteen_digits_typed_as_a_number_are_exact(make_workbook: Any) -> None:
    assert lines_of(make_workbook([["id"], [110105491231002]]))[0].push.tokens.id == tokens("id", ID)


def test_days_count_from_1904_where_the_workbook_says_so(make_workbook: Any) -> None:
    def old_mac(book: Any) -> None:
        book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904

    path = make_workbook([["id", "截止"], [ID, datetime(2020, 2, 17)], [ID, 43877 - 1462 + 0.5]], change=old_mac)
    ends = [line.push.valid_to for line in lines_of(path)]
    assert ends == [datetime(2020, 2, 17, 16, tzinfo=UTC), datetime(2020, 2, 16, 4, tzinfo=UTC)]


def test_the_first_visible_sheet_with_content_is_read_or_the_one_named(make_workbook: Any) -> None:
    def hide(book: Any) -> None:
        book.worksheets[0].sheet_state = "hidden"
        for number, page in enumerate(book.worksheets):
            page.title = f"表{number}"

    path = make_workbook([["身份证号"], ["x"]], [], [["id"], [ID]], [["id"], [ID], [ID]], change=hide)
    assert [len(lines_of(path, sheet=sheet)) for sheet in (None, "表3", "4", "表0")] == [1, 2, 2, 1]
    assert open_list_file(path).unread_sheets == 1 and open_list_file(path, sheet="表3").unread_sheets == 0


def test_errors_and_booleans_are_no_identities(make_workbook: Any) -> None:
    rows = [["姓名", "id"], ["丙", True], ["丁", "#N/A"]]
    assert [line.code for line in lines_of(make_workbook(rows))] == ["no_token", "no_token"]


def test_formulas_give_the_values_they_were_saved_with(make_workbook: Any) -> None:
    rows = (
        '<row r="1"><c r="A1" t="inlineStr"><is><t>id</t></is></c></row>'
        f'<row r="2"><c r="A2" t="str"><f>B2&amp;"x"</f><v>{ID}</v></c></row>'
        '<row r="3"><c r="A3" t="str"><f>IF(B3="","",1)</f><v></v></c></row><row r="4"><c r="A4"><f>1+1</f></c></row>'
    )
    found = lines_of(with_sheet_xml(make_workbook([["x"]]), rows))
    assert [(line.row, line.code, line.findings) for line in found] == [
        (2, None, ()),
        (4, "no_token", ("id:not_calculated",)),
    ]


def test_a_formula_without_its_result_is_not_an_empty_cell(make_workbook: Any) -> None:
    rows = [
        ["序号", "id", "截止"],
        ["=ROW()-1", ID, "=DATE(2020,2,10)"],
        ["=ROW()-1", "=B2", None],
        ["=ROW()-1", None, None],
    ]
    found = lines_of(make_workbook(rows))  # openpyxl does not calculate
    assert [(line.row, line.code, line.findings) for line in found] == [
        (2, "no_window", ("valid_to:not_calculated",)), (3, "no_token", ("id:not_calculated",)),
    ]  # fmt: skip


def test_shared_strings_are_read(make_workbook: Any) -> None:
    rows = (
        '<row r="2"><c r="A2" t="s"><v>3</v></c><c r="B2" t="s"><v>0</v></c></row><row r="3"><c r="A3" t="s"><v>2</v></c></row>'
        '<row r="4"><c r="A4" t="s"><v>2</v></c><c r="B4" t="s"><v>1</v></c><c r="C4" t="s"><v>4</v></c></row>'
    )
    halves = f"<r><t>{ID[:9]}</t></r><r><rPr/><t>{ID[9:]}</t></r><rPh><t>98</t></rPh>"
    path = with_shared_strings(
        make_workbook([["x"]]), rows, "<t>身份证号</t>", halves, "<t> \n</t>", "<t>姓名</t>", f"<t>{'某' * 9000}</t>"
    )
    assert [(line.row, line.push.tokens.id) for line in lines_of(path)] == [(4, tokens("id", ID))]
    [row] = open_list_file(path, mapping=ColumnMapping(id="身份证号", pass_="C")).rows()
    assert row.cells[0] == ID and row.cells[1] == "某" * 4097


def test_text_runs_phonetic_readings_prefixes_and_escapes_are_decoded(make_workbook: Any) -> None:
    half = f"<x:r><x:t>{ID[:9]}</x:t></x:r><x:r><x:t>{ID[9:]}</x:t></x:r><x:rPh><x:t>123</x:t></x:rPh>"
    whole = (
        f'{XML}<x:worksheet xmlns:x="http://purl.oclc.org/ooxml/spreadsheetml/main"><x:sheetData><x:row><x:c t="inlineStr"><x:is>'
        f'<x:t>id_x000D_</x:t></x:is></x:c></x:row><x:row><x:c t="inlineStr"><x:is>{half}</x:is></x:c></x:row></x:sheetData></x:worksheet>'
    ).encode()
    path = with_parts(make_workbook([["x"]]), lambda name, data: whole if name.endswith("sheet1.xml") else data)
    assert [line.push.tokens.id for line in lines_of(path)] == [tokens("id", ID)]


def test_rows_read_as_openpyxl_reads_them(make_workbook: Any) -> None:
    path = make_workbook(
        [["id", "phone", "备注"], *([ID, 13800000000 + n, None if n % 3 else f"注{n}"] for n in range(200))]
    )
    page = openpyxl.load_workbook(path, read_only=True, data_only=True).worksheets[0]
    theirs = [(number, list(row[:2])) for number, row in enumerate(page.iter_rows(values_only=True), 1) if number > 1]
    assert [(row.number, list(row.cells)) for row in open_list_file(path).rows()] == theirs


def test_thousands_of_blank_rows_and_a_false_size_take_little_memory(make_workbook: Any) -> None:
    blank = "".join(
        f'<row r="{n}" ht="15" customHeight="1"><c r="A{n}" s="1"/><c r="B{n}" s="1"/></row>' for n in range(3, 60_000)
    )
    first = f'<row r="1"><c r="A1" t="str"><v>id</v></c></row><row r="2"><c r="A2" t="str"><v>{ID}</v></c></row>'
    last = f'<row r="1048576"><c r="A1048576" t="str"><v>{ID}</v></c></row>'
    path = with_sheet_xml(make_workbook([["x"]]), first + blank + last)
    tracemalloc.start()
    try:
        assert [line.row for line in lines_of(path)] == [2, 1048576]
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
