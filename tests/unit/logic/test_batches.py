"""A push batch gets the right status, and each of its lines the right result."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from ninezero.agents.logic.pushes.batches import BatchChange
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import PushBatch
from ninezero.schemas.times import unix_micros
from tests.support import decide_batch

NOW = datetime(2026, 1, 10, tzinfo=UTC)


def t(n: int) -> str:
    return f"k1.{n:032x}"


def line(n: int, days: tuple[int, int] = (-1, 5), **tokens: Any) -> dict[str, Any]:
    return {"line": n, "tokens": tokens, "valid_from": NOW + timedelta(days[0]), "valid_to": NOW + timedelta(days[1])}


def batch(*lines: dict[str, Any], sequence: int = 1, **given: Any) -> PushBatch:
    record = {"batch_id": f"b{sequence}", "authority": "a", "pushed_by": "p", "list": "l", "category": "close_contact", "mode": "delta",
              "sequence": sequence, "issued_at": NOW, "legal_basis": "lb", "purpose": "epidemic_control", "declared_lines": len(lines),
              "lines": list(lines)}  # fmt: skip
    return msgspec.convert(record | given, PushBatch, strict=False)


def apply(watchlist: WatchlistIndex, pushed: PushBatch, last: int | None = None) -> BatchChange:
    change = decide_batch(pushed, unix_micros(NOW), watchlist, last)
    watchlist.apply(("a", "l"), change.put.values(), change.remove)
    return change


def listed(watchlist: WatchlistIndex) -> list[str]:
    return sorted(entry.entry_id for entry in watchlist.entries(("a", "l")))


def test_lines_are_accepted_and_the_same_lines_again_are_duplicates_that_keep_their_entry() -> None:
    watchlist = WatchlistIndex()
    assert apply(watchlist, batch(line(1, id=[t(1)]), line(2, phone=[t(2)]))).accepted == 2
    again = apply(watchlist, batch(line(7, id=[t(1)]), line(8, phone=[t(2)]), sequence=2))
    assert (again.accepted, again.duplicate, listed(watchlist)) == (0, 2, ["b1:1", "b1:2"])


def test_another_window_replaces_the_entry() -> None:
    watchlist = WatchlistIndex()
    apply(watchlist, batch(line(1, id=[t(1)])))
    assert apply(watchlist, batch(line(1, (-1, 9), id=[t(1)]), sequence=2)).accepted == 1
    assert listed(watchlist) == ["b2:1"]


def test_a_line_replaces_every_entry_that_it_matches_also_within_one_batch() -> None:
    watchlist = WatchlistIndex()
    apply(watchlist, batch(line(1, id=[t(1)]), line(2, passport=[t(2)])))
    change = apply(watchlist, batch(line(1, id=[t(1)], passport=[t(2)]), line(2, (-1, 9), id=[t(1)]), sequence=2))
    assert (change.accepted, listed(watchlist)) == (2, ["b2:2"])


def test_a_phone_matches_only_where_neither_side_has_a_document() -> None:
    watchlist = WatchlistIndex()
    apply(watchlist, batch(line(1, id=[t(1)], phone=[t(5)])))
    apply(watchlist, batch(line(1, phone=[t(5)]), sequence=2))
    assert watchlist.size(("a", "l")) == 2


CODES = [
    ("no_token", line(1)),
    ("no_token", line(1, id=[])),
    ("bad_token", line(1, id=["370115199001011234"])),
    ("no_window", line(1, id=[t(1)]) | {"valid_to": None}),
    ("bad_window", line(1, (5, 5), id=[t(1)])),
    ("expired", line(1, (-5, 0), id=[t(1)])),
    ("term_too_long", line(1, (0, 29), id=[t(1)])),
    ("no_token", line(1) | {"valid_from": None}),
]


@pytest.mark.parametrize(("code", "bad"), CODES)
def test_a_bad_line_is_rejected_with_its_code_and_the_others_are_accepted(code: str, bad: dict[str, Any]) -> None:
    change = apply(WatchlistIndex(), batch(bad, line(2, id=[t(9)])))
    assert [(r.line, r.code) for r in change.rejects] == [(1, code)]
    assert change.accepted == 1


def test_a_health_pass_may_have_a_longer_window() -> None:
    assert apply(WatchlistIndex(), batch(line(1, (0, 90), **{"pass": [t(1)]}), category="health_pass")).accepted == 1


@pytest.mark.parametrize(
    ("given", "last", "expected"),
    [
        ({"legal_basis": None}, None, ("rejected", "no_legal_basis")),
        ({"legal_basis": ""}, None, ("rejected", "no_legal_basis")),
        ({"category": "criminal_record"}, None, ("rejected", "unknown_category")),
        ({}, 1, ("rejected", "stale_sequence")),
        ({"declared_lines": 5}, None, ("held", "count_mismatch")),
    ],
)
def test_a_batch_that_is_not_applied_changes_nothing_and_counts_nothing(
    given: dict[str, Any], last: int | None, expected: tuple[str, str]
) -> None:
    watchlist = WatchlistIndex()
    change = apply(watchlist, batch(line(1, id=[t(1)]), **given), last)
    assert (change.status, change.code) == expected
    assert not listed(watchlist) and change.accepted == change.duplicate == len(change.rejects) == 0
