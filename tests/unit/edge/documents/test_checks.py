"""Findings about documents, plates and phones."""

from __future__ import annotations

import json
import random
import time
import typing
from datetime import date, timedelta
from importlib.resources import files
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ninezero.agents.cli.main import app
from ninezero.schemas import events
from ninezero.streams.edge.documents import checks as identity
from ninezero.streams.edge.documents.checks import check
from ninezero.streams.edge.documents.csv_checks import check_documents
from ninezero.streams.edge.documents.mrz import Zone, mrz
from ninezero.streams.edge.documents.normal_forms import check_character, normalise, passport

SCHEMAS = Path(str(files("ninezero.schemas")))
PUBLISHED = json.loads((SCHEMAS / "vectors" / "documents.json").read_bytes())
CLOSED_LIST = set(typing.get_args(events.QualityFlag))
TODAY = date(2026, 1, 1)
PASSPORT = ["P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L898902C36UTO7408122F1204159ZE184226B<<<<<10"]
DIVISIONS = sorted(line[:6] for line in (SCHEMAS / "divisions" / "gbt2260.txt").read_text().splitlines())

kinds = st.sampled_from(["id", "passport", "phone", "plate", "pass"])
# Text that gets somewhere, beside text that is merely hostile.
nearly = st.text(alphabet="0123456789０１٣AOXax鲁挂使领ＷJ〇 -·_/+<#\0\n\u200b\u3000\ud800", max_size=24)
texts = st.text(max_size=40) | st.text(st.characters(), max_size=40) | nearly
born = st.dates(date(1900, 1, 1), TODAY)


def numbered(seventeen: str) -> str:
    return seventeen + check_character(seventeen)


residents = st.builds(
    lambda division, day, serial: numbered(f"{division}{day:%Y%m%d}{serial:03d}"),
    st.sampled_from(DIVISIONS),
    born,
    st.integers(0, 999),
)


@pytest.mark.parametrize("vector", PUBLISHED["vectors"], ids=lambda v: f"{v['kind']}: {v['note']}")
def test_a_published_vector_holds(vector: dict[str, Any]) -> None:
    today = date.fromisoformat(PUBLISHED["today"])
    found = mrz(vector["lines"], today).flags if "lines" in vector else check(vector["kind"], vector["value"], today)
    assert found == vector["flags"]


def test_every_flag_of_the_closed_list_has_a_published_vector() -> None:
    assert {flag for vector in PUBLISHED["vectors"] for flag in vector["flags"]} == CLOSED_LIST


@given(kinds, texts)
def test_what_has_no_token_is_flagged_and_flags_are_of_the_closed_list_once_each(kind: Any, text: str) -> None:
    flags = check(kind, text, TODAY)
    assert set(flags) <= CLOSED_LIST and len(flags) == len(set(flags))
    assert normalise(kind, text) or flags


# --- Resident numbers


@given(residents)
def test_a_right_number_is_in_order_however_it_is_written(number: str) -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) for c in number)
    grouped = f"{number[:6]} {number[6:14]}-{number[14:]}"
    assert check("id", number, TODAY) == check("id", wide.lower(), TODAY) == check("id", grouped, TODAY) == []


@given(residents, st.integers(0, 17), st.sampled_from("0123456789"))
def test_any_wrong_digit_is_caught(number: str, at: int, digit: str) -> None:
    assert digit == number[at] or "checksum_failed" in check("id", number[:at] + digit + number[at + 1 :], TODAY)


@given(residents, st.integers(0, 15))
def test_two_neighbours_that_change_places_are_caught(number: str, at: int) -> None:
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
    assert check("id", numbered(f"370115{text}123"), TODAY) == expected


@given(born)
def test_a_fifteen_digit_number_is_flagged_as_such_and_by_its_date(day: date) -> None:
    assert check("id", f"370115{day:%y%m%d}123", date(1999, 1, 1))[0] == "fifteen_digit"
    assert day.year > 1999 or check("id", f"370115{day:%y%m%d}123", TODAY) == ["fifteen_digit"]


@pytest.mark.parametrize("code", ["000000", "990000", "370999", "163000", "471234"])
def test_a_division_that_never_was_is_unknown(code: str) -> None:
    assert check("id", numbered(f"{code}19800101001"), TODAY) == ["unknown_division"]
    assert check("id", f"{code}800101001", TODAY) == ["fifteen_digit", "unknown_division"]


def test_the_division_file_is_sorted_and_its_years_are_in_order() -> None:
    lines = (SCHEMAS / "divisions" / "gbt2260.txt").read_text().splitlines()
    rows = [line.split(" ") for line in lines]
    assert len(rows) > 7_000 and [row[0] for row in rows] == sorted({row[0] for row in rows})
    for code, first, last in rows:
        assert code.isascii() and code.isdigit() and len(code) == 6
        assert 1980 <= int(first) <= int(last if last != "-" else "2026") <= 2026
    assert "370115 2018 -" in lines and "330103 1980 2021" in lines


@given(st.sampled_from("123456789"), born, st.integers(0, 999))
def test_a_foreigners_card_is_judged_by_its_province(first: str, day: date, serial: int) -> None:
    flags = check("id", numbered(f"9{first}1682{day:%Y%m%d}{serial:03d}"), TODAY)
    assert flags == (["unknown_division"] if first == "9" else [])


# --- Zones, made here from the tables of Doc 9303 and not from the code under test

WEIGHED = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def digit(text: str) -> str:
    return str(sum(0 if c == "<" else WEIGHED.index(c) * w for c, w in zip(text, cycle((7, 3, 1)), strict=False)) % 10)


def checked(text: str) -> str:
    return text + digit(text)


def filled(text: str, width: int) -> str:
    return text.ljust(width, "<")


FORMS = ["TD1", "TD2", "TD3", "MRV-A", "MRV-B"]


def zone(
    form: str, rng: random.Random, number: str, birth: str, expiry: str
) -> tuple[list[str], list[tuple[int, int]]]:
    """A right zone of made-up content, and the (line, column) of the digits that its check digits cover."""
    state = rng.choice(["UTO", "D<<", "CHN"])
    name, optional = "ERIKSSON<<ANNA", "".join(rng.choices("0123456789<", k=rng.randrange(5)))
    where: list[tuple[int, int]] = []
    if len(number) > 9:
        head, tail = number[:9] + "<", checked(number)[9:] + "<"
    else:
        head, tail = checked(filled(number, 9)), ""
    if form == "TD1":
        first = filled(f"I<{state}{head}{tail}{optional}"[:30], 30)
        second = f"{checked(birth)}F{checked(expiry)}{state}{filled(optional, 11)}"
        second += digit(first[5:] + second[:7] + second[8:15] + second[18:29])
        where += [(0, n) for n in range(5, 30)] + [(1, n) for n in (*range(7), *range(8, 15), *range(18, 30))]
        lines = [first, second, filled(name, 30)]
    else:
        width = 44 if form in ("TD3", "MRV-A") else 36
        first = filled({"TD2": "I<", "TD3": "P<"}.get(form, "V<") + state + name, width)
        second = f"{head}{state}{checked(birth)}<{checked(expiry)}"
        covered = [*range(10), *range(13, 20), *range(21, 28)]
        if form == "TD3":
            data = filled(optional, 14)
            second += data + (rng.choice("0<") if not optional.strip("<") else digit(data))
        else:
            room = {"TD2": 7, "MRV-A": 16, "MRV-B": 8}[form]
            second += filled((tail + optional)[:room], room)
        if form in ("TD2", "TD3"):
            second += digit(second[:10] + second[13:20] + second[21:])
            covered += range(28, width)
        where += [(1, n) for n in covered]
        lines = [first, second]
    return lines, [(line, n) for line, n in where if lines[line][n].isdigit()]


def yymmdd(day: date) -> str:
    return f"{day:%y%m%d}"


numbers = st.text("0123456789ABCXYZ", min_size=1, max_size=9)
births = born.map(yymmdd) | st.sampled_from(["<<<<<<", "74<<<<", "7408<<", "<<<<12", "<<0229", "000229"])
valid_until = st.dates(TODAY, TODAY + timedelta(days=40 * 365)).map(yymmdd)


@st.composite
def zones(draw: st.DrawFn) -> tuple[str, str, list[str], list[tuple[int, int]]]:
    form = draw(st.sampled_from(FORMS))
    longest = {"TD1": 22, "TD2": 14}.get(form, 9)
    number = draw(numbers | st.text("0123456789ABC", min_size=10, max_size=longest) if longest > 9 else numbers)
    lines, where = zone(form, draw(st.randoms(use_true_random=False)), number, draw(births), draw(valid_until))
    return form, number, lines, where


@given(zones())
def test_a_right_zone_of_every_form_is_in_order_and_gives_its_number(
    made: tuple[str, str, list[str], list[tuple[int, int]]],
) -> None:
    _, number, lines, _ = made
    found = mrz(lines, TODAY)
    assert found.flags == []
    assert found.number == number and passport(found.state, found.number) == f"{found.state}/{number}"


@given(zones(), st.data())
def test_any_wrong_digit_of_a_checked_field_is_flagged(
    made: tuple[str, str, list[str], list[tuple[int, int]]], data: st.DataObject
) -> None:
    _, _, lines, where = made
    line, column = data.draw(st.sampled_from(where))
    other = data.draw(st.sampled_from("0123456789").filter(lambda c: c != lines[line][column]))
    lines[line] = lines[line][:column] + other + lines[line][column + 1 :]
    assert any(flag.startswith("mrz_") for flag in mrz(lines, TODAY).flags)


@pytest.mark.parametrize(
    ("column", "flag"),
    [(0, "mrz_number_failed"), (13, "mrz_birth_failed"), (21, "mrz_expiry_failed"), (28, "mrz_optional_failed")],
)
def test_each_field_has_its_own_flag(column: int, flag: str) -> None:
    second = PASSPORT[1][:column] + "2" + PASSPORT[1][column + 1 :]
    found = mrz([PASSPORT[0], second], TODAY).flags
    assert [f for f in found if f.startswith("mrz_")] == [flag, "mrz_composite_failed"]


@pytest.mark.parametrize(
    "lines",
    [
        ["".join(PASSPORT)],
        ["\r\n".join(PASSPORT).lower()],
        [" ".join(PASSPORT)],
        ["", f" {PASSPORT[0]} \r\n", f"\t{PASSPORT[1]}\n", " "],
        ["".join(chr(ord(c) + 0xFEE0) for c in line) for line in PASSPORT],
    ],
    ids=["one line", "lower case and CRLF", "a blank between", "blank lines and tabs", "full-width"],
)
def test_a_zone_is_read_however_it_was_pasted(lines: list[str]) -> None:
    assert mrz(lines, TODAY)[:] == (["document_expired"], "UTO", "L898902C3")


@pytest.mark.parametrize(
    "lines",
    [
        PASSPORT[:1], PASSPORT[::-1], [*PASSPORT, PASSPORT[1]], [PASSPORT[0][:-1], PASSPORT[1] + "0"],
        [PASSPORT[0].replace("UTO", "UT-"), PASSPORT[1]], ["IDFRA" + "<" * 31, "8806923102858CORINNE<<<<<<<6512068F6"],
        ["王" * 44, PASSPORT[1]],
    ],
    ids=["a line short", "lines changed places", "a line too many", "lines of other lengths", "a hyphen", "old French card", "Han"],
)  # fmt: skip
def test_what_is_no_zone_gives_neither_state_nor_number(lines: list[str]) -> None:
    assert mrz(lines, TODAY) == (["mrz_format"], "", "")


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        (["IDBEL600001795<0152<<<<<<<<<<<", "1301014F2311207UTO130101987390", "SPECIMEN<<SPECIMEN<<<<<<<<<<<<"], "600001795015"),
        (["I<UTOD23145890<7349<<<<<<<<<<<", "3407127M9507122UTO<<<<<<<<<<<2", "STEVENSON<<PETER<JOHN<<<<<<<<<"], "D23145890734"),
    ],
    ids=["Belgian specimen", "ICAO 9303-5"],
)  # fmt: skip
def test_a_long_number_is_joined(lines: list[str], number: str) -> None:
    found = mrz(lines, TODAY)
    assert found.number == number and "mrz_number_failed" not in found.flags


@pytest.mark.parametrize(
    ("expiry", "today", "expired"),
    [
        ("260101", date(2026, 1, 1), False), ("251231", date(2026, 1, 1), True), ("360101", date(2026, 1, 1), False),
        ("940623", date(2026, 1, 1), True), ("700101", date(2026, 1, 1), False), ("991130", date(2026, 1, 1), True),
        ("000229", date(1999, 12, 31), False), ("990101", date(2026, 1, 1), False), ("<<<<<<", date(2026, 1, 1), False),
    ],
)  # fmt: skip
def test_an_expiry_is_the_one_nearest_to_today(expiry: str, today: date, expired: bool) -> None:
    lines, _ = zone("TD3", random.Random(1), "C01X00T47", "640812", expiry)
    assert mrz(lines, today).flags == (["document_expired"] if expired else [])


@pytest.mark.parametrize(
    ("birth", "expiry"),
    [("740231", "300101"), ("741301", "300101"), ("7<0101", "300101"), ("<<0230", "300101"), ("740101", "300231"),
     ("740101", "30<<<<"), ("74O101", "300101")],
)  # fmt: skip
def test_an_impossible_date_is_flagged(birth: str, expiry: str) -> None:
    lines, _ = zone("TD2", random.Random(1), "C01X00T47", birth, expiry)
    assert mrz(lines, TODAY).flags == ["bad_date"]


@given(st.lists(texts | st.text("P<UTO0123456789", min_size=30, max_size=44), max_size=5))
def test_reading_a_zone_never_raises_and_what_has_no_token_is_flagged(lines: list[str]) -> None:
    found = mrz(lines, TODAY)
    assert set(found.flags) <= CLOSED_LIST and len(found.flags) == len(set(found.flags))
    assert passport(found.state, found.number) or found.flags


@given(st.sampled_from([(30, 3), (36, 2), (44, 2)]), st.data())
def test_any_zone_of_the_right_shape_is_read_without_raising(shape: tuple[int, int], data: st.DataObject) -> None:
    line = st.text("<0123456789ADPV", min_size=shape[0], max_size=shape[0])
    found = mrz(data.draw(st.lists(line, min_size=shape[1], max_size=shape[1])), TODAY)
    assert set(found.flags) <= CLOSED_LIST and len(found.flags) == len(set(found.flags))
    assert passport(found.state, found.number) or found.flags


def test_a_zone_shows_no_identity() -> None:
    from rich.pretty import pretty_repr

    found = Zone(["document_expired"], "UTO", "L898902C3")
    assert not [
        shown for shown in (repr(found), str(found), f"{found}", pretty_repr(found)) if "L89" in shown or "UTO" in shown
    ]


# --- Plates


@given(st.text(max_size=12) | st.text("鲁粤ABDIO0123456789挂使领港WJ民航应急", max_size=12))
def test_a_plate_is_recognised_or_not_whatever_it_is(text: str) -> None:
    assert check("plate", text, TODAY) in ([], ["empty"], ["bad_character"], ["plate_unrecognised"])


@given(st.text("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", min_size=5, max_size=5), st.sampled_from("京鲁粤新"))
def test_every_serial_with_a_digit_is_a_plate(serial: str, province: str) -> None:
    assert (check("plate", f"{province}A·{serial}", TODAY) == []) == any(c.isdigit() for c in serial)


@given(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), st.integers(0, 99_999))
def test_new_energy_has_eight_characters_and_one_of_ten_letters_first_or_last(letter: str, n: int) -> None:
    expected = [] if letter in "ABCDEFGHJK" else ["plate_unrecognised"]
    assert check("plate", f"鲁A{letter}{n:05d}", TODAY) == check("plate", f"鲁A{n:05d}{letter}", TODAY) == expected


# --- Many documents


def findings(*lines: bytes | str) -> list[tuple[int, str, list[str]]]:
    return list(check_documents(lines, TODAY))


def test_rows_are_lines_without_the_header() -> None:
    assert findings(b"\xef\xbb\xbfKind,Value\r\n", b"id,11010519491231002X\r\n", b"\r\n", "plate,鲁A12345".encode()) == [
        (1, "id", []), (3, "plate", []),
    ]  # fmt: skip
    assert findings("id,11010519491231002X\n", "pass, \n") == [(1, "id", []), (2, "pass", ["empty"])]


def test_a_zone_takes_two_or_three_cells_or_one_with_line_ends() -> None:
    expired = ["document_expired"]
    td1 = "I<UTOD231458907<<<<<<<<<<<<<<<,7408122F1204159UTO<<<<<<<<<<<6,ERIKSSON<<ANNA<MARIA<<<<<<<<<<"
    assert findings(f"mrz,{','.join(PASSPORT)}\n", f"MRZ,{td1}\n") == [(1, "mrz", expired), (2, "mrz", expired)]
    assert findings(f'mrz,"{PASSPORT[0]}\r\n', f'{PASSPORT[1]}"\r\n', "pass,A1") == [
        (1, "mrz", expired),
        (3, "pass", []),
    ]


def test_a_quote_that_is_never_closed_costs_its_own_line_only() -> None:
    assert findings('id,"1101\n', "plate,鲁A12345\n", 'id,"1\n', 'pass,"A\n') == [
        (1, "id", ["bad_length"]), (2, "plate", []), (3, "id", ["bad_length"]), (4, "pass", []),
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_command_reads_any_line_end_and_shows_no_identity(end: str) -> None:
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
def test_records_are_read_in_utf_8_and_in_gb18030(plate: str) -> None:
    record, dotted = f"plate,{plate}\r\n", "id,110105·19491231·002X\n"
    for encoding in ("utf-8", "gb18030"):
        assert findings(record.encode(encoding), dotted.encode(encoding)) == [(1, "plate", []), (2, "id", [])]


def test_what_is_in_neither_encoding_is_flagged() -> None:
    assert findings(b"plate,\xffA12345\n", b"id,\x81\n") == [
        (1, "plate", ["bad_character"]),
        (2, "id", ["bad_character"]),
    ]


def test_an_unknown_kind_is_never_in_order_and_never_repeated() -> None:
    unknown = ["bad_character"]
    assert findings("11010519491231002X\n", "name,Wang\n", ",,1\n", "mrz\n") == [
        (1, "unknown", unknown), (2, "unknown", unknown), (3, "unknown", unknown), (4, "mrz", ["empty"]),
    ]  # fmt: skip


@given(st.lists(st.binary(max_size=60) | texts.map(lambda t: f"id,{t}") | texts.map(lambda t: f'mrz,"{t}'), max_size=8))
def test_checking_many_never_raises_and_shows_nothing_but_the_closed_lists(lines: list[bytes | str]) -> None:
    rows = findings(*lines)
    assert [row for row, _, _ in rows] == sorted({row for row, _, _ in rows})
    for _, kind, flags in rows:
        assert kind in ("id", "passport", "mrz", "plate", "phone", "pass", "unknown")
        assert set(flags) <= CLOSED_LIST and len(flags) == len(set(flags))


def test_records_come_as_they_are_read() -> None:
    lines = iter(["pass,A1\n", "pass,A2\n"])
    first = next(check_documents(lines, TODAY))
    assert first == (1, "pass", []) and next(lines) == "pass,A2\n"


@pytest.mark.parametrize("piece", ["1", " ", "A", "鲁", "\ud800", "\0", "+", "/", '"', "ﷺ", "<"])
def test_ten_million_characters_take_no_time(piece: str) -> None:
    text, began = piece * 10_000_000, time.monotonic()
    for kind in ("id", "passport", "phone", "plate", "pass"):
        assert check(kind, text, TODAY) and check(kind, text[:4096], TODAY) is not None
    assert mrz([text], TODAY).flags == ["mrz_format"]
    assert len(findings(text, f"id,{text}", f'id,"{text}', text.encode("utf-8", "replace"))) in (2, 4)
    assert time.monotonic() - began < 5


def test_the_divisions_are_read_once_and_only_when_needed() -> None:
    identity._divisions.cache_clear()
    check("phone", "13123456789", TODAY)
    assert identity._divisions.cache_info().misses == 0
    for _ in range(3):
        check("id", "11010519491231002X", TODAY)
    assert identity._divisions.cache_info().misses == 1
