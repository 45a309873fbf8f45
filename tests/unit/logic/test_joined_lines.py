"""Lines of one batch that are the same entry are joined, and what cannot be joined is refused."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from ninezero.agents.logic.pushes.batches import BatchChange
from ninezero.agents.logic.watchlist.entries import Entry
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.times import NO_START_US, unix_micros
from tests.unit.logic.test_batches import NOW, apply, batch, line, t

Window = tuple[int | None, int]
"""Days before or after now."""


def joined(*lines: tuple[Window, dict[str, list[str]]], **given: Any) -> tuple[BatchChange, list[Entry]]:
    """Pushes lines, numbered from 1, and returns the change and the entries."""
    records = [
        line(n, (window[0] or 0, window[1]), **tokens) | ({"valid_from": None} if window[0] is None else {})
        for n, (window, tokens) in enumerate(lines, 1)
    ]
    watchlist = WatchlistIndex()
    change = apply(watchlist, batch(*records, **given))
    return change, sorted(watchlist.entries(("a", "l")), key=lambda entry: entry.entry_id)


def windows(entries: list[Entry]) -> list[Window]:
    """Returns the windows in days."""
    now, day = unix_micros(NOW), 86_400_000_000
    return [(None if e.from_us == NO_START_US else (e.from_us - now) // day, (e.to_us - now) // day) for e in entries]


ID, OTHER, PASSPORT = {"id": [t(1)]}, {"id": [t(2)]}, {"passport": [t(3)]}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([(-1, 15), (-1, 10)], (-1, 15)),  # the later line ends sooner
        ([(-1, 10), (-1, 15)], (-1, 15)),
        ([(2, 5), (-3, 3)], (-3, 5)),
        ([(-3, 3), (3, 5)], (-3, 5)),  # they touch
        ([(None, 3), (2, 5)], (None, 5)),
        ([(-2, 5), (None, 3)], (None, 5)),
        ([(-1, 5), (-1, 5), (-1, 5)], (-1, 5)),
        ([(1, 3), (7, 9), (2, 8)], (1, 9)),  # a later line fills the gap
    ],
)
def test_lines_of_one_person_become_one_entry_with_the_whole_window(given: list[Window], wanted: Window) -> None:
    change, entries = joined(*((window, ID) for window in given))
    assert (change.accepted, change.duplicate, change.rejected) == (1, len(given) - 1, 0)
    assert [entry.entry_id for entry in entries] == ["b1:1"] and windows(entries) == [wanted]


@pytest.mark.parametrize(
    ("given", "wanted", "refused"),
    [
        ([(1, 3), (5, 7)], (1, 3), {2: "bad_window"}),
        ([(5, 7), (1, 3)], (5, 7), {2: "bad_window"}),
        ([(1, 3), (5, 7), (6, 9)], (1, 3), {2: "bad_window", 3: "bad_window"}),
        ([(None, 3), (5, 7)], (None, 3), {2: "bad_window"}),
        ([(-20, 5), (-5, 20)], (-20, 5), {2: "term_too_long"}),
        ([(-20, 5), (-5, 20), (1, 8)], (-20, 8), {2: "term_too_long"}),
        ([(None, 20), (10, 30)], (None, 20), {2: "term_too_long"}),
        ([(10, 30), (None, 20)], (10, 30), {2: "term_too_long"}),
    ],
)
def test_a_line_that_cannot_be_joined_is_refused_and_the_earlier_one_stands(
    given: list[Window], wanted: Window, refused: dict[int, str]
) -> None:
    change, entries = joined(*((window, ID) for window in given))
    assert {reject.line: reject.code for reject in change.rejects} == refused
    assert (change.accepted, change.rejected, windows(entries)) == (1, len(refused), [wanted])


def test_a_health_pass_may_be_joined_to_any_length() -> None:
    passed = {"pass": [t(1)]}
    change, entries = joined(((0, 90), passed), ((80, 200), passed), category="health_pass")
    assert (change.accepted, change.duplicate, windows(entries)) == (1, 1, [(0, 200)])


def test_lines_are_joined_through_a_third_with_all_their_tokens() -> None:
    phone = {"phone": [t(9)]}
    change, [entry] = joined(((0, 5), ID | phone), ((0, 6), PASSPORT), ((0, 7), ID | PASSPORT))
    assert (change.accepted, change.duplicate, entry.entry_id) == (1, 2, "b1:1")
    assert entry.tokens == {"id": (t(1),), "passport": (t(3),), "phone": (t(9),)}


def test_a_line_that_touches_only_one_of_two_entries_joins_neither() -> None:
    change, entries = joined(((0, 3), ID), ((10, 13), OTHER), ((2, 5), {"id": [t(1), t(2)]}))
    assert [(reject.line, reject.code) for reject in change.rejects] == [(3, "bad_window")]
    assert windows(entries) == [(0, 3), (10, 13)]


def test_phones_join_lines_only_where_neither_has_a_document() -> None:
    phone, plate = {"phone": [t(7)]}, {"plate": [t(8)]}
    change, entries = joined(((0, 5), phone), ((0, 6), ID | phone), ((0, 7), phone | plate), ((0, 8), plate))
    assert (change.accepted, change.duplicate, windows(entries)) == (2, 2, [(0, 8), (0, 6)])


def test_a_line_with_a_code_takes_no_part() -> None:
    change, entries = joined(((0, 5), ID), ((0, 29), ID | PASSPORT), ((0, 6), PASSPORT))
    assert [(reject.line, reject.code) for reject in change.rejects] == [(2, "term_too_long")]
    assert change.accepted == len(entries) == 2


def test_the_first_line_takes_the_result_of_comparing_the_joined_entry_with_the_list() -> None:
    watchlist = WatchlistIndex()
    apply(watchlist, batch(line(1, (0, 9), **ID)))
    again = [line(4, (0, 5), **ID), line(5, (3, 9), **ID)]
    change = apply(watchlist, batch(*again, sequence=2))
    assert (change.accepted, change.duplicate, change.put) == (0, 2, {})
    change = apply(watchlist, batch(*again, line(6, (8, 12), **ID), sequence=3))
    assert (change.accepted, change.duplicate, list(change.put)) == (1, 2, ["b1:1"])


def test_withdrawals_are_not_joined() -> None:
    watchlist = WatchlistIndex()
    apply(watchlist, batch(line(1, **ID)))
    change = apply(
        watchlist, batch(line(1, **ID), line(2, **ID), mode="withdraw", withdraw_reason="cleared", sequence=2)
    )
    assert (change.withdrawn, [(r.line, r.code) for r in change.rejects]) == (1, [(2, "not_listed")])


def test_rejects_are_in_the_order_of_the_lines_whatever_found_them() -> None:
    lines: list[tuple[Window, dict[str, list[str]]]] = [
        ((1, 3), ID),
        ((5, 7), ID),
        ((1, 40), OTHER),
        ((9, 10), ID),
        ((1, 40), OTHER),
    ]
    change, _ = joined(*lines)
    assert [reject.line for reject in change.rejects] == [2, 3, 4, 5]


def test_the_order_of_lines_that_all_fit_makes_no_difference() -> None:
    """Random lines of a few people: whatever order they come in, the joined entries are the same if nothing is refused."""
    seen: Counter[str] = Counter()
    for seed in range(300):
        rng = random.Random(seed)
        lines: list[tuple[Window, dict[str, list[str]]]] = []
        for _ in range(rng.randrange(2, 7)):
            start = rng.choice((None, -5, 0, 2, 5))
            tokens = {
                kind: [t(rng.randrange(3))] for kind in rng.sample(("id", "passport", "phone"), rng.choice((1, 1, 2)))
            }
            lines.append(((start, rng.choice((6, 8, 11))), tokens))
        change, entries = joined(*lines)
        shuffled = rng.sample(lines, len(lines))
        other, others = joined(*shuffled)
        assert not change.rejected and not other.rejected
        content = [sorted((e.from_us, e.to_us, sorted(e.tokens.items())) for e in some) for some in (entries, others)]
        assert content[0] == content[1], seed
        seen["joined"] += change.duplicate > 0
        seen["three or more"] += change.duplicate > 1
        seen["apart"] += len(entries) > 1
    assert min(seen.values()) > 50 and len(seen) == 3, seen


def test_many_lines_of_one_phone_are_joined_in_linear_time() -> None:
    lines = [line(n, phone=[t(1)], plate=[t(n)]) for n in range(20_000)]
    change = apply(WatchlistIndex(), batch(*lines))
    assert (change.accepted, change.duplicate, len(next(iter(change.put.values())).tokens["plate"])) == (
        1,
        19_999,
        20_000,
    )
