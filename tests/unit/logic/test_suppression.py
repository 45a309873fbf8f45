"""Small counts are suppressed, and a reader can conclude only what is documented."""

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
    publishable_row,
    sum_by_division,
)

COUNTS = st.integers(0, 10**9)
K = st.integers(11, 60)


@pytest.mark.parametrize(
    ("count", "cell"),
    [(0, 0), (1, None), (10, None), (11, 10), (12, 10), (13, 15), (17, 15), (18, 20), (1_002, 1_000), (1_003, 1_005)],
)
def test_zero_stays_small_counts_are_suppressed_and_others_are_rounded(count: int, cell: int | None) -> None:
    assert publishable(count) == cell


@given(COUNTS, K)
def test_a_cell_states_a_count_to_within_two_or_that_it_is_small(count: int, k: int) -> None:
    cell = publishable(count, k)
    low, high = bounds(cell, k)
    assert low <= count <= high
    assert (cell is None) == (1 <= count < k)
    assert cell is None or cell % 5 == 0


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), K)
def test_a_row_with_a_suppressed_or_empty_total_shows_nothing_else(counts: list[int], k: int) -> None:
    cells = publishable_row((*counts,), k)
    expected = [publishable(count, k) for count in counts]
    assert cells == (expected if expected[0] else [expected[0]] * len(counts))


def test_the_people_of_ten_buses_are_not_published() -> None:
    assert publishable_row((10, 400, 4, 0, 0, 0, 6, 0)) == [None] * 8
    assert publishable_row((11, 400, 11, 0)) == [10, 400, 10, 0]


@given(COUNTS, COUNTS, K)
def test_a_greater_count_never_has_a_smaller_cell(one: int, two: int, k: int) -> None:
    shown = [-1 if cell is None else cell for cell in (publishable(n, k) for n in sorted((one, two)) if n)]
    assert shown == sorted(shown)


@given(st.integers(1, 10**6), st.integers(1, 4))
def test_a_reader_who_knows_most_of_a_count_cannot_conclude_the_rest(known: int, more: int) -> None:
    """Every published cell except 0 stands for at least two counts, so one event more or less may not change it."""
    for cell in (publishable(known), publishable(known + more)):
        low, high = bounds(cell)
        assert high > low


def test_k_is_never_below_eleven() -> None:
    with pytest.raises(ValueError, match="11"):
        publishable(3, 10)


outcomes = st.lists(st.one_of(st.just(0), st.integers(0, 30), st.integers(0, 5000)), min_size=5, max_size=5)


@given(outcomes, K)
def test_the_implied_bounds_always_contain_the_true_counts(counts: list[int], k: int) -> None:
    """Differencing within a row: subtracting the rounded parts from the total narrows a suppressed part."""
    cells = [publishable(n, k) for n in counts]
    concluded = implied_bounds(publishable(sum(counts), k), cells, k)
    assert all(low <= n <= high for n, (low, high) in zip(counts, concluded, strict=True))
    hidden = [i for i, cell in enumerate(cells) if cell is None]
    if len(hidden) > 1:  # with two suppressed cells only their sum is narrowed
        lows = sum(concluded[i].least for i in hidden)
        assert lows <= sum(counts[i] for i in hidden)


def test_in_the_worst_case_a_suppressed_cell_beside_zeros_is_exact() -> None:
    cells = [publishable(n) for n in (11, 0, 0, 0, 1)]
    assert (publishable(12), cells) == (10, [10, 0, 0, 0, None])
    assert implied_bounds(10, cells) == [(11, 11), (0, 0), (0, 0), (0, 0), (1, 1)]  # exact: the residual risk


def test_one_referral_among_a_hundred_passages_is_narrowed_to_one_to_four() -> None:
    assert implied_bounds(publishable(100), [publishable(n) for n in (99, 0, 0, 0, 1)])[4] == (1, 4)


def test_sites_are_summed_by_division_and_unregistered_sites_are_kept() -> None:
    rows = [
        SiteCounts("a", ("rail",), (6, 0)),
        SiteCounts("b", ("rail",), (6, 1)),
        SiteCounts("b", ("air",), (1, 1)),
        SiteCounts("x", ("rail",), (4, 4)),
    ]
    assert sum_by_division(rows, {"a": "370115", "b": "370115"}) == {
        (UNREGISTERED, "rail"): (4, 4), ("370115", "air"): (1, 1), ("370115", "rail"): (12, 1),
    }  # fmt: skip
