"""The oracle's decision table (§3) against cases computed by hand from the contract."""

from __future__ import annotations

import pytest

from . import oracle
from .examples import (
    ID,
    NOW,
    PASS,
    PASSPORT,
    PHONE,
    PLATE,
    arrival,
    batch,
    entry_line,
    listed,
    outcome,
    person,
    receipt_of,
    rules,
    scan,
    tok,
)
from .oracle import DAY, Ambiguous


def test_an_unlisted_healthy_local_is_clear() -> None:
    assert rules(scan(person(origin="370115", health_code="green"))) == []
    assert outcome(scan()) == "clear"


@pytest.mark.parametrize("tokens", [{}, {"phone": PHONE}, {"pass": PASS}, {"phone": PHONE, "pass": PASS}])
def test_without_id_and_passport_there_is_no_identity(tokens: dict[str, str]) -> None:
    assert rules(scan(person(tokens=tokens))) == [(0, "no_identity")]


def test_a_passport_is_an_identity() -> None:
    assert rules(scan(person(tokens={"passport": PASSPORT}))) == []


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("confirmed_case", "refer"),
        ("suspected_case", "refer"),
        ("quarantine_order", "refer"),
        ("close_contact", "quarantine"),
        ("risk_region_arrival", "quarantine"),
        ("health_pass", "clear"),
    ],
)
def test_each_category_has_its_outcome(category: str, expected: str) -> None:
    assert outcome(scan(), listed(batch(entry_line(), category=category))) == expected


def test_a_reason_names_every_entry_sorted_by_authority_list_and_entry() -> None:
    lists = listed(
        batch(entry_line(2, tokens={"id": [ID]}), batch_id="b9", authority="z"),
        batch(entry_line(10), entry_line(9, tokens={"passport": [PASSPORT], "phone": [PHONE]}), batch_id="b2"),
        batch(entry_line(3, tokens={"id": [ID], "passport": [PASSPORT]}), batch_id="b3", list="a"),
    )
    (reason,) = oracle.decide(scan(person(tokens={"id": ID, "passport": PASSPORT})), lists, NOW)
    assert reason.rule == "confirmed_case"
    # As text, "b2:10" stands before "b2:9"; an entry with both tokens is matched by the first kind.
    assert [(e[0], e[2], e[5]) for e in reason.entries] == [
        ("id", "cdc", "b3:3"),
        ("id", "cdc", "b2:10"),
        ("passport", "cdc", "b2:9"),
        ("id", "z", "b9:2"),
    ]


@pytest.mark.parametrize(
    ("observed_at", "expected"),
    [
        ("2026-11-22T23:59:59.999Z", "clear"),
        ("2026-11-23T00:00:00Z", "refer"),
        ("2026-11-29T23:59:59.999Z", "refer"),
        ("2026-11-30T00:00:00Z", "clear"),
    ],
)
def test_a_window_holds_its_start_and_not_its_end(observed_at: str, expected: str) -> None:
    assert outcome(scan(observed_at=observed_at), listed(batch(entry_line()))) == expected


def test_an_entry_that_expired_since_the_scan_is_open() -> None:
    with pytest.raises(Ambiguous):
        oracle.decide(scan(), listed(batch(entry_line())), NOW + 30 * DAY)


def test_a_phone_alone_is_a_weak_match() -> None:
    lists = listed(batch(entry_line(tokens={"id": [tok("f")], "phone": [PHONE]})))
    (reason,) = oracle.decide(scan(person(tokens={"id": ID, "phone": PHONE})), lists, NOW)
    assert (reason.rule, reason.outcome, reason.entries[0][0]) == ("weak_match", "hold", "phone")


def test_an_exact_match_suppresses_the_weak_match_of_that_person_only() -> None:
    lists = listed(
        batch(entry_line(tokens={"id": [tok("f")], "phone": [PHONE]})),
        batch(entry_line(), batch_id="b2", list="l2", category="close_contact"),
    )
    family = scan(person(tokens={"id": ID, "phone": PHONE}), person(tokens={"id": tok("0"), "phone": PHONE}))
    assert rules(family, lists) == [(0, "close_contact"), (1, "weak_match")]


def test_a_health_pass_neither_suppresses_nor_makes_a_weak_match() -> None:
    someone = scan(person(tokens={"id": ID, "phone": PHONE}))
    passes = batch(entry_line(tokens={"id": [ID], "phone": [PHONE]}), category="health_pass", list="p", batch_id="b2")
    assert rules(someone, listed(passes)) == []
    assert rules(someone, listed(batch(entry_line(tokens={"phone": [PHONE]})), passes)) == [(0, "weak_match")]


def test_a_listed_plate_is_a_weak_match_of_no_person() -> None:
    lists = listed(batch(entry_line(tokens={"id": [ID], "plate": [PLATE]})))
    assert rules(scan(plate=PLATE), lists) == [(0, "confirmed_case"), (None, "weak_match")]
    assert rules(scan(person(tokens={"id": tok("0")}), plate=PLATE), lists) == [(None, "weak_match")]


def test_a_pass_token_in_a_case_entry_matches_nothing() -> None:
    lists = listed(batch(entry_line(tokens={"id": [tok("f")], "pass": [PASS]})))
    assert rules(scan(person(tokens={"id": ID, "pass": PASS})), lists) == []


def test_a_key_that_some_non_empty_list_lacks_is_unknown() -> None:
    lists = listed(
        batch(entry_line(tokens={"id": [tok("f"), tok("f", "k2")]})),
        batch(entry_line(tokens={"id": [tok("f")]}), list="l2", batch_id="b2"),
    )
    assert rules(scan(person(tokens={"id": tok("a", "k2")})), lists) == [(0, "unknown_key")]
    assert rules(scan(person(tokens={"id": ID, "phone": tok("a", "k9")})), lists) == [(0, "unknown_key")]
    assert rules(scan(plate=tok("a", "k2")), lists) == [(None, "unknown_key")]
    assert rules(scan(), lists) == []


def test_an_empty_list_lacks_no_key() -> None:
    lists = listed(batch(entry_line()), batch(entry_line(tokens={}), list="l2", batch_id="b2"))
    assert receipt_of(lists, "b2")["rejects"] == [{"line": 1, "code": "no_token"}]
    assert rules(scan(person(tokens={"id": tok("0")})), lists) == []


@pytest.mark.parametrize(
    ("first", "confirmed", "expected"),
    [
        (None, None, ["no_temperature"]),
        (37.2, None, []),
        (37.3, None, ["fever_unconfirmed"]),
        (37.3, 37.2, []),
        (37.2, 37.3, ["fever"]),
        (38.0, 38.0, ["fever"]),
        (None, 37.3, ["fever"]),
        (None, 36.5, []),
        (30.0, None, []),
        (29.9, None, ["temperature_implausible"]),
        (45.0, None, ["fever_unconfirmed"]),
        (45.1, None, ["temperature_implausible"]),
        (36.5, 45.0, ["fever"]),
        (36.5, 45.1, ["temperature_implausible"]),
        (38.0, 45.1, ["fever_unconfirmed", "temperature_implausible"]),
        (45.1, 38.0, ["fever", "temperature_implausible"]),
        (29.9, 29.9, ["temperature_implausible"]),
    ],
)
def test_a_temperature_and_its_confirmation_decide_the_rule(
    first: float | None, confirmed: float | None, expected: list[str]
) -> None:
    event = scan(person(temperature_c=first, temperature_confirmed_c=confirmed))
    assert [rule for _, rule in rules(event)] == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, []),
        ("CN", []),
        ("370115", []),
        ("370102", ["outside_district_without_pass"]),
        ("379999", ["outside_district_without_pass"]),
        ("420106", ["outside_province_without_pass"]),
        ("000000", ["outside_province_without_pass"]),
        ("US", ["outside_province_without_pass"]),
        ("HK", ["outside_province_without_pass"]),
    ],
)
def test_an_origin_decides_by_its_division_and_only_inbound(origin: str | None, expected: list[str]) -> None:
    assert [rule for _, rule in rules(scan(person(origin=origin)))] == expected
    assert rules(scan(person(origin=origin), direction="out")) == []
    assert [rule for _, rule in rules(arrival(person(origin=origin)))] == expected


@pytest.mark.parametrize(
    ("tokens", "passes", "expected"),
    [
        ({"id": ID}, {"id": [ID]}, []),
        ({"id": ID, "pass": PASS}, {"pass": [PASS]}, []),
        ({"id": ID, "passport": PASSPORT}, {"passport": [PASSPORT]}, ["outside_district_without_pass"]),
        ({"id": ID, "phone": PHONE}, {"phone": [PHONE]}, ["outside_district_without_pass"]),
    ],
)
def test_only_a_pass_or_id_token_of_a_health_pass_exempts_a_person(
    tokens: dict[str, str], passes: dict[str, list[str]], expected: list[str]
) -> None:
    lists = listed(batch(entry_line(tokens=passes), category="health_pass"))
    assert [rule for _, rule in rules(scan(person(tokens=tokens, origin="370102")), lists)] == expected


def test_an_arrival_has_no_plate_and_needs_no_temperature() -> None:
    hot = arrival(person(temperature_c=None, health_code="yellow"))
    assert rules(hot) == [(0, "health_code_yellow")]
    assert outcome(hot) == "quarantine"
    assert rules(arrival(person(temperature_c=50))) == [(0, "temperature_implausible")]


def test_the_most_severe_reason_decides_and_reasons_are_sorted() -> None:
    event = scan(person(), person(tokens={}, health_code="red", origin="370102", temperature_c=None))
    assert rules(event) == [
        (1, "health_code_red"),
        (1, "no_identity"),
        (1, "no_temperature"),
        (1, "outside_district_without_pass"),
    ]
    assert outcome(event) == "refer"
    assert outcome(scan(person(origin="370102", tokens={}))) == "turn_back"
    assert outcome(scan(person(origin="370102"), person(origin="US"))) == "quarantine"
