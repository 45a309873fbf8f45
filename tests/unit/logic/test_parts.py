"""Parts make one batch in any order of arrival, and parts of different batches are never mixed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninezero.agents.logic.pushes.parts import PartError, Parts
from ninezero.schemas.events import PushBatch, PushLine, PushTokens

NOW = datetime(2026, 1, 10, tzinfo=UTC)


def part(number: int, parts: int, *lines: int, **given: Any) -> PushBatch:
    fields: dict[str, Any] = {
        "batch_id": "b", "authority": "a", "pushed_by": "p", "list": "l", "category": "close_contact", "mode": "delta",
        "sequence": 1, "issued_at": NOW, "purpose": "epidemic_control", "declared_lines": 0, "legal_basis": "o",
    }  # fmt: skip
    push_lines = [PushLine(line, PushTokens()) for line in lines]
    return PushBatch(**{**fields, **given}, part=number, parts=parts, lines=push_lines)


@given(st.permutations(range(1, 6)), st.lists(st.integers(1, 5), max_size=5))
def test_a_batch_is_complete_when_every_part_has_arrived_in_any_order(order: list[int], again: list[int]) -> None:
    parts, seen = Parts(), set[int]()
    for offset, number in enumerate([*again, *order]):
        found = parts.add(part(number, 5, number * 10, number * 10 + 1), offset, offset)
        seen.add(number)
        assert found.complete == (len(seen) == 5)
    assert len(found.lines) == 10 and found.kafka_ms == len(again) + 4
    assert found.offsets == {n: len(again) + order.index(n) for n in range(1, 6)}, "the last record of each part counts"


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"list": "m"}, "/list"),
        ({"sequence": 2}, "/sequence"),
        ({"mode": "full"}, "/mode"),
        ({"declared_lines": 9}, "/declared_lines"),
        ({"issued_at": NOW - timedelta(seconds=1)}, "/issued_at"),
    ],
)
def test_a_part_that_does_not_agree_is_rejected_with_the_field_that_differs(given: dict[str, Any], path: str) -> None:
    parts = Parts()
    parts.add(part(1, 2, 1), 0, 0)
    with pytest.raises(PartError) as rejected:
        parts.add(part(2, 2, 2, **given), 1, 1)
    assert rejected.value.path == path
    assert parts.add(part(2, 2, 2), 2, 2).complete


def test_a_line_number_occurs_once_in_all_parts() -> None:
    parts = Parts()
    parts.add(part(1, 2, 1, 2), 0, 0)
    for lines, path in (((3, 3), "/lines/1/line"), ((5, 2), "/lines/1/line")):
        with pytest.raises(PartError) as rejected:
            parts.add(part(2, 2, *lines), 1, 1)
        assert rejected.value.path == path
    assert parts.add(part(2, 2, 3), 2, 2).complete


def test_a_later_attempt_discards_the_parts_of_the_earlier_one() -> None:
    parts = Parts()
    parts.add(part(1, 2, 1), 0, 0)
    later = NOW + timedelta(seconds=1)
    assert not parts.add(part(2, 2, 2, issued_at=later), 1, 1).complete
    found = parts.add(part(1, 2, 1, issued_at=later), 2, 2)
    assert found.complete and found.offsets == {1: 2, 2: 1}


def test_two_authorities_may_use_the_same_id() -> None:
    parts = Parts()
    parts.add(part(1, 2, 1), 0, 0)
    assert not parts.add(part(2, 2, 1, authority="other"), 1, 1).complete
    assert parts.add(part(2, 2, 2), 2, 2).complete


def test_a_batch_that_is_not_complete_after_a_day_has_expired() -> None:
    parts, day = Parts(), 86_400_000
    parts.add(part(1, 2, 1), 0, 1000)
    assert not parts.expired(1000 + day) and len(parts.expired(1001 + day)) == 1
    assert not parts.add(part(2, 2, 2), 1, 1000 + day).has_expired(1000 + day)
    assert not parts.expired(10 * day), "it is complete"
    assert parts.add(part(2, 2, 2), 2, 1001 + day).has_expired(1001 + day)


def test_a_new_attempt_has_a_day_of_its_own() -> None:
    parts, day = Parts(), 86_400_000
    parts.add(part(1, 2, 1), 0, 0)
    assert not parts.add(part(1, 2, 1, issued_at=NOW + timedelta(days=2)), 1, 2 * day).has_expired(2 * day)
