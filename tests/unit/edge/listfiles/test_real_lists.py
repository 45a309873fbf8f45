"""Lists as a health authority's clerk really sends them, whole: what comes out of each, line by line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest

from ninezero.schemas.events import PushTokens
from ninezero.streams.edge.documents.checks import check
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.edge.listfiles.list_file import Mapping, SheetError, open_sheet
from ninezero.streams.edge.listfiles.push_lines import Line, Terms, read_lines

RING = KeyRing("k1", {"k1": (b"1" * 32, None)})
TERMS = Terms("delta", "close_contact", datetime(2020, 2, 3, 4, tzinfo=UTC), ZoneInfo("Asia/Shanghai"), days=14)
ID, OTHER, PHONE, PLATE = "11010519491231002X", "440308199901101512", "13800138000", "鲁A12345"
START, END = datetime(2020, 2, 2, 16, tzinfo=UTC), datetime(2020, 2, 17, 16, tzinfo=UTC)


def tokens(**normal: str) -> PushTokens:
    return PushTokens(**{kind: RING.tokens(kind, text) for kind, text in normal.items()})  # type: ignore[arg-type]


PERSON = tokens(id=ID, phone="86" + PHONE)


def read(path: Path, **how: Any) -> list[Line]:
    return list(read_lines([open_sheet(path, **how)], RING, TERMS, check))


def said(line: Line) -> tuple[int, str | None, tuple[str, ...]]:
    return line.row, line.code, line.findings


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(text: str, encoding: str = "utf-8") -> Path:
        (tmp_path / "list").write_bytes(text.encode(encoding))
        return tmp_path / "list"

    return write


@pytest.fixture
def book(tmp_path: Path) -> Callable[..., Path]:
    def save(rows: list[list[Any]], change: Callable[[Any], None] = lambda book: None) -> Path:
        made = openpyxl.Workbook()
        for row in rows:
            made.active.append(row)
        change(made)
        made.save(tmp_path / "list.xlsx")
        return tmp_path / "list.xlsx"

    return save


def test_an_export_of_wps_in_gb18030_with_semicolons_and_a_total(file: Any) -> None:
    text = (
        "济阳区密切接触者登记表;;;;\r\n填报单位：某街道;;;填报日期：2020年2月3日;\r\n"
        "序号;姓名;身份证号码（必填）;联系电话（手机）;住址\r\n"
        f"1;张三;{ID};{PHONE};某路1号\r\n2;李四;;{PHONE};\r\n;;;;\r\n合计;2人;;;\r\n"
    )
    found = read(file(text, "gb18030"))
    assert [said(line) for line in found] == [(4, None, ()), (5, None, ()), (7, "no_token", ())]
    assert found[0].push.tokens == PERSON


def test_unicode_text_of_excel_with_tabs_full_width_digits_and_apostrophes(file: Any) -> None:
    wide = ID.translate({ord(c): ord(c) + 0xFEE0 for c in ID})
    text = f"姓名\t身份证号\t手机号\t解除时间\n张三\t{wide}\t'{PHONE}\t２０２０年２月１７日\n李四\t'{ID}\t+86 138-0013-8000\t2020/2/17\n"
    for encoding in ("utf-8-sig", "utf-16"):
        found = read(file(text, encoding))
        assert [(line.push.tokens, line.push.valid_to, line.findings) for line in found] == [(PERSON, END, ())] * 2


def test_a_workbook_in_which_excel_has_rounded_the_numbers(book: Any) -> None:
    found = read(
        book([["姓名", "身份证号", "手机号"], ["张三", 1.1010519491231e17, 13800138000.0], ["李四", ID, PHONE]])
    )
    assert [said(line) for line in found] == [(2, None, ("id:digits_lost",)), (3, None, ())]
    assert found[0].push.tokens == tokens(phone="86" + PHONE)


def test_the_same_numbers_exported_to_text(file: Any) -> None:
    found = read(file(f"身份证号,手机号\n1.10105E+17,1.38001E+10\n110105194912310000.0,{PHONE}.0\n{ID},{PHONE}\n"))
    assert [said(line) for line in found] == [
        (2, "no_token", ("id:digits_lost", "phone:digits_lost")), (3, None, ("id:digits_lost",)), (4, None, ()),
    ]  # fmt: skip


def test_dates_as_serials_as_dates_and_as_people_write_them(book: Any) -> None:
    days = [
        (datetime(2020, 2, 3), datetime(2020, 2, 17)), (43864, 43878), ("2020年2月3日", "2020年2月17日"),
        ("2020 年 2 月 3 日", "2020 年 2 月 17 日 24 时"), ("2020.2.3", "2020.02.17"), ("20200203", 20200217),
        ("2020/2/3", "2020-02-18T00:00:00+08:00"), ("2020-02-03 00:00", "2020年2月18日 0时0分0秒"),
    ]  # fmt: skip
    found = read(book([["身份证号", "隔离开始日期", "拟解除隔离日期"], *([ID, *pair] for pair in days)]))
    assert [(line.push.valid_from, line.push.valid_to, line.code) for line in found] == [(START, END, None)] * len(days)


@pytest.mark.parametrize("unclear", ["3/2/2020", "2月17日", "20-2-17", "待定", "2020年2月30日", "2020-2-17~2020-3-1", "2020年2月314:00"])  # fmt: skip
def test_a_date_that_can_be_read_in_two_ways_is_told_and_has_no_default(file: Any, unclear: str) -> None:
    [line] = read(file(f"身份证号\t截止日期\n{ID}\t{unclear}\n"))
    assert said(line) == (2, "no_window", ()) and line.push.tokens == tokens(id=ID)


def test_a_form_with_merged_titles_a_group_heading_hidden_sheets_and_blank_rows(book: Any) -> None:
    def dress(made: Any) -> None:
        page = made.active
        page.merge_cells("A1:E1")
        page.merge_cells("B3:C3")
        made.create_sheet("字典", 0).append(["身份证号"])
        made.worksheets[0].sheet_state = "hidden"
        made.create_sheet("说明").append(["身份证号请填写18位"])

    rows = [
        ["隔离人员名单"], [], ["", "证件", "", "联系方式", ""], ["姓名", "身份证号\n（18位）", "护照号", "手机号码", "备注"],
        [], ["张三", ID, None, PHONE, "身份证已核"], [None] * 5, ["李四", OTHER, None, 13900139000, None],
    ]  # fmt: skip
    path = book(rows, dress)
    assert open_sheet(path).columns == {"id": "B", "passport": "C", "phone": "D"} and open_sheet(path).other_sheets == 1
    assert [said(line) for line in read(path)] == [(6, None, ()), (8, None, ())]


def test_a_header_that_is_repeated_on_every_page_gives_no_token(book: Any) -> None:
    head = ["姓名", "身份证号", "车牌号"]
    found = read(book([head, ["张三", ID, PLATE], head, ["李四", OTHER, "无"]]))
    assert [said(line) for line in found] == [
        (2, None, ()), (3, None, ("id:bad_character", "plate:plate_unrecognised")), (4, None, ()),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "columns"),
    [
        ("姓名,身份证号(必填),手机号（11位）,车牌号（如有）", {"id": "B", "phone": "C", "plate": "D"}),
        ("*姓名,*身份证号码,手机/电话,国籍（必填）,护照号码", {"id": "B", "passport": "E", "state": "D", "phone": "C"}),
        ("Name,身份证号 ID No.,Phone Number", {"phone": "C"}),
        ("姓名 Name,身份证号(ID No.),联系电话（Tel）", {"id": "B", "phone": "C"}),
        ("姓名,身份证号码（监护人）,身份证号码（本人）,家属电话", {"id": "C"}),
        ("隔离对象,公民身份号码,开始隔离日期,预计解除时间", {"id": "B", "valid_from": "C", "valid_to": "D"}),
    ],
)
def test_headers_with_remarks_and_in_two_languages(file: Any, headers: str, columns: dict[str, str]) -> None:
    assert open_sheet(file(f"{headers}\n1,2,3,4,5\n")).columns == columns


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("身份证号,姓名,身份证号\n1,张三,2\n", "columns A and C both look like `id`"),
        ("姓名,证件号码（身份证/护照）\n张三,1\n", "no column is known by its header"),
        (f"张三,{ID},{PHONE}\n李四,{OTHER},{PHONE}\n", "no column is known by its header"),
        ("<html><table><tr><td>身份证号</td></tr></table></html>", "web page"),
    ],
)
def test_what_is_not_certain_is_refused_in_one_line_that_says_what_to_do(file: Any, text: str, says: str) -> None:
    with pytest.raises(SheetError) as caught:
        open_sheet(file(text))
    message = str(caught.value)
    assert says in message and "\n" not in message and not any(cell in message for cell in (ID, PHONE, "张三"))


def test_a_list_without_a_header_is_read_by_a_mapping(file: Any) -> None:
    found = read(file(f"张三,{ID},{PHONE}\n李四,{ID},{PHONE}\n"), mapping=Mapping(id="B", phone=3))
    assert [(line.row, line.push.tokens) for line in found] == [(1, PERSON), (2, PERSON)]


def test_two_numbers_in_one_cell_and_a_word_for_none_are_told(file: Any) -> None:
    found = read(
        file(f"姓名|身份证号|手机号\n张三|{ID}|{PHONE}/13900139000\n李四|{ID}、{OTHER}|不详\n王五|同上|同上\n")
    )
    assert [said(line) for line in found] == [
        (2, None, ("phone:phone_invalid",)), (3, "no_token", ("id:bad_character",)),
        (4, "no_token", ("id:bad_character", "phone:bad_character")),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "plates", ["鲁A12345\n鲁A·12345\n", "鲁A12345\n", "豫AD12345\n鲁A12345\n", "京A12345\n鲁A12345\n"]
)
def test_a_list_of_the_provinces_vehicles_alone_is_gb18030_though_it_is_valid_utf_8(file: Any, plates: str) -> None:
    utf8 = [line.push.tokens for line in read(file(f"plate\n{plates}"))]
    assert [line.push.tokens for line in read(file(f"plate\n{plates}", "gb18030"))] == utf8
    assert tokens(plate="鲁A12345") in utf8


def test_accents_are_no_reason_to_doubt_utf_8(file: Any) -> None:
    [line] = read(file(f"Téléphone;Pièce\n+86 138·0013·8000;{ID}\n"), mapping=Mapping(id="Pièce", phone="téléphone"))
    assert line.push.tokens == PERSON


def test_a_list_of_vehicles_and_a_list_of_passports(file: Any) -> None:
    found = read(file("号牌号码\n鲁A·12345\n鲁a d12345\n鲁A１２３４挂\n沪A1234\n", "gb18030"))
    assert [line.push.tokens for line in found[:3]] == [tokens(plate=p) for p in ("鲁A12345", "鲁AD12345", "鲁A1234挂")]
    assert [line.findings for line in found] == [(), (), (), ("plate:plate_unrecognised",)]
    found = read(file("护照号,签发国代码\ne12345678,CHN\nC01X00T47,D\nK1234567,中国\nUTO/L898902C3,\n"))
    assert [line.push.tokens for line in found] == [
        tokens(passport="CHN/E12345678"), tokens(passport="D/C01X00T47"), PushTokens(), tokens(passport="UTO/L898902C3"),
    ]  # fmt: skip
    assert found[2].findings == ("passport:no_issuing_state",)
