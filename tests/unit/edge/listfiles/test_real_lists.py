"""Whole list files, as health authorities send them, become the right lines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from ninezero.schemas.events import PushTokens
from ninezero.streams.edge.listfiles.column_mapping import ColumnMapping
from ninezero.streams.edge.listfiles.errors import ListFileError
from ninezero.streams.edge.listfiles.list_file import open_list_file
from ninezero.streams.edge.listfiles.push_lines import CheckedLine
from tests.unit.edge.listfiles.reading import ID, PHONE, PLATE, lines_of, tokens

OTHER = "440308199901101512"
START, END = datetime(2020, 2, 2, 16, tzinfo=UTC), datetime(2020, 2, 17, 16, tzinfo=UTC)


def push_tokens(**normal: str) -> PushTokens:
    return PushTokens(**{domain: tokens(domain, text) for domain, text in normal.items()})


PERSON = push_tokens(id=ID, phone="86" + PHONE)


class Verdict(NamedTuple):
    """The row, the code and the findings of a line."""

    row: int
    code: str | None
    findings: tuple[str, ...]


def verdict(line: CheckedLine) -> Verdict:
    return Verdict(line.row, line.code, line.findings)


def test_a_gb18030_export_of_wps_with_semicolons_and_a_total_becomes_lines(write_file: Any) -> None:
    text = (
        "济阳区密切接触者登记表;;;;\r\n填报单位：某街道;;;填报日期：2020年2月3日;\r\n"
        "序号;姓名;身份证号码（必填）;联系电话（手机）;住址\r\n"
        f"1;张三;{ID};{PHONE};某路1号\r\n2;李四;;{PHONE};\r\n;;;;\r\n合计;2人;;;\r\n"
    )
    found = lines_of(write_file(text, "gb18030"))
    assert [verdict(line) for line in found] == [(4, None, ()), (5, None, ()), (7, "no_token", ())]
    assert found[0].push.tokens == PERSON


def test_unicode_text_of_excel_with_tabs_full_width_digits_and_apostrophes_becomes_lines(write_file: Any) -> None:
    wide = ID.translate({ord(c): ord(c) + 0xFEE0 for c in ID})
    text = f"姓名\t身份证号\t手机号\t解除时间\n张三\t{wide}\t'{PHONE}\t２０２０年２月１７日\n李四\t'{ID}\t+86 138-0013-8000\t2020/2/17\n"
    for encoding in ("utf-8-sig", "utf-16"):
        found = lines_of(write_file(text, encoding))
        assert [(line.push.tokens, line.push.valid_to, line.findings) for line in found] == [(PERSON, END, ())] * 2


def test_numbers_that_excel_has_rounded_get_no_token(make_workbook: Any) -> None:
    found = lines_of(
        make_workbook(
            [["姓名", "身份证号", "手机号"], ["张三", 1.1010519491231e17, 13800138000.0], ["李四", ID, PHONE]]
        )
    )
    assert [verdict(line) for line in found] == [(2, None, ("id:digits_lost",)), (3, None, ())]
    assert found[0].push.tokens == push_tokens(phone="86" + PHONE)


def test_rounded_numbers_exported_to_text_get_no_token(write_file: Any) -> None:
    found = lines_of(
        write_file(f"身份证号,手机号\n1.10105E+17,1.38001E+10\n110105194912310000.0,{PHONE}.0\n{ID},{PHONE}\n")
    )
    assert [verdict(line) for line in found] == [
        (2, "no_token", ("id:digits_lost", "phone:digits_lost")), (3, None, ("id:digits_lost",)), (4, None, ()),
    ]  # fmt: skip


def test_dates_are_read_as_serials_as_dates_and_as_people_write_them(make_workbook: Any) -> None:
    days = [
        (datetime(2020, 2, 3), datetime(2020, 2, 17)), (43864, 43878), ("2020年2月3日", "2020年2月17日"),
        ("2020 年 2 月 3 日", "2020 年 2 月 17 日 24 时"), ("2020.2.3", "2020.02.17"), ("20200203", 20200217),
        ("2020/2/3", "2020-02-17T00:00:00+08:00"), ("2020-02-03 00:00", "2020年2月17日 0时0分0秒"),
    ]  # fmt: skip
    found = lines_of(make_workbook([["身份证号", "隔离开始日期", "拟解除隔离日期"], *([ID, *pair] for pair in days)]))
    assert [(line.push.valid_from, line.push.valid_to, line.code) for line in found] == [(START, END, None)] * len(days)


@pytest.mark.parametrize("unclear", ["3/2/2020", "2月17日", "20-2-17", "待定", "2020年2月30日", "2020-2-17~2020-3-1", "2020年2月314:00"])  # fmt: skip
def test_an_ambiguous_date_gives_no_window_and_no_default(write_file: Any, unclear: str) -> None:
    [line] = lines_of(write_file(f"身份证号\t截止日期\n{ID}\t{unclear}\n"))
    assert verdict(line) == (2, "no_window", ()) and line.push.tokens == push_tokens(id=ID)


def test_a_form_with_merged_titles_a_group_heading_hidden_sheets_and_blank_rows_is_read(make_workbook: Any) -> None:
    def dress(book: Any) -> None:
        page = book.active
        page.merge_cells("A1:E1")
        page.merge_cells("B3:C3")
        book.create_sheet("字典", 0).append(["身份证号"])
        book.worksheets[0].sheet_state = "hidden"
        book.create_sheet("说明").append(["身份证号请填写18位"])

    rows = [
        ["隔离人员名单"], [], ["", "证件", "", "联系方式", ""], ["姓名", "身份证号\n（18位）", "护照号", "手机号码", "备注"],
        [], ["张三", ID, None, PHONE, "身份证已核"], [None] * 5, ["李四", OTHER, None, 13900139000, None],
    ]  # fmt: skip
    path = make_workbook(rows, change=dress)
    assert (
        open_list_file(path).columns == {"id": "B", "passport": "C", "phone": "D"}
        and open_list_file(path).unread_sheets == 1
    )
    assert [verdict(line) for line in lines_of(path)] == [(6, None, ()), (8, None, ())]


def test_a_header_that_is_repeated_on_every_page_gives_no_token(make_workbook: Any) -> None:
    for head in (["姓名", "身份证号", "车牌号"], ["name", "ID No.", "plate"]):
        found = lines_of(make_workbook([head, ["张三", ID, PLATE], head, ["李四", OTHER, "无"]]))
        assert [verdict(line) for line in found] == [(2, None, ()), (3, "no_token", ("row:note",)), (4, None, ())]


@pytest.mark.parametrize(
    ("headers", "columns"),
    [
        ("姓名,身份证号(必填),手机号（11位）,车牌号（如有）", {"id": "B", "phone": "C", "plate": "D"}),
        (
            "*姓名,*身份证号码,手机/电话,国籍（必填）,护照号码",
            {"id": "B", "passport": "E", "nationality": "D", "phone": "C"},
        ),
        ("Name,身份证号 ID No.,Phone Number", {"phone": "C"}),
        ("姓名 Name,身份证号(ID No.),联系电话（Tel）", {"id": "B", "phone": "C"}),
        ("姓名,身份证号码（监护人）,身份证号码（本人）,家属电话", {"id": "C"}),
        ("隔离对象,公民身份号码,开始隔离日期,预计解除时间", {"id": "B", "valid_from": "C", "valid_to": "D"}),
    ],
)
def test_headers_with_remarks_and_in_two_languages_are_recognised(
    write_file: Any, headers: str, columns: dict[str, str]
) -> None:
    assert open_list_file(write_file(f"{headers}\n1,2,3,4,5\n")).columns == columns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("身份证号,姓名,身份证号\n1,张三,2\n", "columns A and C both look like `id`"),
        ("姓名,证件号码（身份证/护照）\n张三,1\n", "no header of an identity column"),
        (f"张三,{ID},{PHONE}\n李四,{OTHER},{PHONE}\n", "no header of an identity column"),
        ("<html><table><tr><td>身份证号</td></tr></table></html>", "web page"),
    ],
)
def test_an_uncertain_table_is_rejected_in_one_line_that_states_what_to_do(
    write_file: Any, text: str, expected: str
) -> None:
    with pytest.raises(ListFileError) as caught:
        open_list_file(write_file(text))
    message = str(caught.value)
    assert expected in message and "\n" not in message and not any(cell in message for cell in (ID, PHONE, "张三"))


def test_a_list_without_a_header_is_read_by_a_mapping(write_file: Any) -> None:
    found = lines_of(write_file(f"张三,{ID},{PHONE}\n李四,{ID},{PHONE}\n"), mapping=ColumnMapping(id="B", phone=3))
    assert [(line.row, line.push.tokens) for line in found] == [(1, PERSON), (2, PERSON)]


def test_two_numbers_in_one_cell_and_a_word_for_the_same_are_findings(write_file: Any) -> None:
    found = lines_of(
        write_file(f"姓名|身份证号|手机号\n张三|{ID}|{PHONE}/13900139000\n李四|{ID}、{OTHER}|不详\n王五|同上|同上\n")
    )
    assert [verdict(line) for line in found] == [
        (2, None, ()), (3, None, ()), (3, None, ()),
        (4, "no_token", ("id:bad_character", "phone:bad_character")),
    ]  # fmt: skip
    assert found[0].push.tokens.phone == [*tokens("phone", "86" + PHONE), *tokens("phone", "8613900139000")]
    assert [line.push.tokens for line in found[1:3]] == [push_tokens(id=ID), push_tokens(id=OTHER)]


@pytest.mark.parametrize(
    "plates", ["鲁A12345\n鲁A·12345\n", "鲁A12345\n", "豫AD12345\n鲁A12345\n", "京A12345\n鲁A12345\n"]
)
def test_a_list_of_plates_of_one_province_is_gb18030_although_it_is_valid_utf_8(write_file: Any, plates: str) -> None:
    utf8 = [line.push.tokens for line in lines_of(write_file(f"plate\n{plates}"))]
    assert [line.push.tokens for line in lines_of(write_file(f"plate\n{plates}", "gb18030"))] == utf8
    assert push_tokens(plate="鲁A12345") in utf8


def test_accented_text_is_read_as_utf_8(write_file: Any) -> None:
    [line] = lines_of(
        write_file(f"Téléphone;Pièce\n+86 138·0013·8000;{ID}\n"), mapping=ColumnMapping(id="Pièce", phone="téléphone")
    )
    assert line.push.tokens == PERSON


def test_a_list_of_vehicles_and_a_list_of_passports_become_lines(write_file: Any) -> None:
    found = lines_of(write_file("号牌号码\n鲁A·12345\n鲁a d12345\n鲁A１２３４挂\n沪A1234\n", "gb18030"))
    assert [line.push.tokens for line in found[:3]] == [
        push_tokens(plate=p) for p in ("鲁A12345", "鲁AD12345", "鲁A1234挂")
    ]
    assert [line.findings for line in found] == [(), (), (), ("plate:plate_unrecognised",)]
    found = lines_of(write_file("护照号,签发国代码\ne12345678,CHN\nC01X00T47,D\nK1234567,中国\nUTO/L898902C3,\n"))
    assert [line.push.tokens for line in found] == [
        push_tokens(passport="CHN/E12345678"), push_tokens(passport="D/C01X00T47"), push_tokens(passport="CHN/K1234567"), push_tokens(passport="UTO/L898902C3"),
    ]  # fmt: skip
    assert not any(line.findings for line in found)


@pytest.mark.parametrize(
    "first",
    [
        "合计",
        "总计：",
        "共 3 人",
        "Total",
        "填表人：王某",
        "联系电话：",
        "备注:",
        "注：以上人员",
        "填报日期: 2020-02-03",
        "审核人 ：",
        "单位负责人：",
    ],
)
@pytest.mark.parametrize("workbook", [False, True])
def test_a_total_or_a_note_below_the_list_is_not_a_person(
    write_file: Any, make_workbook: Any, first: str, workbook: bool
) -> None:
    rows = [
        ["序号", "身份证号", "联系电话", "通行证号"],
        ["1", ID, PHONE, ""],
        [first, "", "13900139000", "1234"],
        [first, "", "", ""],
    ]
    path = make_workbook(rows) if workbook else write_file("\n".join(map(",".join, rows)))
    found = lines_of(path)
    assert [verdict(line) for line in found] == [(2, None, ()), (3, "no_token", ("row:note",)), (4, "no_token", ())]
    assert [line.push.tokens == PushTokens() for line in found] == [False, True, True]


def test_names_that_begin_like_a_note_are_people(write_file: Any) -> None:
    names = ["单位", "共和", "合计划", "Totaline", "注册", "1", "联系人李四", "Note"]
    rows = "\n".join(f"{name},{ID}" for name in names)
    assert {line.code for line in lines_of(write_file(f"姓名,身份证号\n{rows}\n"))} == {None}
