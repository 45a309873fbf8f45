"""Checks of one document number, phone or plate, and the published vectors of all checks."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninezero.streams.edge.documents import checks
from ninezero.streams.edge.documents.checks import check
from ninezero.streams.edge.documents.csv_checks import check_documents
from ninezero.streams.edge.documents.mrz import mrz
from ninezero.streams.edge.documents.normal_forms import normalise
from tests.unit.edge.documents.inputs import (
    DOCUMENT_VECTORS,
    FLAGS,
    SCHEMAS,
    TODAY,
    birth_dates,
    kinds,
    texts,
    with_check_character,
)

DIVISIONS = sorted(line[:6] for line in (SCHEMAS / "divisions" / "gbt2260.txt").read_text().splitlines())

resident_numbers = st.builds(
    lambda division, day, serial: with_check_character(f"{division}{day:%Y%m%d}{serial:03d}"),
    st.sampled_from(DIVISIONS),
    birth_dates,
    st.integers(0, 999),
)


@pytest.mark.parametrize("vector", DOCUMENT_VECTORS["vectors"], ids=lambda v: f"{v['kind']}: {v['note']}")
def test_a_published_vector_holds(vector: dict[str, Any]) -> None:
    today = date.fromisoformat(DOCUMENT_VECTORS["today"])
    found = mrz(vector["lines"], today).flags if "lines" in vector else check(vector["kind"], vector["value"], today)
    assert found == vector["flags"]


def test_every_flag_of_the_closed_list_has_a_published_vector() -> None:
    assert {flag for vector in DOCUMENT_VECTORS["vectors"] for flag in vector["flags"]} == FLAGS


@given(kinds, texts)
def test_a_value_without_a_token_has_a_flag_and_each_flag_is_given_once(kind: Any, text: str) -> None:
    flags = check(kind, text, TODAY)
    assert set(flags) <= FLAGS and len(flags) == len(set(flags))
    assert normalise(kind, text) or flags


# -- resident numbers


@given(resident_numbers)
def test_a_valid_number_has_no_flag_in_any_spelling(number: str) -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) for c in number)
    grouped = f"{number[:6]} {number[6:14]}-{number[14:]}"
    assert check("id", number, TODAY) == check("id", wide.lower(), TODAY) == check("id", grouped, TODAY) == []


@given(resident_numbers, st.integers(0, 17), st.sampled_from("0123456789"))
def test_any_wrong_digit_fails_the_checksum(number: str, at: int, digit: str) -> None:
    assert digit == number[at] or "checksum_failed" in check("id", number[:at] + digit + number[at + 1 :], TODAY)


@given(resident_numbers, st.integers(0, 15))
def test_two_adjacent_digits_in_the_wrong_order_fail_the_checksum(number: str, at: int) -> None:
    swapped = number[:at] + number[at + 1] + number[at] + number[at + 2 :]
    assert swapped == number or "checksum_failed" in check("id", swapped, TODAY)


@given(st.integers(0, 10**8 - 1))
def test_only_days_of_the_calendar_are_birth_dates(digits: int) -> None:
    text = f"{digits:08d}"
    try:
        day = date(int(text[:4]), int(text[4:6]), int(text[6:]))
        expected = ["bad_date"] if day.year < 1800 else ["birth_in_future"] if day > TODAY else []
    except ValueError:
        expected = ["bad_date"]
    assert check("id", with_check_character(f"370115{text}123"), TODAY) == expected


@given(birth_dates)
def test_a_fifteen_digit_number_has_its_own_flag_beside_that_of_its_date(day: date) -> None:
    assert check("id", f"370115{day:%y%m%d}123", date(1999, 1, 1))[0] == "fifteen_digit"
    assert day.year > 1999 or check("id", f"370115{day:%y%m%d}123", TODAY) == ["fifteen_digit"]


@pytest.mark.parametrize("code", ["000000", "990000", "370999", "163000", "471234"])
def test_a_division_that_never_existed_is_unknown(code: str) -> None:
    assert check("id", with_check_character(f"{code}19800101001"), TODAY) == ["unknown_division"]
    assert check("id", f"{code}800101001", TODAY) == ["fifteen_digit", "unknown_division"]


def test_the_division_file_is_sorted_and_its_years_are_in_order() -> None:
    lines = (SCHEMAS / "divisions" / "gbt2260.txt").read_text().splitlines()
    rows = [line.split(" ") for line in lines]
    assert len(rows) > 7_000 and [row[0] for row in rows] == sorted({row[0] for row in rows})
    for code, first, last in rows:
        assert code.isascii() and code.isdigit() and len(code) == 6
        assert 1980 <= int(first) <= int(last if last != "-" else "2026") <= 2026
    assert "370115 2018 -" in lines and "330103 1980 2021" in lines


@given(st.sampled_from("123456789"), birth_dates, st.integers(0, 999))
def test_the_division_of_a_foreigners_card_is_its_province(first: str, day: date, serial: int) -> None:
    flags = check("id", with_check_character(f"9{first}1682{day:%Y%m%d}{serial:03d}"), TODAY)
    assert flags == (["unknown_division"] if first == "9" else [])


# -- plates


@given(st.text(max_size=12) | st.text("鲁粤ABDIO0123456789挂使领港WJ民航应急", max_size=12))
def test_a_plate_has_at_most_one_flag_of_three(text: str) -> None:
    assert check("plate", text, TODAY) in ([], ["empty"], ["bad_character"], ["plate_unrecognised"])


@given(st.text("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", min_size=5, max_size=5), st.sampled_from("京鲁粤新"))
def test_every_serial_with_a_digit_is_a_plate(serial: str, province: str) -> None:
    assert (check("plate", f"{province}A·{serial}", TODAY) == []) == any(c.isdigit() for c in serial)


@given(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), st.integers(0, 99_999))
def test_a_new_energy_plate_has_one_of_ten_letters_first_or_last(letter: str, n: int) -> None:
    expected = [] if letter in "ABCDEFGHJK" else ["plate_unrecognised"]
    assert check("plate", f"鲁A{letter}{n:05d}", TODAY) == check("plate", f"鲁A{n:05d}{letter}", TODAY) == expected


# -- long input and laziness


@pytest.mark.parametrize("piece", ["1", " ", "A", "鲁", "\ud800", "\0", "+", "/", '"', "ﷺ", "<"])
def test_ten_million_characters_are_checked_within_five_seconds(piece: str) -> None:
    text, began = piece * 10_000_000, time.monotonic()
    lines = [text, f"id,{text}", f'id,"{text}', text.encode("utf-8", "replace")]
    for kind in ("id", "passport", "phone", "plate", "pass"):
        assert check(kind, text, TODAY) and check(kind, text[:4096], TODAY) is not None
    assert mrz([text], TODAY).flags == ["mrz_format"]
    assert len(list(check_documents(lines, TODAY))) in (2, 4)
    assert time.monotonic() - began < 5


def test_the_divisions_are_read_once_and_only_when_needed() -> None:
    checks._divisions.cache_clear()
    check("phone", "13123456789", TODAY)
    assert checks._divisions.cache_info().misses == 0
    for _ in range(3):
        check("id", "11010519491231002X", TODAY)
    assert checks._divisions.cache_info().misses == 1
