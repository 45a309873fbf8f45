"""Files as authorities really have them become lines of tokens; what is not certain is not read, and nothing leaks."""

from __future__ import annotations

import csv
import io
import os
import stat
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ninezero.agents.logic.watchlist.index import Watchlist
from ninezero.schemas.events import PushBatch, PushLine, PushTokens, decoder, encode
from ninezero.schemas.line_codes import MAX_TERM, line_code
from ninezero.schemas.times import FOREVER_US, unix_micros
from ninezero.streams.edge.documents.checks import check
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.edge.listfiles.dates import FOREVER, moment
from ninezero.streams.edge.listfiles.list_file import Mapping, SheetError, open_sheet
from ninezero.streams.edge.listfiles.push_lines import Line, Terms, parts, read_lines, summarise
from ninezero.streams.edge.listfiles.tables import office_archive, workbooks
from tests.support import judge

ID, PASSPORT, PHONE, PLATE, PASS = "11010519491231002X", "UTO/L898902C3", "13800138000", "鲁A12345", "JY-000123"
CHINA = ZoneInfo("Asia/Shanghai")
NOW = datetime(2020, 2, 3, 4, 0, tzinfo=UTC)
TERMS = Terms("delta", "close_contact", NOW, CHINA, days=14)
RING = KeyRing("k2", {"k1": (b"1" * 32, None), "k2": (b"2" * 32, None)})
XML = '<?xml version="1.0" encoding="UTF-8"?>'
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file and gives its path."""

    def write(content: bytes | str, encoding: str = "utf-8") -> Path:
        path = tmp_path / f"list{len(list(tmp_path.iterdir()))}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


@pytest.fixture
def excel(tmp_path: Path) -> Callable[..., Path]:
    """Makes a workbook with openpyxl: sheets of rows."""

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


def lines_of(*paths: Path, terms: Terms = TERMS, **how: Any) -> list[Line]:
    sheets = [open_sheet(path, number, **how) for number, path in enumerate(paths, 1)]
    return list(read_lines(sheets, RING, terms, check))


def tokens(kind: str, normal: str) -> list[str]:
    return RING.tokens(kind, normal)  # type: ignore[arg-type]


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(SheetError) as caught:
        act()
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    message = str(caught.value)
    assert "\n" not in message
    return message


def repacked(path: Path, change: Callable[[str, bytes], bytes], extra: dict[str, bytes] | None = None) -> Path:
    """The workbook with its parts changed."""
    with zipfile.ZipFile(path) as old:
        content = {name: change(name, old.read(name)) for name in old.namelist()} | (extra or {})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in content.items():
            new.writestr(name, data)
    return path


def sheet_xml(path: Path, rows: str, part: str = "xl/worksheets/sheet1.xml") -> Path:
    """The workbook with the first sheet's rows replaced by hand-written ones."""
    whole = f"{XML}<worksheet {MAIN}><dimension ref='A1'/><sheetData>{rows}</sheetData></worksheet>".encode()
    return repacked(path, lambda name, data: whole if name == part else data)


# -- text files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "，", "；", "｜"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_encoding_separator_and_line_end_reads_the_same(
    put: Any, encoding: str, separator: str, end: str
) -> None:
    rows = ["姓名|身份证号|手机号|车牌号|地址", f"张三|{ID}|{PHONE}|{PLATE}|某地", f"李四||{PHONE}|京·A 12345|某地"]
    text = end.join(row.replace("|", separator) for row in rows)
    found = lines_of(put(text, encoding))
    assert [line.row for line in found] == [2, 3]
    assert found[0].push.tokens == PushTokens(
        id=tokens("id", ID), phone=tokens("phone", "86" + PHONE), plate=tokens("plate", PLATE)
    )
    assert found[1].push.tokens.plate == tokens("plate", "京A12345")


@pytest.mark.parametrize("bom,encoding", [(b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")])
def test_both_byte_orders_of_utf_16_are_read(put: Any, bom: bytes, encoding: str) -> None:
    assert lines_of(put(bom + f"身份证号\n{ID}".encode(encoding)))[0].code is None


def test_full_width_digits_and_headers_are_read(put: Any) -> None:
    wide = ID.translate({ord(c): ord(c) + 0xFEE0 for c in ID})
    found = lines_of(put(f"＊身份证号（必填），Ｐｈｏｎｅ　Ｎｏ．\n{wide}，１３８００１３８０００\n"))
    assert found[0].push.tokens == PushTokens(id=tokens("id", ID), phone=tokens("phone", "86" + PHONE))


def test_one_column_needs_no_separator(put: Any) -> None:
    assert len(lines_of(put(f"id\n{ID}\n{ID}"))) == 2


def test_titles_above_the_header_and_an_excel_hint_are_skipped(put: Any) -> None:
    found = lines_of(put(f"sep=;\n某区密切接触者名单\n\n制表;2020年2月3日\n身份证号;电话\n{ID};{PHONE}\n"))
    assert [(line.row, line.code) for line in found] == [(6, None)]


def test_blank_rows_are_no_lines_and_others_without_an_identity_are(put: Any) -> None:
    found = lines_of(put(f'姓名,id\n,\n  ,\u3000\n"",""\n张三,\n\n李四,{ID}\n合计,\n'))
    assert [(line.push.line, line.row, line.code) for line in found] == [
        (1, 5, "no_token"),
        (2, 7, None),
        (3, 8, "no_token"),
    ]


def test_ragged_rows_keep_what_stands_in_its_column(put: Any) -> None:
    found = lines_of(put(f"id,phone,姓名\n{ID}\n{ID},{PHONE},张三,,\n"))
    assert found[0].push.tokens == PushTokens(id=tokens("id", ID))
    assert found[1].findings == () and found[1].push.tokens.phone == tokens("phone", "86" + PHONE)


def test_a_row_that_a_stray_separator_has_shifted_gets_no_token(put: Any) -> None:
    found = lines_of(put(f"地址,id,phone\n某路1号,某室,{ID},{PHONE}\n某路,{ID},{PHONE},二楼\n"))
    assert found[0].code == "no_token" and "row:shifted" in found[0].findings
    assert found[1].code is None and found[1].findings == ("row:shifted",)


def test_quoted_cells_may_hold_separators_quotes_and_line_ends(put: Any) -> None:
    found = lines_of(put(f'姓名,地址,id\n"张""三","某路,\n1号\n二楼",{ID}\n李四,某路,{ID}\n'))
    assert [(line.row, line.code) for line in found] == [(2, None), (3, None)]


@pytest.mark.parametrize("stray", ['"张三', '张"三', '"张"三', '"', '""张三"'])
def test_a_stray_quotation_mark_loses_no_row(put: Any, stray: str) -> None:
    rows = [f"甲,{ID},x"] * 3 + [f"{stray},{ID},x"] + [f"乙,{ID},x"] * 30 + [f"{stray},{ID},x"] + [f'"丙",{ID},"x"'] * 3
    found = lines_of(put("姓名,id,地址\n" + "\n".join(rows)))
    assert [line.row for line in found] == list(range(2, 40))
    assert all(line.push.tokens.id == tokens("id", ID) for line in found)


def test_a_quoted_cell_that_swallowed_rows_is_taken_apart(put: Any) -> None:
    found = lines_of(put(f'姓名,id,地址\n"甲,{ID},x\n乙,{ID},x\n丙",{ID},x\n丁,{ID},x\n'))
    assert [line.row for line in found] == [2, 3, 4, 5] and all(line.code is None for line in found)


def test_what_exports_write_around_a_number_is_taken_off(put: Any) -> None:
    found = lines_of(put(f'id,phone\n="{ID}",{PHONE}.0\n"=""{ID}""",\'{PHONE}\n\t{ID}\t,="{PHONE}"\n'))
    assert [line.push.tokens for line in found] == [
        PushTokens(id=tokens("id", ID), phone=tokens("phone", "86" + PHONE))
    ] * 3


@pytest.mark.parametrize(
    "lost", ["3.70105E+17", "3.70105e17", "3E+17", "１．１Ｅ＋１７", "110105194912310020.0", '"=""1.1E+17"""']
)
def test_a_number_that_a_spreadsheet_rounded_gets_no_token(put: Any, lost: str) -> None:
    [line] = lines_of(put(f"id,phone\n{lost},{PHONE}\n"))
    assert line.findings == ("id:digits_lost",) and line.push.tokens == PushTokens(phone=tokens("phone", "86" + PHONE))


@pytest.mark.parametrize("nothing", ["无", "-", "/", "——", "N/A", "NULL", "不详", "None", " "])
def test_what_says_that_there_is_nothing_gets_no_token_and_no_finding(put: Any, nothing: str) -> None:
    [line] = lines_of(put(f"姓名,id,passport,phone,plate,pass\n张三{f',{nothing}' * 5}\n"))
    assert line.code == "no_token" and line.findings == ()


@pytest.mark.parametrize(
    "content,says",
    [
        (b"", "empty"), (b" \r\n\t\n", "empty"), (b"\xff\xfe\0\0i\0\0\0", "UTF-32"), (b"id\n\0\0\0\x01", "no text"),
        (b"id\n\xff\xff\xff", "neither UTF-8"), (b"\xff\xfei\0d\0\n\0\0\xd8", "neither UTF-8"),
        ("身份证号,车牌号\n,鲁A12345\n".encode() + b"\x81A\n", "damaged characters"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old Excel"), (b"%PDF-1.7 id\n", "PDF"),
        (b"<html><table><tr><td>id</td></tr>", "web page"), (b"PK\x03\x04id", "damaged"),
        (b"id\n" + b"1" * (1 << 21), "row 2 has over"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_in_a_line(put: Any, content: bytes, says: str) -> None:
    message = refusal(lambda: lines_of(put(content)))
    assert says in message and message.startswith("file 1: ")


def test_a_missing_file_a_folder_and_a_changed_file_are_refused(put: Any, tmp_path: Path) -> None:
    assert "no such file" in refusal(lambda: open_sheet(tmp_path / ID))
    assert "not a file" in refusal(lambda: open_sheet(tmp_path, 3))
    path = put(f"id\n{ID}\n")
    sheet = open_sheet(path)
    path.write_text(f"id\n{ID}\n{ID}\n")
    assert "changed" in refusal(lambda: list(sheet.rows()))


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a file" in refusal(lambda: open_sheet(tmp_path / "pipe"))


def test_a_million_columns_and_huge_cells_are_survived(put: Any) -> None:
    wide = put("id" + ",x" * 300_000 + f"\n{ID}" + ",y" * 300_000)
    assert lines_of(wide)[0].push.tokens == PushTokens(id=tokens("id", ID))
    [line] = lines_of(put(f"id,phone\n{'9' * 500_000},{PHONE}\n"))
    assert line.findings == ("id:bad_length",) and line.code is None


def test_a_long_list_takes_little_memory(put: Any) -> None:
    path = put("姓名,id,地址\n" + f"张三,{ID},某地\n" * 60_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in open_sheet(path).rows()) == 60_000
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


# -- columns ---------------------------------------------------------------------------------------------------------


def test_known_headers_are_found_and_others_are_not_read(put: Any) -> None:
    sheet = open_sheet(
        put(
            "序号,姓名,公民身份号码,护照号,国籍,联系电话,号牌号码,健康通行证编号,隔离开始日期,解除日期,紧急联系人电话\n1,,,,,,,,,,2"
        )
    )
    assert sheet.columns == {
        "id": "C", "passport": "D", "state": "E", "phone": "F", "plate": "G", "pass": "H", "valid_from": "I", "valid_to": "J",
    }  # fmt: skip
    assert [list(row.cells) for row in sheet.rows()] == [[""] * 8]


def test_a_guardians_number_is_not_the_persons(put: Any) -> None:
    assert open_sheet(put("身份证号（18位）,身份证号（监护人）,手机号\n1,2,3")).columns == {"id": "A", "phone": "C"}


def test_two_columns_for_one_field_are_not_guessed(put: Any) -> None:
    message = refusal(lambda: open_sheet(put("电话;身份证号;手机号\n1;2;3")))
    assert "columns A and C both look like `phone`" in message


def test_a_table_without_a_known_header_needs_a_mapping(put: Any) -> None:
    path = put(f"张三,{ID},{PHONE}\n")
    assert "give a mapping" in refusal(lambda: open_sheet(path))
    found = lines_of(path, mapping=Mapping(id="b", phone=3))
    assert [(line.row, line.push.tokens.id) for line in found] == [(1, tokens("id", ID))]


def test_a_mapping_names_headers_and_nothing_else_is_read(put: Any) -> None:
    path = put(f"名单\n姓名;Dokument Nr.;手机号;Telefon\n张三;{ID};10086;{PHONE}\n")
    sheet = open_sheet(path, mapping=Mapping(id="dokument nr", phone="TELEFON"))
    assert sheet.columns == {"id": "B", "phone": "D"} and [row.row for row in sheet.rows()] == [3]


def test_columns_by_place_skip_a_known_header_or_start_at_the_row_given(put: Any) -> None:
    assert [line.row for line in lines_of(put(f"身份证号\n{ID}"), mapping=Mapping(id="A"))] == [2]
    assert [line.row for line in lines_of(put(f"DOC\n{ID}"), mapping=Mapping(id=1, first_row=2))] == [2]


@pytest.mark.parametrize(
    "mapping",
    [Mapping(id="没有"), Mapping(id="tel"), Mapping(id=0), Mapping(id=99_999), Mapping(valid_to="A"), Mapping()],
)
def test_a_mapping_that_does_not_fit_is_refused(put: Any, mapping: Mapping) -> None:
    refusal(lambda: open_sheet(put(f"id,x\n{ID},1"), mapping=mapping))


def test_a_mapping_is_saved_for_its_owner_and_loaded_again(tmp_path: Path) -> None:
    mapping = Mapping(id="证件号", pass_=4, first_row=2)
    mapping.save(tmp_path / "m.json")
    assert Mapping.load(tmp_path / "m.json") == mapping
    assert stat.S_IMODE((tmp_path / "m.json").stat().st_mode) == 0o600
    assert (tmp_path / "m.json").read_text("utf-8").startswith('{\n  "id": "证件号",\n  "pass": 4')


@pytest.mark.parametrize("content", ["", "[]", '{"name": "A"}', '{"id": null, "first_row": 0}', "{" * 9999, "\ud800"])
def test_a_bad_mapping_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "m").write_bytes(content.encode("utf-8", "surrogatepass"))
    refusal(lambda: Mapping.load(tmp_path / "m"))
    refusal(lambda: Mapping.load(tmp_path / "none"))
    refusal(lambda: Mapping(id="A").save(tmp_path / "none" / "m"))


# -- workbooks -------------------------------------------------------------------------------------------------------


def test_a_workbook_is_read_with_dates_and_numbers_as_excel_has_them(excel: Any) -> None:
    head = ["姓名", "身份证号", "手机号", "起始日期", "截止日期"]
    rows = [
        ["甲", ID, 13800138000, datetime(2020, 2, 3), datetime(2020, 2, 17)],
        ["乙", ID, 13800138000.0, 43864, 43878.5],
        ["丙", ID, PHONE, "2020年2月3日", 20200217],
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = lines_of(excel([["名单"], [], head, *rows]))
    assert [line.row for line in found] == [4, 5, 6]
    assert {str(line.push.tokens) for line in found} == {
        str(PushTokens(id=tokens("id", ID), phone=tokens("phone", "86" + PHONE)))
    }
    start, end = datetime(2020, 2, 2, 16, tzinfo=UTC), datetime(2020, 2, 17, 16, tzinfo=UTC)
    assert [(line.push.valid_from, line.push.valid_to) for line in found] == [
        (start, end), (start, datetime(2020, 2, 17, 4, tzinfo=UTC)), (start, end),
    ]  # fmt: skip


@pytest.mark.parametrize("number", [110105194912310021, 1.1010519491231e17, 1e15, 13800138000.5, -13800138000, 1e300])
def test_a_number_of_a_workbook_that_is_not_exact_gets_no_token(excel: Any, number: float) -> None:
    [line] = lines_of(excel([["id", "姓名"], [number, "甲"]]))
    assert line.code == "no_token" and line.findings == ("id:digits_lost",)


def test_fifteen_digits_typed_as_a_number_are_exact(excel: Any) -> None:
    assert lines_of(excel([["id"], [110105491231002]]))[0].push.tokens.id == tokens("id", ID)


def test_zeros_that_a_format_shows_belong_to_a_pass(excel: Any) -> None:
    def format_(book: Any) -> None:
        book.worksheets[0]["A2"].number_format = "000000"

    [line] = lines_of(excel([["健康通行证编号"], [123]], change=format_))
    assert line.push.tokens.pass_ == tokens("pass", "000123")


def test_days_count_from_1904_where_the_workbook_says_so(excel: Any) -> None:
    def old_mac(book: Any) -> None:
        book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904

    path = excel([["id", "截止"], [ID, datetime(2020, 2, 17)], [ID, 43877 - 1462 + 0.5]], change=old_mac)
    ends = [line.push.valid_to for line in lines_of(path)]
    assert ends == [datetime(2020, 2, 17, 16, tzinfo=UTC), datetime(2020, 2, 16, 4, tzinfo=UTC)]


def test_the_first_visible_sheet_with_content_is_read_or_the_one_named(excel: Any) -> None:
    def hide(book: Any) -> None:
        book.worksheets[0].sheet_state = "hidden"
        for number, page in enumerate(book.worksheets):
            page.title = f"表{number}"

    path = excel([["身份证号"], ["x"]], [], [["id"], [ID]], [["id"], [ID], [ID]], change=hide)
    assert [len(lines_of(path, sheet=sheet)) for sheet in (None, "表3", "4", "表0")] == [1, 2, 2, 1]
    assert open_sheet(path).other_sheets == 1 and open_sheet(path, sheet="表3").other_sheets == 0
    assert "one of its 4" in refusal(lambda: open_sheet(path, sheet="没有"))
    assert "no visible sheet has anything" in refusal(lambda: open_sheet(excel([], [])))


def test_merged_cells_hidden_rows_errors_and_truth_values_are_no_identities(excel: Any) -> None:
    def change(book: Any) -> None:
        page = book.worksheets[0]
        page.merge_cells("B2:B3")
        page.row_dimensions[2].hidden = True

    rows = [["姓名", "id"], ["甲", ID], ["乙", None], ["丙", True], ["丁", "#N/A"]]
    assert [line.code for line in lines_of(excel(rows, change=change))] == [None, "no_token", "no_token", "no_token"]


def test_formulas_give_the_values_they_were_saved_with(excel: Any) -> None:
    rows = (
        '<row r="1"><c r="A1" t="inlineStr"><is><t>id</t></is></c></row>'
        f'<row r="2"><c r="A2" t="str"><f>B2&amp;"x"</f><v>{ID}</v></c></row>'
        '<row r="3"><c r="A3" t="str"><f>IF(B3="","",1)</f><v></v></c></row><row r="4"><c r="A4"><f>1+1</f></c></row>'
    )
    assert [(line.row, line.code) for line in lines_of(sheet_xml(excel([["x"]]), rows))] == [(2, None)]


def shared(path: Path, rows: str, *texts: str) -> Path:
    """The workbook with rows that refer to shared texts, as Excel writes them (openpyxl writes texts into the cells)."""
    whole = f"{XML}<sst {MAIN}>{''.join(f'<si>{text}</si>' for text in texts)}</sst>".encode()
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"
    relation = f'<Relationship Id="rId99" Type="{kind}" Target="sharedStrings.xml"/></Relationships>'.encode()
    return repacked(
        sheet_xml(path, rows),
        lambda name, data: (
            data.replace(b"</Relationships>", relation) if name == "xl/_rels/workbook.xml.rels" else data
        ),
        {"xl/sharedStrings.xml": whole},
    )


def test_texts_that_cells_share_are_read(excel: Any) -> None:
    rows = (
        '<row r="2"><c r="A2" t="s"><v>3</v></c><c r="B2" t="s"><v>0</v></c></row><row r="3"><c r="A3" t="s"><v>2</v></c></row>'
        '<row r="4"><c r="A4" t="s"><v>2</v></c><c r="B4" t="s"><v>1</v></c><c r="C4" t="s"><v>4</v></c></row>'
    )
    halves = f"<r><t>{ID[:9]}</t></r><r><rPr/><t>{ID[9:]}</t></r><rPh><t>98</t></rPh>"
    path = shared(excel([["x"]]), rows, "<t>身份证号</t>", halves, "<t> \n</t>", "<t>姓名</t>", f"<t>{'某' * 9000}</t>")
    assert [(line.row, line.push.tokens.id) for line in lines_of(path)] == [(4, tokens("id", ID))]
    [row] = open_sheet(path, mapping=Mapping(id="身份证号", pass_="C")).rows()
    assert row.cells[0] == ID and row.cells[1] == "某" * 4097


def test_runs_readings_prefixes_and_escapes_are_understood(excel: Any) -> None:
    half = f"<x:r><x:t>{ID[:9]}</x:t></x:r><x:r><x:t>{ID[9:]}</x:t></x:r><x:rPh><x:t>123</x:t></x:rPh>"
    whole = (
        f'{XML}<x:worksheet xmlns:x="http://purl.oclc.org/ooxml/spreadsheetml/main"><x:sheetData><x:row><x:c t="inlineStr"><x:is>'
        f'<x:t>id_x000D_</x:t></x:is></x:c></x:row><x:row><x:c t="inlineStr"><x:is>{half}</x:is></x:c></x:row></x:sheetData></x:worksheet>'
    ).encode()
    path = repacked(excel([["x"]]), lambda name, data: whole if name.endswith("sheet1.xml") else data)
    assert [line.push.tokens.id for line in lines_of(path)] == [tokens("id", ID)]


def test_rows_read_as_openpyxl_reads_them(excel: Any) -> None:
    path = excel([["id", "phone", "备注"], *([ID, 13800000000 + n, None if n % 3 else f"注{n}"] for n in range(200))])
    page = openpyxl.load_workbook(path, read_only=True, data_only=True).worksheets[0]
    theirs = [(number, list(row[:2])) for number, row in enumerate(page.iter_rows(values_only=True), 1) if number > 1]
    assert [(row.row, list(row.cells)) for row in open_sheet(path).rows()] == theirs


def test_empty_rows_by_the_thousand_and_a_lying_size_cost_nothing(excel: Any) -> None:
    blank = "".join(
        f'<row r="{n}" ht="15" customHeight="1"><c r="A{n}" s="1"/><c r="B{n}" s="1"/></row>' for n in range(3, 60_000)
    )
    first = f'<row r="1"><c r="A1" t="str"><v>id</v></c></row><row r="2"><c r="A2" t="str"><v>{ID}</v></c></row>'
    last = f'<row r="1048576"><c r="A1048576" t="str"><v>{ID}</v></c></row>'
    path = sheet_xml(excel([["x"]]), first + blank + last)
    tracemalloc.start()
    try:
        assert [line.row for line in lines_of(path)] == [2, 1048576]
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "entities": lambda p: repacked(p, lambda n, d: d.replace(b"<worksheet", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><worksheet', 1)),
    "utf-16 entities": lambda p: repacked(
        p,
        lambda n, d: (
            '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x [<!ENTITY a "b">]><workbook/>'.encode("utf-16")
            if n == "xl/workbook.xml"
            else d
        ),
    ),
    "deep": lambda p: sheet_xml(p, "<row>" * 100_000),
    "long tag": lambda p: sheet_xml(p, f'<row r="{"1" * 3_000_000}"/>'),
    "text that is not there": lambda p: sheet_xml(p, '<row><c t="s"><v>99999</v></c></row>'),
    "text of a negative number": lambda p: sheet_xml(p, '<row><c t="s"><v>-1</v></c></row>'),
    "no sheet": lambda p: repacked(p, lambda n, d: d.replace(b"worksheets/sheet1.xml", b"gone.xml") if n.endswith(".rels") else d),
    "cut xml": lambda p: repacked(p, lambda n, d: d[:-20]),
    "no workbook": lambda p: repacked(p, lambda n, d: d.replace(b"<workbook", b"<w:document", 1).replace(b"</workbook", b"</w:document")),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_or_damaged_workbook_is_refused_in_a_line(excel: Any, kind: str) -> None:
    message = refusal(lambda: lines_of(HOSTILE[kind](excel([["id", "地址"], [ID, "某地"]]))))
    assert message.startswith("file 1: ") and ID not in message


def test_what_unpacks_to_too_much_is_refused(excel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared(excel([["x"]]), '<row><c t="s"><v>0</v></c></row>', "<t>id</t>", f"<t>{ID}</t>")
    repacked(path, lambda n, d: d, {"xl/media/bomb": bytes(50 << 20)})
    assert path.stat().st_size < 1 << 20
    monkeypatch.setattr(office_archive, "MOST_UNPACKED", 40 << 20)
    assert "unpacks to more" in refusal(lambda: open_sheet(path))
    monkeypatch.setattr(office_archive, "MOST_UNPACKED", 1 << 30)
    monkeypatch.setattr(workbooks, "MOST_TEXT", 10)
    assert "unpacks to more" in refusal(lambda: open_sheet(path))


def test_an_archive_with_a_password_or_of_another_kind_is_refused(tmp_path: Path, excel: Any) -> None:
    path = excel([["id"], [ID]])
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(mark, at + 1)) >= 0:
            content[at + offset] |= 1
    path.write_bytes(content)
    assert "password" in refusal(lambda: open_sheet(path))
    path.write_bytes(path.read_bytes()[:-30])
    assert "damaged" in refusal(lambda: open_sheet(path))
    with zipfile.ZipFile(tmp_path / "ods", "w") as other:
        other.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
    assert "no .xlsx workbook" in refusal(lambda: open_sheet(tmp_path / "ods"))


# -- times -----------------------------------------------------------------------------------------------------------


def local(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=CHINA)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    "text",
    [
        "2020-02-03",
        "2020/2/3",
        "2020.2.3",
        "2020年2月3日",
        "20200203",
        "２０２０／２／３",
        " 2020-2-03 ",
        "2020年02月3号",
    ],
)
def test_a_date_begins_at_its_midnight_and_ends_at_the_next(text: str) -> None:
    assert moment(text, CHINA, end=False) == local(2020, 2, 3)
    assert moment(text, CHINA, end=True) == local(2020, 2, 4)


@pytest.mark.parametrize(
    "text,time",
    [
        ("2020-02-03 08:30", local(2020, 2, 3, 8, 30)), ("2020/2/3 8:30:15", local(2020, 2, 3, 8, 30, 15)),
        ("2020年2月3日8时30分", local(2020, 2, 3, 8, 30)), ("2020年2月3日 8时", local(2020, 2, 3, 8)), ("2020-02-03 24:00", local(2020, 2, 4)),
        ("2020-02-03T08:30:00Z", local(2020, 2, 3, 16, 30)), ("2020-02-03T08:30:00.5+09:00", local(2020, 2, 3, 7, 30, 0, 500_000)),
        ("20200203 0830", None), ("03/04/2020", None), ("3-4-20", None), ("20-02-03", None), ("2020-02/03", None), ("2020-02-30", None),
        ("2020-02-03 25:00", None), ("2020-02-03 24:01", None), ("2020-02-03T08:30+24:00", None), ("0020-02-03", None), ("43864", None),
        ("明天", None), ("", None), ("2020-02", None), ("2" * 9999, None), ("2020-02-03 08:30 PM", None), ("²020-02-03", local(2020, 2, 3)),
    ],
)  # fmt: skip
def test_a_time_is_read_only_if_it_is_certain(text: str, time: datetime | None) -> None:
    assert moment(text, CHINA, end=False) == time
    if time is not None and ":" in text:
        assert moment(text, CHINA, end=True) == time


@pytest.mark.parametrize(
    "end", ["9999-12-31", "9999-12-31 24:00", "9999-06-01", "9999-12-31T23:00:00-08:00", 2_958_465.0]
)
def test_for_ever_is_cut_as_the_workers_cut_it(end: str | float) -> None:
    assert moment(end, CHINA, end=True) == FOREVER
    assert round(FOREVER.timestamp() * 1_000_000) == FOREVER_US


@pytest.mark.parametrize(
    "number", [-1.0, 0.5, 60.0, 2_958_466.0, 3e6, float("nan"), float("inf"), 1e300, 20200230.0, 20200203.5]
)
def test_numbers_that_are_no_days_are_not_read(number: float) -> None:
    assert moment(number, CHINA, end=True) is None


def test_empty_cells_have_the_default_window_and_unreadable_ones_none(put: Any) -> None:
    found = lines_of(
        put(f"id,开始,截止\n{ID},,\n{ID},2020-02-01,\n{ID},03/04/2020,\n{ID},,明天\n{ID},1960-01-01,2020-02-20\n")
    )
    assert [(line.push.valid_from, line.push.valid_to) for line in found[:2]] == [
        (NOW, NOW + timedelta(days=14)), (local(2020, 2, 1), local(2020, 2, 15)),
    ]  # fmt: skip
    assert [line.code for line in found] == [None, None, "no_window", "no_window", "term_too_long"]
    [line] = lines_of(put(f"id\n{ID}\n"), terms=TERMS._replace(days=None))
    assert line.code == "no_window" and line.push.valid_from == NOW
    [line] = lines_of(put(f"id\n{ID}\n"), terms=TERMS._replace(valid_from=local(2020, 2, 9)))
    assert line.push.valid_to == local(2020, 2, 23)
    [line] = lines_of(put(f"id\n{ID}\n"), terms=TERMS._replace(mode="withdraw", days=None))
    assert line.code is None and line.push.valid_from is None


# -- lines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header,cell,token,findings",
    [
        ("护照号", PASSPORT, "UTO/L898902C3", ()), ("护照号", "L898902C3", None, ("passport:no_issuing_state",)),
        ("护照号,国籍", "L898902C3,uto", "UTO/L898902C3", ()), ("护照号,国籍", "L898902C3,CN", None, ("passport:no_issuing_state",)),
        ("护照号,国籍", "L898902C3,中国", None, ("passport:no_issuing_state",)), ("护照号,国籍", "L898902C3,", None, ("passport:no_issuing_state",)),
        ("护照号,国籍", "D/C01X00T47,UTO", "D/C01X00T47", ()), ("护照号,国籍", "-,UTO", None, ()), ("护照号,国籍", "Ｄ／C01X00T47,UTO", "D/C01X00T47", ()),
    ],
)  # fmt: skip
def test_a_passport_needs_its_issuing_state(
    put: Any, header: str, cell: str, token: str | None, findings: tuple[str, ...]
) -> None:
    [line] = lines_of(put(f"{header}\n{cell}\n"))
    assert line.findings == findings
    assert line.push.tokens == (PushTokens() if token is None else PushTokens(passport=tokens("passport", token)))


def test_findings_are_the_quality_flags_by_field(put: Any) -> None:
    found = lines_of(put("id,phone,plate\n110105194912310021,110,鲁A1\n身份证号,手机号,车牌号\n"))
    assert (
        found[0].findings == ("id:checksum_failed", "phone:phone_invalid", "plate:plate_unrecognised")
        and found[0].code is None
    )
    assert found[1].findings == ("id:bad_character", "phone:bad_character", "plate:plate_unrecognised")


def test_lines_count_over_all_files_and_each_knows_its_row(put: Any, excel: Any) -> None:
    found = lines_of(put(f"id\n{ID}\n\n{ID}\n"), excel([["id"], [ID]]))
    assert [(line.push.line, line.file, line.row) for line in found] == [(1, 1, 2), (2, 1, 4), (3, 2, 2)]


TIMES = st.none() | st.integers(-40, 40).map(lambda days: NOW + timedelta(days=days)) | st.just(NOW + MAX_TERM)


@given(
    st.sampled_from([PushTokens(), PushTokens(id=tokens("id", ID)), PushTokens(phone=tokens("phone", "8610"))]), TIMES, TIMES,
    st.sampled_from(["delta", "full", "withdraw"]), st.sampled_from(["close_contact", "health_pass"]),
)  # fmt: skip
def test_a_line_gets_the_code_on_the_edge_that_the_worker_gives_it(
    some: PushTokens, first: Any, last: Any, mode: Any, category: str
) -> None:
    line = PushLine(line=1, tokens=some, valid_from=first, valid_to=last)
    batch = PushBatch("b", "a", "p", "l", category, mode, 1, NOW, "epidemic_control", 1, [line], "basis")
    receipt = judge(batch, unix_micros(NOW), Watchlist(), None)
    theirs = [reject.code for reject in receipt.rejects if reject.code != "not_listed"]
    code = line_code(line, mode, category, unix_micros(NOW))
    assert ([] if code is None else [code]) == theirs


def test_parts_stay_below_their_size_and_come_out_the_same_twice(put: Any) -> None:
    sheet = open_sheet(put("id,phone\n" + f"{ID},{PHONE}\n" * 500))
    header = len(
        encode(PushBatch("b", "a", "p", "l", "close_contact", "delta", 1, NOW, "epidemic_control", 500, [], "basis"))
    )

    def grouped() -> list[list[int]]:
        return [
            [line.push.line for line in part] for part in parts(read_lines([sheet], RING, TERMS, check), header, 20_000)
        ]

    found = grouped()
    assert found == grouped() and [line for part in found for line in part] == list(range(1, 501))
    for part in parts(read_lines([sheet], RING, TERMS, check), header, 20_000):
        whole = PushBatch(
            "b",
            "a",
            "p",
            "l",
            "close_contact",
            "delta",
            1,
            NOW,
            "epidemic_control",
            500,
            [x.push for x in part],
            "basis",
        )
        assert 15_000 < len(encode(whole)) <= 20_000 or part[-1].push.line == 500
        assert decoder(PushBatch).decode(encode(whole)) == whole
    assert list(parts([], 100)) == []
    refusal(lambda: list(parts(read_lines([sheet], RING, TERMS, check), header, header + 50)))


def test_the_summary_counts_and_the_rejects_file_tells_each_row(put: Any, tmp_path: Path) -> None:
    sheet = open_sheet(put(f"id,phone,截止\n{ID},,\n110105194912310021,,\n无,,\n{ID},1,2020-02-01\n"), 2)
    path = tmp_path / "rejects.csv"
    path.write_text("old")
    summary = summarise(read_lines([sheet], RING, TERMS, check), 300, path)
    assert (summary.lines, summary.parts, summary.accepted) == (4, 1, 2)
    assert summary.codes == {"no_token": 1, "bad_window": 1}
    assert summary.findings == {"id:checksum_failed": 1, "phone:phone_invalid": 1}
    assert list(csv.reader(io.StringIO(path.read_text("utf-8-sig")))) == [
        ["file", "row", "code", "findings"], ["2", "3", "", "id:checksum_failed"], ["2", "4", "no_token", ""],
        ["2", "5", "bad_window", "phone:phone_invalid"],
    ]  # fmt: skip
    assert path.read_bytes().startswith(b"\xef\xbb\xbf") and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_rejects_file_that_fails_half_way_leaves_the_old_one(put: Any, tmp_path: Path) -> None:
    sheet = open_sheet(put("id\n" + "1\n" * 30 + "9" * 2_000_000))
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "rejects.csv"
    path.write_text("old")
    refusal(lambda: summarise(read_lines([sheet], RING, TERMS, check), 300, path))
    assert path.read_text() == "old" and len(list(path.parent.iterdir())) == 1
    refusal(lambda: summarise(iter(()), 300, tmp_path / "none" / "rejects.csv"))


# -- nothing leaks, nothing breaks -----------------------------------------------------------------------------------

SECRETS = ("张密", ID, ID[:17], "L898902C3", PHONE, "12345", "某村某号", "密表", "000123")


def outputs(path: Path, folder: Path, **how: Any) -> Iterator[str]:
    """Everything that a push of the file could show."""
    rejects = folder / "rejects.csv"
    try:
        sheet = open_sheet(path, **how)
        yield repr(sheet) + repr(sheet._layout) + repr(sheet._source)
        yield from (repr(row) for row in sheet.rows())
        yield repr(summarise(read_lines([sheet], RING, TERMS, check), 300, rejects))
        yield rejects.read_text("utf-8")
        for part in parts(read_lines([sheet], RING, TERMS, check), 300):
            yield repr(part) + encode([line.push for line in part]).decode()
    except SheetError as error:
        yield str(error)
        yield "".join(str(frame) for frame in (error.__cause__, error.__context__) if frame)


@pytest.mark.parametrize(
    "header",
    ["姓名,身份证号,护照号,手机号,车牌号,健康通行证,截止,地址", "张密,,,,,,,某村某号", "身份证号,身份证,手机号", ""],
)
@pytest.mark.parametrize("break_", ["", "\0", '"', "\ud800", ",,,,,,,,,,", "x" * (1 << 20), "\x81"])
def test_no_cell_is_ever_shown_sent_or_written(tmp_path: Path, excel: Any, header: str, break_: str) -> None:
    cells = ["张密", ID, PASSPORT, PHONE, PLATE, PASS, "03/04/2020", "某村某号"]
    for name, where in (
        (f"张密{ID}.csv", None),
        ("other.csv", Mapping(id="张密", phone=PHONE)),
        ("third.csv", Mapping(id="B")),
    ):
        path = tmp_path / name
        path.write_bytes(
            f"{header}\n{','.join(cells)}\n{break_}{','.join(reversed(cells))}\n".encode("utf-8", "surrogatepass")
        )
        for shown in outputs(path, tmp_path, mapping=where):
            assert not [secret for secret in SECRETS if secret in shown]
    if break_ in ("", '"'):
        book = excel([header.split(","), cells, cells[::-1]])
        for how in ({}, {"sheet": "密表"}):
            for shown in outputs(book, tmp_path, **how):
                assert not [secret for secret in SECRETS if secret in shown]


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=400)
    | st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.text(alphabet='",;\t\n\r\0身份证号手机id通1980X-/Ａ無\u2028\ufeff', max_size=300).map(
        lambda text: ("身份证号,手机号,id2\n" + text).encode()
    )
    | st.text(alphabet='",\n1x', max_size=200).map(lambda text: ("id,phone\n" + text).encode("gb18030"))
)
@example(b"\xef\xbb\xbf")
@example(b"\xff\xfe")
@example(b'id\n"')
def test_any_bytes_give_lines_or_one_refusal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fuzz"
    path.write_bytes(content)
    for mapping in (None, Mapping(id="A", plate="B", valid_to=3)):
        try:
            found = lines_of(path, mapping=mapping)
        except SheetError as error:
            assert "\n" not in str(error)
        else:
            rows = [line.row for line in found]
            assert rows == sorted(set(rows)) and len(rows) <= content.count(b"\n") + content.count(b"\r") + 1


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.booleans())
def test_any_damage_to_a_workbook_gives_lines_or_one_refusal(
    tmp_path: Path, excel: Any, at: int, damage: bytes, inside: bool
) -> None:
    path = excel([["id", "phone", "截止"], [ID, 13800138000, datetime(2020, 2, 17)], ["x", None, "y"]])
    shared(
        path,
        '<row><c t="s"><v>0</v></c></row><row><c t="s"><v>1</v></c><c><v>1</v></c></row>',
        "<t>id</t>",
        f"<t>{ID}</t>",
    )
    if inside:  # valid archive, damaged XML
        repacked(path, lambda name, data: data[: at % len(data)] + damage + data[at % len(data) + len(damage) :])
    else:
        content = path.read_bytes()
        at %= len(content)
        path.write_bytes(content[:at] + damage + content[at + len(damage) :])
    try:
        lines_of(path)
    except SheetError as error:
        assert "\n" not in str(error) and ID not in str(error)
    path.unlink()


def test_the_edge_reads_files_without_the_workers_packages() -> None:
    code = (
        "import sys\n"
        "for name in ('faust', 'aiokafka', 'clickhouse_driver', 'chdb', 'openpyxl', 'orjson'): sys.modules[name] = None\n"
        "import ninezero.streams.edge.listfiles.push_lines, ninezero.streams.edge.listfiles.list_file\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
