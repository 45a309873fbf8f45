"""What may be told of a count, and what a reader can learn all the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninezero.agents.logic.suppression import (
    UNREGISTERED,
    SiteCounts,
    bounds,
    implied_bounds,
    publishable,
    sum_by_division,
)

COUNTS = st.integers(0, 10**9)
K = st.integers(11, 60)


@pytest.mark.parametrize(
    ("count", "cell"),
    [(0, 0), (1, None), (10, None), (11, 10), (12, 10), (13, 15), (17, 15), (18, 20), (1_002, 1_000), (1_003, 1_005)],
)
def test_zero_stays_small_goes_the_rest_is_rounded(count: int, cell: int | None) -> None:
    assert publishable(count) == cell


@given(COUNTS, K)
def test_a_cell_tells_a_count_to_within_two_or_that_it_is_small(count: int, k: int) -> None:
    cell = publishable(count, k)
    low, high = bounds(cell, k)
    assert low <= count <= high
    assert (cell is None) == (1 <= count < k)
    assert cell is None or cell % 5 == 0


@given(COUNTS, COUNTS, K)
def test_a_greater_count_never_has_a_smaller_cell(one: int, two: int, k: int) -> None:
    shown = [-1 if cell is None else cell for cell in (publishable(n, k) for n in sorted((one, two)) if n)]
    assert shown == sorted(shown)


@given(st.integers(1, 10**6), st.integers(1, 4))
def test_whoever_knows_all_but_a_few_of_a_day_cannot_tell_them_from_its_one_publication(known: int, more: int) -> None:
    """Every published cell but 0 stands for two counts at least, so one more or less of them need not show."""
    for cell in (publishable(known), publishable(known + more)):
        low, high = bounds(cell)
        assert high > low


def test_k_is_never_below_eleven() -> None:
    with pytest.raises(ValueError, match="11"):
        publishable(3, 10)


outcomes = st.lists(st.one_of(st.just(0), st.integers(0, 30), st.integers(0, 5000)), min_size=5, max_size=5)


@given(outcomes, K)
def test_a_row_never_says_anything_false_and_a_suppressed_cell_stays_within_what_the_docstring_says(
    counts: list[int], k: int
) -> None:
    """Differencing within a row: the total less the rounded parts narrows a suppressed part, and this is by how much."""
    cells = [publishable(n, k) for n in counts]
    known = implied_bounds(publishable(sum(counts), k), cells, k)
    assert all(low <= n <= high for n, (low, high) in zip(counts, known, strict=True))
    hidden = [i for i, cell in enumerate(cells) if cell is None]
    if len(hidden) > 1:  # two hidden cells hide each other: their sum is what is narrowed
        lows = sum(known[i][0] for i in hidden)
        assert lows <= sum(counts[i] for i in hidden)


def test_the_worst_case_is_known_one_suppressed_cell_beside_zeros_at_the_very_edge_of_k() -> None:
    cells = [publishable(n) for n in (11, 0, 0, 0, 1)]
    assert (publishable(12), cells) == (10, [10, 0, 0, 0, None])
    assert implied_bounds(10, cells) == [(11, 11), (0, 0), (0, 0), (0, 0), (1, 1)]  # exact: the residual risk


def test_a_hundred_passages_with_one_referred_tell_one_to_four() -> None:
    assert implied_bounds(publishable(100), [publishable(n) for n in (99, 0, 0, 0, 1)])[4] == (1, 4)


def test_divisions_sum_their_sites_before_anything_is_suppressed_and_unknown_sites_are_kept() -> None:
    rows = [
        SiteCounts("a", ("rail",), (6, 0)),
        SiteCounts("b", ("rail",), (6, 1)),
        SiteCounts("b", ("air",), (1, 1)),
        SiteCounts("x", ("rail",), (4, 4)),
    ]
    assert sum_by_division(rows, {"a": "370115", "b": "370115"}) == {
        (UNREGISTERED, "rail"): (4, 4), ("370115", "air"): (1, 1), ("370115", "rail"): (12, 1),
    }  # fmt: skip
