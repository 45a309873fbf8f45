"""A push batch gets the right status, and each of its lines the right result."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from ninezero.agents.logic.pushes.batches import BatchChange
from ninezero.agents.logic.watchlist.entries import Entry
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import PushBatch, Reject
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
    if change.status == "applied":
        name = (pushed.authority, pushed.list)
        put = [msgspec.structs.replace(entry, sequence=pushed.sequence) for entry in change.put.values()]
        watchlist.apply(name, put, change.remove)
        if pushed.mode == "full":
            watchlist.switch(name, pushed.sequence)
    return change


def listed(watchlist: WatchlistIndex) -> list[str]:
    return sorted(entry.entry_id for entry in watchlist.entries(("a", "l")))


def test_lines_are_accepted_and_the_same_lines_again_are_duplicates_that_keep_their_entry() -> None:
    watchlist = WatchlistIndex()
    assert apply(watchlist, batch(line(1, id=[t(1)]), line(2, phone=[t(2)]))).accepted == 2
    again = apply(watchlist, batch(line(7, id=[t(1)]), line(8, phone=[t(2)]), sequence=2))
    assert (again.accepted, again.duplicate, listed(watchlist)) == (0, 2, ["b1:1", "b1:2"])


def only(watchlist: WatchlistIndex) -> Entry:
    [entry] = watchlist.entries(("a", "l"))
    return entry


@pytest.mark.parametrize("mode", ["delta", "full"])
def test_a_renewal_keeps_the_id_of_its_entry_and_names_its_own_batch(mode: str) -> None:
    watchlist = WatchlistIndex()
    apply(watchlist, batch(line(1, id=[t(1)])))
    for sequence in (2, 3):
        renewal = batch(line(5, (-1, 5 + sequence), id=[t(1)]), sequence=sequence, mode=mode)
        change = apply(watchlist, renewal)
        assert (change.accepted, change.remove, change.merged) == (1, {}, {})
        entry = only(watchlist)
        assert (entry.entry_id, entry.batch_id, entry.first_sequence) == ("b1:1", f"b{sequence}", 1)
        assert (entry.sequence, entry.to_us) == (sequence, unix_micros(NOW + timedelta(5 + sequence)))


def test_a_full_that_repeats_an_entry_changes_neither_its_id_nor_its_batch() -> None:
    watchlist = WatchlistIndex()
    apply(watchlist, batch(line(1, id=[t(1)])))
    assert apply(watchlist, batch(line(4, id=[t(1)]), sequence=2, mode="full")).duplicate == 1
    entry = only(watchlist)
    assert (entry.entry_id, entry.batch_id, entry.first_sequence, entry.sequence) == ("b1:1", "b1", 1, 2)


@pytest.mark.parametrize("mode", ["delta", "full"])
def test_of_several_entries_that_become_one_the_senior_keeps_its_id(mode: str) -> None:
    watchlist = WatchlistIndex()
    apply(watchlist, batch(line(9, id=[t(1)])))
    apply(watchlist, batch(line(3, passport=[t(2)]), line(2, **{"pass": [t(3)]}), sequence=2))
    one = line(1, id=[t(1)], passport=[t(2)], **{"pass": [t(3)]})
    change = apply(watchlist, batch(one, sequence=3, mode=mode))
    assert (change.accepted, change.withdrawn, change.leaving) == (1, 0, 0)
    assert (change.merged, sorted(change.remove)) == ({"b2:2": "b1:9", "b2:3": "b1:9"}, ["b2:2", "b2:3"])
    assert listed(watchlist) == ["b1:9"]


def test_of_entries_of_one_batch_the_one_with_the_lowest_line_keeps_its_id() -> None:
    watchlist = WatchlistIndex()
    apply(watchlist, batch(line(10, id=[t(1)]), line(9, passport=[t(2)])))
    assert apply(watchlist, batch(line(1, id=[t(1)], passport=[t(2)]), sequence=2)).merged == {"b1:10": "b1:9"}


def test_a_batch_id_that_is_used_again_takes_no_entry_of_the_earlier_batch() -> None:
    watchlist = WatchlistIndex()
    apply(watchlist, batch(line(1, id=[t(1)]), line(2, id=[t(2)])))
    change = apply(watchlist, batch(line(1, id=[t(3)]), line(2, id=[t(4)]), sequence=2, batch_id="b1"))
    assert (change.accepted, len(listed(watchlist))) == (2, 4)
    assert all(watchlist.find("id", t(n)) for n in (1, 2, 3, 4))


def test_without_a_start_an_entry_holds_whenever_and_its_term_counts_from_now() -> None:
    watchlist = WatchlistIndex()
    free = [line(n, (0, days), id=[t(n)]) | {"valid_from": None} for n, days in ((1, 28), (2, 29))]
    change = apply(watchlist, batch(*free))
    assert [(r.line, r.code) for r in change.rejects] == [(2, "term_too_long")]
    assert [e.entry_id for e in watchlist.find_valid("id", t(1), 0)] == ["b1:1"]
    again = apply(watchlist, batch(free[0], sequence=2))
    assert (again.duplicate, again.put) == (1, {})


def test_a_renewal_without_a_start_matches_what_was_observed_before_it() -> None:
    watchlist = WatchlistIndex()
    apply(watchlist, batch(line(1, (0, 5), id=[t(1)]) | {"valid_from": None}))
    apply(watchlist, batch(line(1, (0, 9), id=[t(1)], phone=[t(2)]) | {"valid_from": None}, sequence=2))
    assert watchlist.find_valid("id", t(1), unix_micros(NOW - timedelta(seconds=1)))


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
    ("no_window", line(1, id=[t(1)]) | {"valid_from": None, "valid_to": None}),
    ("expired", line(1, (-5, 0), id=[t(1)]) | {"valid_from": None}),
    ("term_too_long", line(1, (0, 29), id=[t(1)]) | {"valid_from": None}),
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
        (
            {"sequence": int(NOW.timestamp() * 1000) + 86_400_001, "batch_id": "ahead"},
            None,
            ("rejected", "sequence_ahead"),
        ),
    ],
)
def test_a_batch_that_is_not_applied_changes_nothing_and_counts_nothing(
    given: dict[str, Any], last: int | None, expected: tuple[str, str]
) -> None:
    watchlist = WatchlistIndex()
    change = apply(watchlist, batch(line(1, id=[t(1)]), **given), last)
    assert (change.status, change.code) == expected
    assert not listed(watchlist) and change.accepted == change.duplicate == len(change.rejects) == 0


def test_a_sequence_that_is_a_day_ahead_is_applied() -> None:
    ahead = int(NOW.timestamp() * 1000) + 86_400_000
    assert apply(WatchlistIndex(), batch(line(1, id=[t(1)]), sequence=ahead, batch_id="ahead")).status == "applied"


def full_that_keeps(kept: int, of: int, **given: Any) -> tuple[WatchlistIndex, BatchChange]:
    """Lists `of` people, then pushes a full list of the first `kept` of them."""
    watchlist = WatchlistIndex()
    lines = [line(n, id=[t(n)]) for n in range(of)]
    apply(watchlist, batch(*lines))
    return watchlist, apply(watchlist, batch(*lines[:kept], sequence=2, mode="full", **given))


@pytest.mark.parametrize(
    ("kept", "of", "code"),
    [
        (4, 9, None), (1, 9, None), (5, 10, None), (4, 10, "would_shrink"), (0, 5, "would_empty"), (0, 20, "would_empty"),
        (4003, 5004, "would_shrink"), (4004, 5005, None), (2400, 4000, "would_shrink"),
        (1500, 2500, None),
    ],
)  # fmt: skip
def test_a_full_that_removes_a_large_part_is_held_and_states_how_many_would_leave(
    kept: int, of: int, code: str | None
) -> None:
    watchlist, change = full_that_keeps(kept, of)
    if code is None:
        assert (change.status, change.withdrawn, watchlist.size(("a", "l"))) == ("applied", of - kept, kept)
    else:
        assert (change.status, change.code, change.withdrawn) == ("held", code, 0)
        assert watchlist.size(("a", "l")) == of
    assert (change.leaving, change.listed) == (of - kept, of)


def test_a_full_with_another_number_of_lines_states_how_many_would_leave_too() -> None:
    _, change = full_that_keeps(4, 20, declared_lines=20)
    assert (change.status, change.code, change.leaving, change.listed) == ("held", "count_mismatch", 16, 20)


@pytest.mark.parametrize("mode", ["delta", "full"])
def test_a_batch_whose_keys_are_on_no_other_list_is_held(mode: str) -> None:
    watchlist = WatchlistIndex()
    other = {"id": [f"k9.{1:032x}", f"k8.{1:032x}"]}
    assert apply(watchlist, batch(line(1, **other), mode=mode)).status == "applied"  # there is no other list
    change = apply(watchlist, batch(line(1, id=[t(1)]), mode=mode, list="second"))
    assert (change.status, change.code, change.accepted) == ("held", "unknown_key_ids", 0)
    both = batch(line(1, id=[t(1)]), line(2, id=[t(2), f"k8.{2:032x}"]), mode=mode, list="second")
    assert apply(watchlist, both).status == "applied"
    assert apply(watchlist, batch(line(1, phone=[t(1)]), mode=mode, list="third")).status == "applied"
    confirmed = decide_batch(batch(line(1, id=[f"k7.{1:032x}"])), unix_micros(NOW), watchlist, None, confirmed=True)
    assert confirmed.status == "applied"
    withdrawal = batch(line(1, id=[f"k7.{1:032x}"]), mode="withdraw", withdraw_reason="cleared", list="third")
    assert apply(watchlist, withdrawal).rejects == [Reject(1, "not_listed")]
    assert (
        apply(watchlist, batch(list="fourth", mode=mode)).status == "applied"
    )  # without tokens there is nothing to compare


def test_an_emptied_list_counts_no_keys() -> None:
    watchlist = WatchlistIndex()
    apply(watchlist, batch(line(1, id=[f"k9.{1:032x}"])))
    apply(watchlist, batch(line(1, id=[f"k9.{1:032x}"]), mode="withdraw", withdraw_reason="cleared", sequence=2))
    assert apply(watchlist, batch(line(1, id=[t(1)]), list="second")).status == "applied"
