"""Machine-readable zones are read, and errors in them are flagged. The test builds valid zones from the tables of ICAO Doc 9303."""

from __future__ import annotations

import random
from datetime import date, timedelta
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninezero.streams.edge.documents.mrz import Zone, mrz
from ninezero.streams.edge.documents.normal_forms import passport
from tests.unit.edge.documents.inputs import FLAGS, PASSPORT, TODAY, birth_dates, texts

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
    """Returns a valid zone with invented content, and (line, column) of each digit that a check digit covers."""
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
births = birth_dates.map(yymmdd) | st.sampled_from(["<<<<<<", "74<<<<", "7408<<", "<<<<12", "<<0229", "000229"])
valid_until = st.dates(TODAY, TODAY + timedelta(days=40 * 365)).map(yymmdd)


@st.composite
def zones(draw: st.DrawFn) -> tuple[str, str, list[str], list[tuple[int, int]]]:
    form = draw(st.sampled_from(FORMS))
    longest = {"TD1": 22, "TD2": 14}.get(form, 9)
    number = draw(numbers | st.text("0123456789ABC", min_size=10, max_size=longest) if longest > 9 else numbers)
    lines, where = zone(form, draw(st.randoms(use_true_random=False)), number, draw(births), draw(valid_until))
    return form, number, lines, where


@given(zones())
def test_a_valid_zone_of_every_format_has_no_flag_and_gives_its_number(
    zone: tuple[str, str, list[str], list[tuple[int, int]]],
) -> None:
    _, number, lines, _ = zone
    found = mrz(lines, TODAY)
    assert found.flags == []
    assert found.number == number and passport(found.state, found.number) == f"{found.state}/{number}"


@given(zones(), st.data())
def test_any_wrong_digit_of_a_checked_field_gives_a_flag(
    zone: tuple[str, str, list[str], list[tuple[int, int]]], data: st.DataObject
) -> None:
    _, _, lines, where = zone
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
    ids=["one line", "lower case and CRLF", "a space between", "blank lines and tabs", "full-width"],
)
def test_a_zone_is_read_in_any_layout(lines: list[str]) -> None:
    assert mrz(lines, TODAY)[:] == (["document_expired"], "UTO", "L898902C3")


@pytest.mark.parametrize(
    "lines",
    [
        PASSPORT[:1], PASSPORT[::-1], [*PASSPORT, PASSPORT[1]], [PASSPORT[0][:-1], PASSPORT[1] + "0"],
        [PASSPORT[0].replace("UTO", "UT-"), PASSPORT[1]], ["IDFRA" + "<" * 31, "8806923102858CORINNE<<<<<<<6512068F6"],
        ["王" * 44, PASSPORT[1]],
    ],
    ids=["a line missing", "lines in the wrong order", "a line too many", "lines of other lengths", "a hyphen", "old French card", "Han"],
)  # fmt: skip
def test_text_that_is_not_a_zone_gives_neither_state_nor_number(lines: list[str]) -> None:
    assert mrz(lines, TODAY) == (["mrz_format"], "", "")


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        (["IDBEL600001795<0152<<<<<<<<<<<", "1301014F2311207UTO130101987390", "SPECIMEN<<SPECIMEN<<<<<<<<<<<<"], "600001795015"),
        (["I<UTOD23145890<7349<<<<<<<<<<<", "3407127M9507122UTO<<<<<<<<<<<2", "STEVENSON<<PETER<JOHN<<<<<<<<<"], "D23145890734"),
    ],
    ids=["Belgian specimen", "ICAO 9303-5"],
)  # fmt: skip
def test_a_long_number_is_joined_from_both_of_its_fields(lines: list[str], number: str) -> None:
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
def test_the_century_of_an_expiry_is_the_one_nearest_to_today(expiry: str, today: date, expired: bool) -> None:
    lines, _ = zone("TD3", random.Random(1), "C01X00T47", "640812", expiry)
    assert mrz(lines, today).flags == (["document_expired"] if expired else [])


@pytest.mark.parametrize(
    ("birth", "expiry"),
    [("740231", "300101"), ("741301", "300101"), ("7<0101", "300101"), ("<<0230", "300101"), ("740101", "300231"),
     ("740101", "30<<<<"), ("74O101", "300101")],
)  # fmt: skip
def test_an_impossible_date_gives_a_flag(birth: str, expiry: str) -> None:
    lines, _ = zone("TD2", random.Random(1), "C01X00T47", birth, expiry)
    assert mrz(lines, TODAY).flags == ["bad_date"]


@given(st.lists(texts | st.text("P<UTO0123456789", min_size=30, max_size=44), max_size=5))
def test_no_text_raises_and_a_zone_without_a_token_has_a_flag(lines: list[str]) -> None:
    found = mrz(lines, TODAY)
    assert set(found.flags) <= FLAGS and len(found.flags) == len(set(found.flags))
    assert passport(found.state, found.number) or found.flags


@given(st.sampled_from([(30, 3), (36, 2), (44, 2)]), st.data())
def test_any_text_in_the_shape_of_a_zone_is_read_without_raising(shape: tuple[int, int], data: st.DataObject) -> None:
    line = st.text("<0123456789ADPV", min_size=shape[0], max_size=shape[0])
    found = mrz(data.draw(st.lists(line, min_size=shape[1], max_size=shape[1])), TODAY)
    assert set(found.flags) <= FLAGS and len(found.flags) == len(set(found.flags))
    assert passport(found.state, found.number) or found.flags


def test_no_text_form_of_a_zone_shows_an_identity() -> None:
    from rich.pretty import pretty_repr

    found = Zone(["document_expired"], "UTO", "L898902C3")
    assert not [
        shown for shown in (repr(found), str(found), f"{found}", pretty_repr(found)) if "L89" in shown or "UTO" in shown
    ]
