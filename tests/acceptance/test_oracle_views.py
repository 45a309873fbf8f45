"""The oracle's rows of views (§6) against cases computed by hand from the contract."""

from __future__ import annotations

import pytest

from . import oracle
from .examples import (
    AT,
    NOW,
    arrival,
    batch,
    entry_line,
    listed,
    person,
    record,
    scan,
)
from .oracle import ARRIVALS, MINUTE, SCANS, SECOND, Ambiguous, Lists, Reason


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
