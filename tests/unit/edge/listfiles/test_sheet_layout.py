"""Merged cells count for all their rows; what a sheet hides takes part only if that was said; the right sheet is named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ninezero.schemas.events import PushTokens
from ninezero.streams.edge.listfiles.column_mapping import ColumnMapping
from ninezero.streams.edge.listfiles.list_file import open_list_file
from ninezero.streams.edge.listfiles.push_lines import CheckedLine
from tests.unit.edge.listfiles.reading import ID, OPTIONS, PASS, PHONE, error_line, lines_of, local, tokens
from tests.unit.edge.listfiles.workbook_files import MAIN, XML, with_parts, with_sheet_xml

OTHER, THIRD = "440308199901101512", "110101199003074135"
HEAD = ["姓名", "身份证号", "手机号", "截止日期"]
ROWS = [
    HEAD,
    ["甲", ID, PHONE, "2020-02-10"],
    ["乙", OTHER, "13900139000", "2020-02-10"],
    ["丙", THIRD, "", "2020-02-10"],
]


def ids_of(lines: list[CheckedLine]) -> list[tuple[int, Any]]:
    return [(line.row, line.push.tokens.id) for line in lines]


def person(row: int, number: str) -> tuple[int, Any]:
    return row, tokens("id", number)


# -- merged cells


def merge(*ranges: str) -> Callable[[Any], None]:
    return lambda book: [book.worksheets[0].merge_cells(range_) for range_ in ranges] and None


def test_a_merged_end_counts_for_all_its_rows(make_workbook: Any) -> None:
    rows = [
        HEAD,
        ["甲", ID, PHONE, datetime(2020, 2, 10)],
        ["乙", OTHER, None, None],
        ["丙", THIRD, None, None],
        ["丁", ID, None, None],
    ]
    path = make_workbook(rows, change=merge("D2:D4", "C2:C3"))
    found = lines_of(path, options=OPTIONS._replace(days=14))
    assert [line.push.valid_to for line in found[:3]] == [local(2020, 2, 11)] * 3
    assert found[3].push.valid_to != local(2020, 2, 11)
    phone = tokens("phone", "86" + PHONE)
    assert [line.push.tokens for line in found] == [
        PushTokens(id=tokens("id", ID), phone=phone), PushTokens(id=tokens("id", OTHER), phone=phone), PushTokens(id=tokens("id", THIRD)),
        PushTokens(id=tokens("id", ID)),
    ]  # fmt: skip


def test_a_merged_identity_counts_for_rows_with_content_of_their_own(make_workbook: Any) -> None:
    rows = [["id", "接触地点"], [ID, "甲地"], [None, "乙地"], [None, None], [OTHER, "丙地"]]
    assert ids_of(lines_of(make_workbook(rows, change=merge("A2:A4")))) == [
        person(2, ID),
        person(3, ID),
        person(5, OTHER),
    ]


def test_a_header_over_two_rows_is_one_header(make_workbook: Any) -> None:
    rows = [
        ["密切接触者名单", None, None, None], ["姓名", "身份证号", "医学观察", None], [None, None, "开始日期", "结束日期"], ["甲", ID, "2020-02-01", "2020-02-10"],
    ]  # fmt: skip
    path = make_workbook(rows, change=merge("A1:D1", "A2:A3", "B2:B3", "C2:D2"))
    assert open_list_file(path).columns == {"id": "B", "valid_from": "C", "valid_to": "D"}
    [line] = lines_of(path)
    assert (line.row, line.push.valid_from, line.push.valid_to) == (4, local(2020, 2, 1), local(2020, 2, 11))
    path = make_workbook([["姓名", "身份证号"], [None, None], ["甲", ID]], change=merge("A1:A2", "B1:B2"))
    assert ids_of(lines_of(path)) == [person(3, ID)]


def test_a_heading_merged_over_columns_is_not_that_of_each(make_workbook: Any) -> None:
    rows = [["姓名", "联系电话", None, "id"], ["甲", PHONE, "13900139000", ID]]
    [line] = lines_of(make_workbook(rows, change=merge("B1:C1")))
    assert line.push.tokens == PushTokens(id=tokens("id", ID), phone=tokens("phone", "86" + PHONE))


def test_a_merged_title_between_the_rows_is_no_identity(make_workbook: Any) -> None:
    rows = [HEAD, ["某街道", None, None, None], ["甲", ID, PHONE, "2020-02-10"], ["合计1人", None, None, None]]
    found = lines_of(make_workbook(rows, change=merge("A2:D2", "A4:C4")))
    assert [(line.row, line.code, line.findings) for line in found] == [
        (2, "no_token", ()),
        (3, None, ()),
        (4, "no_token", ()),
    ]


def test_a_date_merged_over_start_and_end_is_both(make_workbook: Any) -> None:
    rows = [["id", "开始日期", "截止日期"], [ID, "2020-02-10", None], [OTHER, None, None]]
    found = lines_of(make_workbook(rows, change=merge("B2:C3")))
    assert [(line.push.valid_from, line.push.valid_to) for line in found] == [
        (local(2020, 2, 10), local(2020, 2, 11))
    ] * 2


def test_an_end_that_is_merged_with_a_remark_is_not_an_empty_one(make_workbook: Any) -> None:
    rows = [
        ["id", "备注", "截止日期", "手机号"],
        [ID, "长期居家", None, PHONE],
        [OTHER, None, None, None],
        [THIRD, None, None, None],
    ]
    found = lines_of(make_workbook(rows, change=merge("B2:C3", "B4:C4")), options=OPTIONS._replace(days=14))
    assert [line.code for line in found] == ["no_window", "no_window", None]
    assert found[0].push.tokens == PushTokens(id=tokens("id", ID), phone=tokens("phone", "86" + PHONE))
    rows = [["姓名", "id", "手机号"], ["甲", None, PHONE]]
    [line] = lines_of(make_workbook(rows, change=merge("A2:B2")))
    assert (line.push.tokens, line.findings) == (PushTokens(phone=tokens("phone", "86" + PHONE)), ())


@pytest.mark.parametrize(
    ("upper", "lower", "columns"),
    [
        (
            "姓名,id,手机号,隔离期,",
            ",,,开始日期,截止日期",
            {"id": "B", "phone": "C", "valid_from": "D", "valid_to": "E"},
        ),
        ("姓名,id,隔离时间,,备注", ",,起,止,", {"id": "B", "valid_from": "C", "valid_to": "D"}),
        ("姓名,身份证,联系,隔离", ",号码,电话,截止日期", {"id": "B", "phone": "C", "valid_to": "D"}),
        ("姓名,证件,,截止日期", ",类型,号码,", {"document": "C", "document_type": "B", "valid_to": "D"}),
        ("姓名,id,截止日期,手机号", "甲,无,,", {"id": "B", "phone": "D", "valid_to": "C"}),
        ("姓名,身份证号,截止日期", "Name,ID No.,End date", {"id": "B", "valid_to": "C"}),
    ],
)
def test_a_header_of_two_rows_in_a_text_file_is_one_header(
    write_file: Any, upper: str, lower: str, columns: dict[str, str]
) -> None:
    path = write_file(f"名单\n{upper}\n{lower}\n甲,{ID},2020-02-01,2020-02-10,2020-02-10\n")
    assert open_list_file(path).columns == columns
    assert [line.row for line in lines_of(path)] == ([3, 4] if "甲" in lower else [4])


def test_a_merged_cell_that_begins_in_a_hidden_row_counts_for_the_others(make_workbook: Any) -> None:
    def change(book: Any) -> None:
        merge("D2:D4")(book)
        book.worksheets[0].row_dimensions[2].hidden = True

    rows = [HEAD, ["甲", ID, None, "2020-02-10"], ["乙", OTHER, None, None], ["丙", THIRD, None, None]]
    found = lines_of(make_workbook(rows, change=change), hidden="skip", options=OPTIONS._replace(days=14))
    assert [(line.row, line.push.valid_to) for line in found] == [(3, local(2020, 2, 11)), (4, local(2020, 2, 11))]


@pytest.mark.parametrize(
    "ref", ["", "A2", "A2:", "B2:A1", "A0:A9", "ZZZZ1:ZZZZ9", "A2:A2", "A2:B99999999", "$A$2:$A$3"]
)
def test_a_damaged_merge_changes_no_other_cell(make_workbook: Any, ref: str) -> None:
    path = make_workbook([["id", "姓名"], [ID, "甲"], [OTHER, "乙"]])
    block = f'<mergeCells count="1"><mergeCell ref="{ref}"/></mergeCells>'.encode()
    with_parts(path, lambda name, data: data.replace(b"</sheetData>", b"</sheetData>" + block))
    assert ids_of(lines_of(path)) == [person(2, ID), person(3, OTHER)]


# -- hidden rows and columns


def hide_rows(**attributes: Any) -> Callable[[Any], None]:
    def change(book: Any) -> None:
        for row in (2, 4):
            for name, value in attributes.items():
                setattr(book.worksheets[0].row_dimensions[row], name, value)

    return change


@pytest.mark.parametrize(
    "attributes", [{"hidden": True}, {"hidden": True, "outlineLevel": 1}, {"height": 0.1}, {"height": 0.75}]
)
def test_hidden_rows_take_part_only_if_that_was_said(make_workbook: Any, attributes: dict[str, Any]) -> None:
    path = make_workbook(ROWS, change=hide_rows(**attributes))
    message = error_line(lambda: open_list_file(path))
    assert (
        "2 hidden rows" in message
        and "row 2" in message
        and "--hidden include" in message
        and "--hidden skip" in message
    )
    assert ids_of(lines_of(path, hidden="include")) == [person(2, ID), person(3, OTHER), person(4, THIRD)]
    assert ids_of(lines_of(path, hidden="skip")) == [person(3, OTHER)]
    assert "2 hidden rows included" in open_list_file(path, hidden="include").describe().en
    assert "2 hidden rows left out" in open_list_file(path, hidden="skip").describe().en


def test_rows_that_a_filter_hides_are_not_withdrawn_untold(make_workbook: Any) -> None:
    def filtered(book: Any) -> None:
        page = book.worksheets[0]
        page.auto_filter.ref = "A1:D4"
        page.auto_filter.add_filter_column(0, ["乙"])
        hide_rows(hidden=True)(book)

    path, withdraw = make_workbook(ROWS, change=filtered), OPTIONS._replace(mode="withdraw")
    assert "2 hidden rows" in error_line(lambda: lines_of(path, options=withdraw))
    assert ids_of(lines_of(path, options=withdraw, hidden="skip")) == [person(3, OTHER)]


def test_hidden_rows_of_libreoffice_and_of_a_table_are_hidden(make_workbook: Any) -> None:
    def row(number: int, hidden: str, *texts: str) -> str:
        cells = "".join(f'<c r="{"AB"[place]}{number}" t="str"><v>{text}</v></c>' for place, text in enumerate(texts))
        return f'<row r="{number}" customFormat="false" ht="12.8" hidden="{hidden}" customHeight="false" outlineLevel="0" collapsed="false">{cells}</row>'

    rows = (
        row(1, "false", "姓名", "id")
        + row(2, "true", "甲", ID)
        + row(3, "false", "乙", OTHER)
        + row(4, "true", " ", "")
    )
    path = with_sheet_xml(make_workbook([["x"]]), rows)
    assert "1 hidden row below" in error_line(lambda: open_list_file(path))
    assert ids_of(lines_of(path, hidden="skip")) == [person(3, OTHER)]


def test_hidden_rows_that_are_blank_or_above_the_header_need_no_choice(make_workbook: Any) -> None:
    def change(book: Any) -> None:
        for row in (1, *range(6, 900)):
            book.worksheets[0].row_dimensions[row].hidden = True

    path = make_workbook([["填表要求"], *ROWS], change=change)
    assert [row for row, _ in ids_of(lines_of(path))] == [3, 4, 5]
    assert open_list_file(path).describe().en == "columns id B, phone C, valid_to D"


@pytest.mark.parametrize("attributes", [{"hidden": True}, {"hidden": True, "outlineLevel": 1}, {"width": 0.01}])
def test_a_hidden_column_is_read_only_if_that_was_said(make_workbook: Any, attributes: dict[str, Any]) -> None:
    def change(book: Any) -> None:
        for name, value in attributes.items():
            setattr(book.worksheets[0].column_dimensions["D"], name, value)

    path = make_workbook(ROWS, change=change)
    message = error_line(lambda: open_list_file(path))
    assert "1 hidden column, D (`valid_to`)" in message and "--hidden include" in message
    assert open_list_file(path, hidden="include").describe().en == "columns id B, phone C, valid_to D (hidden)"
    assert open_list_file(path, hidden="skip").columns == {"id": "B", "phone": "C"}
    assert open_list_file(path, mapping=ColumnMapping(id="B", valid_to="D")).columns == {"id": "B", "valid_to": "D"}


def test_a_hidden_column_that_looks_like_a_visible_one_is_named(make_workbook: Any) -> None:
    def change(book: Any) -> None:
        book.worksheets[0].column_dimensions["A"].hidden = True

    path = make_workbook([["身份证号", "公民身份号码"], [OTHER, ID]], change=change)
    assert "one is hidden" in error_line(lambda: open_list_file(path))
    assert "both look like" in error_line(lambda: open_list_file(path, hidden="include"))
    assert ids_of(lines_of(path, hidden="skip")) == [person(2, ID)]


def test_hidden_rows_and_columns_are_named_together(make_workbook: Any) -> None:
    def change(book: Any) -> None:
        book.worksheets[0].row_dimensions.group(3, 4, hidden=True)
        book.worksheets[0].column_dimensions.group("C", "D", hidden=True)

    message = error_line(lambda: open_list_file(make_workbook(ROWS, change=change)))
    assert (
        "2 hidden columns, C (`phone`), D (`valid_to`) and 2 hidden rows below the header, the first is row 3"
        in message
    )


def test_a_hidden_column_without_a_field_needs_no_choice(make_workbook: Any) -> None:
    def change(book: Any) -> None:
        book.worksheets[0].column_dimensions["A"].hidden = True

    assert len(lines_of(make_workbook(ROWS, change=change))) == 3


# -- sheets


def titled(*titles: str, **states: str) -> Callable[[Any], None]:
    def change(book: Any) -> None:
        for page, title in zip(book.worksheets, titles, strict=True):
            page.title = title
            page.sheet_state = states.get(title, "visible")

    return change


def test_an_instruction_page_in_front_of_the_list_is_named_with_the_list(make_workbook: Any) -> None:
    path = make_workbook([["填表说明"], ["请填写18位身份证号码。"]], ROWS, change=titled("说明", "名单"))
    message = error_line(lambda: open_list_file(path))
    assert "sheet 1 (说明)" in message and "--sheet" in message and "2 (名单)" in message
    assert len(lines_of(path, sheet="名单")) == len(lines_of(path, sheet="2")) == 3


def test_an_instruction_page_that_explains_the_columns_is_not_the_list(make_workbook: Any) -> None:
    page = [["字段", "说明"], ["身份证号", "18位，必填"], ["手机号", "选填"], ["截止日期", "如 2020-02-10"]]
    path = make_workbook(page, ROWS, change=titled("字段", "名单"))
    assert "2 (名单)" in error_line(lambda: open_list_file(path))
    assert len(lines_of(make_workbook([HEAD], ROWS))) == 0  # an empty list is a list


def test_sheets_without_lists_are_named_with_those_that_are_hidden(make_workbook: Any) -> None:
    change = titled("封面", "备注", "名单", "底稿", 名单="hidden", 底稿="veryHidden")
    path = make_workbook([["封面"]], [["备注"]], ROWS, ROWS, change=change)
    message = error_line(lambda: open_list_file(path))
    assert "2 (备注), 3 (hidden, 名单), 4 (hidden, 底稿)" in message and "--sheet" in message
    assert len(lines_of(path, sheet="底稿")) == 3
    assert "1 (封面)" in error_line(lambda: open_list_file(path, sheet="没有"))
    message = error_line(lambda: open_list_file(path, mapping=ColumnMapping(id="证件")))
    assert "as the mapping states, on sheet 1 (封面)" in message and "3 (hidden, 名单)" in message
    assert "every visible sheet is empty" in error_line(lambda: open_list_file(make_workbook([], [])))


@pytest.mark.parametrize("title", [ID, f"张三{PHONE}", "鲁A12345", "L898902C3", PASS, "１３８００１３８０００"])
def test_the_name_of_a_sheet_that_may_be_an_identity_is_not_shown(make_workbook: Any, title: str) -> None:
    path = make_workbook([["说明"]], [["备注"]], change=titled("说明", title))
    message = error_line(lambda: open_list_file(path))
    assert title not in message and "2 (name not shown)" in message


def test_sheets_that_are_not_read_are_named(make_workbook: Any) -> None:
    path = make_workbook(ROWS, ROWS, [["x"]], change=titled("一街道", "二街道", "字典", 字典="hidden"))
    assert (
        open_list_file(path)
        .describe()
        .en.endswith("; 1 other sheet not read: 2 (二街道), 3 (hidden, 字典); name one with --sheet")
    )


def test_a_sheet_with_many_merged_cells_and_hidden_rows_is_read_soon(make_workbook: Any, tmp_path: Path) -> None:
    cells = "".join(
        f'<row r="{n}"{" hidden=" + chr(34) + "1" + chr(34) if n % 2 else ""}><c r="A{n}" t="str"><v>{ID}</v></c><c r="B{n}"><v>1</v></c></row>'
        for n in range(2, 20_000)
    )
    merged = "".join(f'<mergeCell ref="B{n}:B{n + 1}"/>' for n in range(19_998, 1, -2))
    whole = (
        f'{XML}<worksheet {MAIN}><sheetData><row r="1"><c r="A1" t="str"><v>id</v></c></row>{cells}</sheetData>'
        f"<mergeCells>{merged}</mergeCells></worksheet>"
    )
    path = with_parts(
        make_workbook([["x"]]), lambda name, data: whole.encode() if name.endswith("sheet1.xml") else data
    )
    assert sum(1 for _ in open_list_file(path, hidden="skip").rows()) == 9_999


# -- columns that are not read


@pytest.mark.parametrize(("header", "known"), [("人员编码", False), ("身份证号", True)])
def test_a_column_that_seems_to_hold_identities_and_is_not_read_is_named(
    make_workbook: Any, header: str, known: bool
) -> None:
    path = make_workbook([["姓名", header, "手机号"], ["甲", ID, PHONE], ["乙", OTHER, "13900139000"]])
    described = open_list_file(path).describe()
    assert ("column B seems to be `id` and is not read" in described.en) is not known
    assert ("B 列像是 `id`" in described.zh) is not known


def test_a_column_that_a_mapping_leaves_out_is_not_named(make_workbook: Any) -> None:
    path = make_workbook([["姓名", "人员编码", "手机号"], ["甲", ID, PHONE], ["乙", OTHER, "13900139000"]])
    assert open_list_file(path, mapping=ColumnMapping(phone="C")).describe().en == "columns phone C"
