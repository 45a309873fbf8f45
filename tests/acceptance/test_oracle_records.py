"""The oracle's tokens, times and faults of records (§1, §4), and the garbage of the client, against cases computed by hand."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import time
from typing import Any

import pytest

from . import oracle
from .authorities import Authorities, Crowd
from .devices import Devices
from .examples import (
    AT,
    ID,
    NOW,
    NOW_MS,
    arrival,
    person,
    record,
    scan,
)
from .garbage import garbage
from .oracle import ARRIVALS, MIB, PUSHES, SCANS, SECOND, Fault, Record


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


@pytest.mark.parametrize("topic", [SCANS, ARRIVALS])
def test_every_malformed_record_of_the_client_has_a_fault(topic: str) -> None:
    make = scan if topic == SCANS else arrival
    for value in garbage(topic, lambda: json.loads(json.dumps(make())), random.Random(1)):
        assert isinstance(oracle.read(record(value, topic)), Fault), value[:300]


@pytest.mark.parametrize("seed", range(3))
def test_the_client_sends_only_what_the_contract_defines(seed: int) -> None:
    rng = random.Random(seed)
    base = int(time.time()) * SECOND
    crowd = Crowd.born(rng)
    authorities = Authorities(rng, "t1", crowd, base)
    sent = [record(value, PUSHES, n, base // 1000 + n) for n, (_, value) in enumerate(authorities.pushes())]
    devices = Devices(rng, "t1", crowd, base, authorities.good)
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
