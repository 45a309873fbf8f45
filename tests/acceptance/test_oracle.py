"""The oracle against small cases that were computed by hand from the contract."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import time
from typing import Any

import pytest

from . import client, oracle
from .oracle import ARRIVALS, DAY, MIB, MINUTE, PUSHES, SCANS, SECOND, Ambiguous, Fault, Lists, Reason, Record

NOW_MS = 1_795_478_400_000  # 2026-11-24T00:00:00Z
NOW = NOW_MS * 1000
AT = "2026-11-24T00:00:00Z"


def tok(letter: str, key_id: str = "k1") -> str:
    return f"{key_id}.{letter * 32}"


ID, PASSPORT, PHONE, PASS, PLATE = (tok(letter) for letter in "abcde")


def person(**fields: Any) -> dict[str, Any]:
    return {"role": "driver", "tokens": {"id": ID}, "temperature_c": 36.5, **fields}


def scan(*people: dict[str, Any], **fields: Any) -> dict[str, Any]:
    event = {"device_id": "d1", "seq": 0, "site_id": "cp1", "observed_at": AT, "kind": "vehicle"}
    return event | {"people": list(people) or [person()]} | fields


def arrival(someone: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    event = {"device_id": "s1", "seq": 0, "site_id": "st1", "observed_at": AT, "mode": "rail", "service": "G12"}
    rest = {"stage": "boarded", "transfer_id": None, "destination": None, "person": someone or person(role="traveller")}
    return event | rest | fields


def record(value: Any, topic: str = SCANS, offset: int = 0, ms: int = NOW_MS) -> Record:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Record(topic, 0, offset, ms, b"k", raw)


def entry_line(number: int = 1, **fields: Any) -> dict[str, Any]:
    window = {"valid_from": "2026-11-23T00:00:00Z", "valid_to": "2026-11-30T00:00:00Z"}
    return {"line": number, "tokens": {"id": [ID]}, **window, **fields}


def batch(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    common = {"batch_id": "b1", "authority": "cdc", "pushed_by": "li", "list": "l1", "category": "confirmed_case"}
    common |= {"mode": "delta", "issued_at": AT, "legal_basis": "JN-1", "purpose": "epidemic_control"}
    return common | {"sequence": 1, "declared_lines": len(lines), "lines": list(lines)} | fields


def listed(*batches: dict[str, Any]) -> Lists:
    return oracle.expect([record(b, PUSHES, n) for n, b in enumerate(batches)]).lists


def rules(event: dict[str, Any], lists: Lists | None = None) -> list[tuple[int | None, str]]:
    return [(r.person, r.rule) for r in oracle.decide(event, lists or Lists(), NOW)]


def outcome(event: dict[str, Any], lists: Lists | None = None) -> str:
    reasons = oracle.decide(event, lists or Lists(), NOW)
    return oracle.Decided(SCANS, event, b"", reasons, {False}).outcome


# --- §1 and times -----------------------------------------------------------------------------------------------


def test_a_token_is_the_first_half_of_the_hmac_of_domain_and_text() -> None:
    digest = hmac.new(b"\1" * 32, b"id\x00370115199001011234", hashlib.sha256).hexdigest()
    assert oracle.token("k1", b"\1" * 32, "id", "370115199001011234") == "k1." + digest[:32]


@pytest.mark.parametrize(
    ("text", "normal"),
    [("鲁a·１２３４５", "鲁A12345"), (" jn-12_3/4'\u200b", "JN1234"), ("a\u2014b\u2212c\u30fbd．e", "ABCDE")],
)
def test_normalising_removes_spaces_dashes_dots_and_marks(text: str, normal: str) -> None:
    assert oracle.normalise(text) == normal


@pytest.mark.parametrize("text", [AT, "2026-11-24T08:00:00+08:00", "2026-11-23T18:30:00.000-05:30"])
def test_times_with_different_offsets_are_the_same_instant(text: str) -> None:
    assert oracle.instant(text) == NOW


@pytest.mark.parametrize("text", ["2026-11-24", "2026-11-24T00:00:00", "2026-02-30T00:00:00Z", "x", AT + "\n"])
def test_a_text_that_is_not_rfc_3339_with_an_offset_is_no_time(text: str) -> None:
    assert oracle.instant(text) is None


# --- §3 ---------------------------------------------------------------------------------------------------------


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


# --- §4 ---------------------------------------------------------------------------------------------------------


def faults(value: Any, topic: str = SCANS, ms: int = NOW_MS) -> tuple[set[str], set[str | None]]:
    found = oracle.read(record(value, topic, ms=ms))
    return (set(found.reasons), set(found.paths)) if isinstance(found, Fault) else (set(), set())


GOOD = json.dumps(scan()).encode()


@pytest.mark.parametrize("value", [b"", b" ", b"{", GOOD[:-1], GOOD + b"x", b"\xff", GOOD.replace(b"36.5", b"NaN")])
def test_a_value_that_is_not_json_is_dead_lettered_as_not_json(value: bytes) -> None:
    assert faults(value) == ({"not_json"}, {None, ""})


def test_too_large_has_priority_and_one_mib_is_allowed() -> None:
    assert faults(b"x" * (MIB + 1)) == ({"too_large"}, {None, ""})
    assert faults(GOOD + b" " * (MIB - len(GOOD))) == (set(), set())


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ([], ""),
        (scan(seq=-1), "/seq"),
        (scan(device_id="d12345678901"), "/device_id"),
        (scan(people=[]), "/people"),
        (scan(*[person()] * 81), "/people"),
        (scan(person(), person(temperature_c="37")), "/people/1/temperature_c"),
        (scan(person(tokens={"id": ID.upper()})), "/people/0/tokens/id"),
        (scan(person(quality=["empty", "x"])), "/people/0/quality/1"),
        (scan(person(face="x")), "/people/0"),
        (scan(person(tokens={"face": ID})), "/people/0/tokens"),
        (scan(observed_at="2026-11-24T00:00:00"), "/observed_at"),
        (scan(direction=None), "/direction"),
    ],
)
def test_a_fault_has_the_path_of_its_field(event: Any, path: str) -> None:
    reasons, paths = faults(event)
    assert reasons == {"schema_invalid"}
    assert paths - {None} == {path}


def test_a_missing_field_is_at_the_field_or_at_its_object() -> None:
    lacking = scan()
    del lacking["people"][0]["temperature_c"]
    assert faults(lacking) == ({"schema_invalid"}, {"/people/0", "/people/0/temperature_c"})


def test_eighty_people_a_repeated_key_and_defaults_are_valid() -> None:
    assert faults(scan(*[person()] * 80)) == (set(), set())
    assert faults(GOOD.replace(b'"seq": 0', b'"seq": 0, "seq": 0')) == (set(), set())
    assert faults(arrival(), ARRIVALS) == (set(), set())


@pytest.mark.parametrize(
    ("seconds", "bad"), [(600, False), (601, True), (-13 * 86400, False), (-13 * 86400 - 1, True), (-599, False)]
)
def test_a_time_outside_the_clock_bounds_is_out_of_range(seconds: int, bad: bool) -> None:
    expected = ({"clock_out_of_range"}, {"/observed_at"}) if bad else (set(), set())
    assert faults(scan(), ms=NOW_MS - seconds * 1000) == expected


def test_deep_nesting_and_huge_integers_may_be_either() -> None:
    assert faults(b"[" * 100_000)[0] == {"not_json", "schema_invalid"}
    assert faults(scan(device_id=10**400))[0] == {"not_json", "schema_invalid"}


def test_late_means_more_than_ten_minutes() -> None:
    for ms, late in ((NOW_MS + 600_000, False), (NOW_MS + 600_001, True)):
        (decided,) = oracle.expect([record(scan(), ms=ms)]).events.values()
        assert decided.late == {late}


# --- §5 ---------------------------------------------------------------------------------------------------------


def receipt_of(lists: Lists, batch_id: str, authority: str = "cdc") -> dict[str, Any]:
    receipt = lists.batches[authority, batch_id].receipt
    assert receipt is not None
    return receipt


def counts(lists: Lists, batch_id: str) -> tuple[int, int, int]:
    receipt = receipt_of(lists, batch_id)
    return receipt["accepted"], receipt["duplicate"], receipt["rejected"]


def test_the_same_line_again_is_a_duplicate_and_keeps_its_entry() -> None:
    lists = listed(batch(entry_line()), batch(entry_line(7), batch_id="b2", sequence=2))
    assert counts(lists, "b2") == (0, 1, 0)
    assert [e.entry_id for e in lists.all()] == ["b1:1"]


def test_another_window_or_more_tokens_replace_all_entries_that_match() -> None:
    both = {"id": [ID], "passport": [PASSPORT]}
    lists = listed(
        batch(entry_line(1), entry_line(2, tokens={"passport": [PASSPORT]})),
        batch(entry_line(3, tokens=both), batch_id="b2", sequence=2),
    )
    assert counts(lists, "b2") == (1, 0, 0)
    [entry] = lists.all()
    assert (entry.entry_id, entry.batch_id, entry.ids) == ("b1:1", "b2", {"b1:1", "b1:2"})


def test_a_phone_matches_only_where_neither_side_has_a_document() -> None:
    phone = entry_line(1, tokens={"phone": [PHONE]})
    lists = listed(batch(phone, entry_line(2, tokens={"id": [ID], "phone": [PHONE]}), phone | {"line": 3}))
    assert counts(lists, "b1") == (2, 1, 0)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ({"tokens": {}}, "no_token"),
        ({"tokens": {"id": []}}, "no_token"),
        ({"tokens": {"id": [ID, "x"]}, "valid_to": None}, "bad_token"),
        ({"valid_to": None}, "no_window"),
        ({"valid_from": "2026-11-30T00:00:00Z"}, "bad_window"),
        ({"valid_to": AT}, "expired"),
        ({"valid_to": "2026-12-21T00:00:00Z"}, None),
        ({"valid_to": "2026-12-21T00:00:01Z"}, "term_too_long"),
        ({"valid_from": None, "valid_to": "2026-12-22T00:00:00Z"}, None),
        ({"valid_from": None, "valid_to": "2026-12-22T00:00:01Z"}, "term_too_long"),
    ],
)
def test_a_line_gets_the_first_code_that_applies(line: dict[str, Any], code: str | None) -> None:
    whole = {k: v for k, v in (entry_line() | line).items() if v is not None}
    assert oracle.line_code(whole, "confirmed_case", NOW) == code
    if code == "term_too_long":
        assert oracle.line_code(whole, "health_pass", NOW) is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"legal_basis": None}, "no_legal_basis"),
        ({"legal_basis": ""}, "no_legal_basis"),
        ({"category": "x"}, "unknown_category"),
        ({"sequence": 1}, "stale_sequence"),
        ({"sequence": NOW_MS + 86_400_001}, "sequence_ahead"),
    ],
)
def test_a_rejected_batch_changes_nothing_and_counts_nothing(fields: dict[str, Any], code: str) -> None:
    lists = listed(batch(entry_line()), batch(entry_line(2), **({"batch_id": "b2", "sequence": 2} | fields)))
    receipt = receipt_of(lists, "b2")
    assert (receipt["status"], receipt["code"], counts(lists, "b2")) == ("rejected", code, (0, 0, 0))
    assert [e.entry_id for e in lists.all()] == ["b1:1"]


def test_parts_have_one_receipt_and_a_repeated_batch_the_same() -> None:
    one = batch(entry_line(1), part=1, parts=2, declared_lines=2)
    two = batch(entry_line(2, tokens={"id": [tok("f")]}), part=2, parts=2, declared_lines=2)
    expected = oracle.expect([record(value, PUSHES, n) for n, value in enumerate((one, two, two))])
    assert len(expected.receipts) == 2
    assert expected.receipts[0] == expected.receipts[1]
    assert expected.receipts[0]["accepted"] == 2


OTHER = {"id": [tok("f")]}


def lines(count: int, days: int = 6) -> list[dict[str, Any]]:
    end = {"valid_to": f"2026-11-{24 + days}T00:00:00Z"}
    return [entry_line(n, tokens={"id": [f"k1.{n:032x}"]}, **end) for n in range(1, count + 1)]


def test_parts_come_in_any_order_and_twice_and_apply_in_their_order() -> None:
    one = batch(entry_line(1), part=1, parts=2, declared_lines=2)
    two = one | {"part": 2, "lines": [entry_line(2, valid_to="2026-11-29T00:00:00Z")]}
    lists = listed(two, two, one)
    assert counts(lists, "b1") == (1, 1, 0)
    [entry] = lists.all()
    assert entry.entry_id == "b1:1" and entry.valid_to == oracle.instant("2026-11-30T00:00:00Z")
    assert not listed(two, two).all()


def test_two_authorities_may_use_the_same_batch_id() -> None:
    lists = listed(batch(entry_line()), batch(entry_line(), authority="port"))
    assert [e.authority for e in lists.all()] == ["cdc", "port"]


def test_a_full_keeps_the_entries_that_it_names_and_removes_the_others() -> None:
    kept, changed = lines(3)[0], lines(3, days=5)[1] | {"line": 7}
    lists = listed(batch(*lines(3)), batch(kept, changed, batch_id="b2", mode="full", sequence=2))
    assert counts(lists, "b2") == (1, 1, 0)
    assert receipt_of(lists, "b2")["withdrawn"] == 1
    assert sorted(e.entry_id for e in lists.all()) == ["b1:1", "b1:2"]


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        (10, lines(5), None),
        (10, lines(4), "would_shrink"),
        (9, lines(1), None),
        (1, [], "would_empty"),
        (12, [entry_line(1, tokens={})], "would_empty"),
        (0, [], None),
    ],
)
def test_a_full_that_removes_too_many_entries_is_held(
    before: int, after: list[dict[str, Any]], code: str | None
) -> None:
    lists = listed(batch(*lines(before)), batch(*after, batch_id="b2", mode="full", sequence=2))
    assert receipt_of(lists, "b2")["code"] == code
    assert len(lists.all()) == (before if code else len(after))


def test_a_withdrawal_removes_complete_entries_and_is_never_held() -> None:
    gone = batch({"line": 1, "tokens": {"id": [ID]}}, {"line": 2, "tokens": {"id": [ID]}}, batch_id="b2", sequence=2)
    both = entry_line(tokens={"id": [ID], "phone": [PHONE]})
    lists = listed(batch(both), gone | {"mode": "withdraw", "declared_lines": 9, "withdraw_reason": "mistake"})
    receipt = receipt_of(lists, "b2")
    assert (receipt["status"], receipt["withdrawn"], receipt["rejects"]) == (
        "applied",
        1,
        [{"line": 2, "code": "not_listed"}],
    )
    assert [e.entry_id for e in lists.mistakes] == ["b1:1"] and not lists.all()


def test_only_a_second_person_confirms_and_only_until_a_higher_sequence_was_applied() -> None:
    held = batch(entry_line(), declared_lines=2, batch_id="held", sequence=2)
    word = {"confirms": "held", "authority": "cdc", "confirmed_by": "chen", "at": AT}
    later = batch(entry_line(2, tokens=OTHER), batch_id="later", sequence=3)
    lists = listed(held, word | {"confirmed_by": "li"})
    assert receipt_of(lists, "held")["code"] == "count_mismatch" and not lists.all()
    lists = listed(held, word)
    assert receipt_of(lists, "held") == receipt_of(lists, "held") | {"status": "applied", "confirmed": True}
    assert [row[:2] for row in lists.audit] == [("li", "push"), ("chen", "confirm")]
    assert [e.batch_id for e in listed(held, later, word).all()] == ["later"]
    assert "not_held" in lists.confirm(record(b"", PUSHES), word)["confirmation"]


def test_lines_of_one_person_are_joined_and_a_gap_is_not_bridged() -> None:
    early = entry_line(1, valid_to="2026-11-25T00:00:00Z")
    late = entry_line(2, valid_from="2026-11-26T00:00:00Z")
    lists = listed(batch(early, late))
    assert counts(lists, "b1") == (1, 0, 1) and receipt_of(lists, "b1")["rejects"] == [
        {"line": 2, "code": "bad_window"}
    ]
    between = entry_line(3, valid_from="2026-11-24T12:00:00Z", valid_to="2026-11-26T00:00:00Z")
    lists = listed(batch(early, late, between))
    [entry] = lists.all()
    assert counts(lists, "b1") == (1, 2, 0)
    assert (entry.valid_from, entry.valid_to) == (
        oracle.instant("2026-11-23T00:00:00Z"),
        oracle.instant("2026-11-30T00:00:00Z"),
    )


def test_a_renewal_without_a_start_still_matches_what_was_observed_before_it() -> None:
    free = {"valid_from": None}
    lists = listed(
        batch(entry_line(**free)), batch(entry_line(valid_to="2026-12-01T00:00:00Z", **free), batch_id="b2", sequence=2)
    )
    assert rules(scan(observed_at="2026-11-23T00:00:00Z"), lists) == [(0, "confirmed_case")]


def test_a_batch_under_keys_of_no_other_list_is_held() -> None:
    strange = entry_line(tokens={"id": ["k9" + ID[ID.index(".") :]]})
    lists = listed(
        batch(entry_line()), batch(strange, list="l2", batch_id="b2"), batch(strange, batch_id="b3", sequence=3)
    )
    assert (receipt_of(lists, "b2")["code"], receipt_of(lists, "b3")["code"]) == ("unknown_key_ids", None)


def test_a_batch_whose_last_part_comes_after_a_day_is_incomplete() -> None:
    one = batch(entry_line(1), part=1, parts=2, declared_lines=2)
    two = one | {"part": 2, "lines": [entry_line(2, tokens=OTHER)]}
    for ms, code in ((86_400_000, None), (86_400_001, "incomplete")):
        sent = [record(one, PUSHES), record(two, PUSHES, 1, NOW_MS + ms)]
        assert receipt_of(oracle.expect(sent).lists, "b1")["code"] == code


def test_an_expired_entry_is_not_on_the_list() -> None:
    brief = batch(entry_line(valid_to="2026-11-24T00:01:00Z"))
    again = batch({"line": 1, "tokens": {"id": [ID]}}, batch_id="b2", sequence=2, mode="withdraw")
    sent = [record(brief, PUSHES), record(again, PUSHES, 1, NOW_MS + 60_000)]
    assert receipt_of(oracle.expect(sent).lists, "b2")["rejects"] == [{"line": 1, "code": "not_listed"}]


# --- §6 ---------------------------------------------------------------------------------------------------------


def test_views_count_a_passage_once_and_a_person_once_a_rule() -> None:
    car = scan(person(temperature_confirmed_c=38), person(tokens={}), person(tokens={}), observed_at=AT)
    walk = scan(seq=1, kind="pedestrian", direction="out", observed_at="2026-11-23T15:59:59.999Z")
    train = arrival(person(tokens={}))
    sent = [record(car), record(car, offset=1), record(walk, offset=2), record(train, ARRIVALS)]
    events = oracle.expect(sent).events.values()
    seconds = NOW // SECOND
    assert oracle.screening_by_minute(events) == {
        (seconds, "cp1"): (1, 3, 0, 1, 0, 0, 0, 1),
        (seconds - 8 * 3600 - 60, "cp1"): (1, 1, 1, 0, 0, 0, 0, 0),
    }
    # Local days: 15:59:59.999Z is still the 23rd in Shanghai, midnight UTC already 08:00 of the 24th.
    assert oracle.screening_by_day(events) == {
        ("2026-11-24", "cp1", "vehicle", "in"): (1, 3, 0, 1, 0, 0, 0, 1),
        ("2026-11-23", "cp1", "pedestrian", "out"): (1, 1, 1, 0, 0, 0, 0, 0),
    }
    assert oracle.reasons_by_day(events) == {
        ("2026-11-24", "cp1", "fever"): 1,
        ("2026-11-24", "cp1", "no_identity"): 2,
        ("2026-11-24", "st1", "no_identity"): 1,
    }
    assert oracle.arrivals_by_day(events) == {("2026-11-24", "st1", "rail", "boarded"): 1}


def test_one_event_id_with_two_contents_is_undefined() -> None:
    with pytest.raises(Ambiguous):
        oracle.expect([record(scan()), record(scan(kind="pedestrian"), offset=1)])


def test_push_batches_and_dead_letters_are_counted() -> None:
    lists = listed(batch(entry_line(), entry_line(2, tokens={})))
    assert oracle.push_batches(lists) == {
        ("b1", "cdc"): ("l1", "confirmed_case", "delta", "applied", "", 2, 1, 0, 1, 0, NOW // SECOND)
    }
    letters = [(NOW + MINUTE, SCANS, "not_json"), (NOW + 2 * MINUTE, SCANS, "not_json")]
    assert oracle.dead_letters_by_hour(letters) == {(NOW // SECOND, SCANS, "not_json"): 2}


def test_reasons_without_a_list_have_no_entries() -> None:
    assert oracle.decide(scan(person(tokens={})), Lists(), NOW) == (Reason(0, "no_identity", "hold"),)


# --- the client sends nothing that is undefined ----------------------------------------------------------------------


@pytest.mark.parametrize("topic", [SCANS, ARRIVALS])
def test_every_malformed_record_of_the_client_has_a_fault(topic: str) -> None:
    make = scan if topic == SCANS else arrival
    for value in client.garbage(topic, lambda: json.loads(json.dumps(make())), random.Random(1)):
        assert isinstance(oracle.read(record(value, topic)), Fault), value[:300]


@pytest.mark.parametrize("seed", range(3))
def test_the_client_sends_only_what_the_contract_defines(seed: int) -> None:
    rng = random.Random(seed)
    base = int(time.time()) * SECOND
    crowd = client.Crowd.born(rng)
    authorities = client.Authorities(rng, "t1", crowd, base)
    sent = [record(value, PUSHES, n, base // 1000 + n) for n, (_, value) in enumerate(authorities.pushes())]
    devices = client.Devices(rng, "t1", crowd, base, authorities.good)
    ms = int(time.time() * 1000)
    for offset, (topic, site, value) in enumerate(devices.records(1500)):
        sent.append(Record(topic, 0, offset, ms + 500, site.encode(), value))
    expected = oracle.expect(sent)
    ruled = {reason.rule for event in expected.events.values() for reason in event.reasons}
    assert ruled >= {*oracle.FIVE, "weak_match", "unknown_key", "no_identity", "no_temperature", "fever"}
    assert ruled >= {"temperature_implausible", "fever_unconfirmed", "health_code_red", "health_code_yellow"}
    assert ruled >= {"outside_province_without_pass", "outside_district_without_pass"}
    assert {event.outcome for event in expected.events.values()} == set(oracle.SEVERITY)
    codes = {reject["code"] for receipt in expected.receipts for reject in receipt["rejects"]}
    assert codes == {"no_token", "bad_token", "no_window", "bad_window", "expired", "term_too_long"}
    reasons = {reason for dead in expected.dead.values() for reason in dead.fault.reasons}
    assert reasons == {"not_json", "schema_invalid", "too_large", "clock_out_of_range"}
