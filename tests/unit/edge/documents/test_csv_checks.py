"""Checks of a whole CSV file, as `ninezero check-document` reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ninezero.agents.cli.main import app
from ninezero.streams.edge.documents.csv_checks import check_documents
from tests.unit.edge.documents.inputs import FLAGS, PASSPORT, TODAY, texts


def results(*lines: bytes | str) -> list[tuple[int, str, list[str]]]:
    return list(check_documents(lines, TODAY))


def test_a_row_is_a_line_number_that_does_not_count_the_header() -> None:
    assert results(b"\xef\xbb\xbfKind,Value\r\n", b"id,11010519491231002X\r\n", b"\r\n", "plate,鲁A12345".encode()) == [
        (1, "id", []), (3, "plate", []),
    ]  # fmt: skip
    assert results("id,11010519491231002X\n", "pass, \n") == [(1, "id", []), (2, "pass", ["empty"])]


def test_a_zone_may_be_in_two_or_three_cells_or_in_one_cell_with_line_ends() -> None:
    expired = ["document_expired"]
    td1 = "I<UTOD231458907<<<<<<<<<<<<<<<,7408122F1204159UTO<<<<<<<<<<<6,ERIKSSON<<ANNA<MARIA<<<<<<<<<<"
    assert results(f"mrz,{','.join(PASSPORT)}\n", f"MRZ,{td1}\n") == [(1, "mrz", expired), (2, "mrz", expired)]
    assert results(f'mrz,"{PASSPORT[0]}\r\n', f'{PASSPORT[1]}"\r\n', "pass,A1") == [
        (1, "mrz", expired),
        (3, "pass", []),
    ]


def test_an_unclosed_quote_affects_its_own_line_only() -> None:
    assert results('id,"1101\n', "plate,鲁A12345\n", 'id,"1\n', 'pass,"A\n') == [
        (1, "id", ["bad_length"]), (2, "plate", []), (3, "id", ["bad_length"]), (4, "pass", []),
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_command_accepts_any_line_end_and_shows_no_identity(end: str) -> None:
    lines = [
        "\ufeffkind,value",
        "id,11010519491231002X",
        f'mrz,"{PASSPORT[0]}',
        f'{PASSPORT[1]}"',
        "",
        "name,张三",
        "phone,1380013800O",
    ]
    shown = CliRunner().invoke(app, ["check-document", "-"], input=end.join(lines).encode())
    assert shown.exit_code == 0 and shown.stdout.splitlines() == [
        "row,kind,flags", "1,id,", "2,mrz,document_expired", "5,unknown,bad_character", "6,phone,phone_invalid",
    ]  # fmt: skip


@pytest.mark.parametrize("plate", ["鲁A12345", "鲁A·12345", "豫A12345", "京AD12345", "WJ鲁1234X"])
def test_records_may_be_utf_8_or_gb18030(plate: str) -> None:
    record, dotted = f"plate,{plate}\r\n", "id,110105·19491231·002X\n"
    for encoding in ("utf-8", "gb18030"):
        assert results(record.encode(encoding), dotted.encode(encoding)) == [(1, "plate", []), (2, "id", [])]


def test_bytes_of_neither_encoding_get_a_flag() -> None:
    assert results(b"plate,\xffA12345\n", b"id,\x81\n") == [
        (1, "plate", ["bad_character"]),
        (2, "id", ["bad_character"]),
    ]


def test_an_unknown_kind_always_has_a_flag_and_is_not_repeated() -> None:
    unknown = ["bad_character"]
    assert results("11010519491231002X\n", "name,Wang\n", ",,1\n", "mrz\n") == [
        (1, "unknown", unknown), (2, "unknown", unknown), (3, "unknown", unknown), (4, "mrz", ["empty"]),
    ]  # fmt: skip


@given(st.lists(st.binary(max_size=60) | texts.map(lambda t: f"id,{t}") | texts.map(lambda t: f'mrz,"{t}'), max_size=8))
def test_no_input_raises_and_results_contain_only_known_kinds_and_flags(lines: list[bytes | str]) -> None:
    rows = results(*lines)
    assert [row for row, _, _ in rows] == sorted({row for row, _, _ in rows})
    for _, kind, flags in rows:
        assert kind in ("id", "passport", "mrz", "plate", "phone", "pass", "unknown")
        assert set(flags) <= FLAGS and len(flags) == len(set(flags))


def test_a_result_is_yielded_as_soon_as_its_record_is_read() -> None:
    lines = iter(["pass,A1\n", "pass,A2\n"])
    first = next(check_documents(lines, TODAY))
    assert first == (1, "pass", []) and next(lines) == "pass,A2\n"
