"""Suppression of small counts: what is published outside the health authority.

The threshold is that of the US Centers for Medicare & Medicaid Services (counts of 1 to 10 are never shown: k = 11); the
rounding is that of NHS England's sub-national figures (to the nearest 5). The rule applies to each cell by itself, after
summing over the sites of a division:

    0 stays 0; 1 to k-1 is suppressed (None); any other count is rounded half up to the nearest 5.

A row whose total, the count in its first cell, is suppressed has no other cell either: each would tell about a few people.

**Differencing.** A day is published once and then frozen. So no second publication of a day can be subtracted from the
first, whatever arrives late, is corrected or is registered afterwards. Each event counts in one day only, so the figures
of one day say nothing about another day. What remains is subtraction *within a row*; this is the residual risk:

- `passages` is the sum of the five outcomes, and a published 0 is exact. If one outcome of a row is suppressed, a reader
  can narrow it to fewer values than 1 … k-1: with n rounded cells beside it, to about ±2.5 (n + 1).
- At the threshold the result can be exact. Passages 10 and clear 10 (each stands for 11 or 12, with k = 11), one outcome
  suppressed and the others 0, can only be 12, 11 and 1. `bounds` and `implied_bounds` compute what a reader can conclude,
  and the tests state this worst case.
- A row that can only be about one person (a division with one site, a known visitor) is protected by k alone.
- Published cells must not be summed: five divisions, rounded and added, are off by up to 12.

Suppressing a second cell of such a row would close the gap, but then not every cell would follow one rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

SMALLEST_K = 11
ROUNDING_STEP = 5

UNREGISTERED = ""
"""The division of sites that the register does not contain. Their counts are published, so that totals are complete."""

Cell = int | None
"""A published count; None is suppressed."""

Counts = tuple[int, ...]


class SiteCounts(NamedTuple):
    """Counts of one site. `key` holds the further values by which counts are grouped, such as (mode, stage)."""

    site_id: str
    key: tuple[str, ...]
    counts: Counts


class Bounds(NamedTuple):
    """The least and the greatest count that a reader can take a cell for."""

    least: int
    greatest: int


def publishable(count: int, k: int = SMALLEST_K) -> Cell:
    """Returns a count as it may be published.

    Args:
        count: the count, at least 0.
        k: the smallest count that is published, at least 11.

    Raises:
        ValueError: k is less than 11.
    """
    if k < SMALLEST_K:
        raise ValueError(f"k is at least {SMALLEST_K}")
    if count == 0:
        return 0
    return None if count < k else (2 * count + ROUNDING_STEP) // (2 * ROUNDING_STEP) * ROUNDING_STEP


def publishable_row(counts: Counts, k: int = SMALLEST_K) -> list[Cell]:
    """Returns the counts of a row as they may be published.

    Args:
        counts: the counts; the first one is the total of the row.
        k: the smallest count that is published, at least 11.

    Returns:
        The cells. If the total is suppressed or 0, so is every cell.
    """
    total = publishable(counts[0], k)
    return [publishable(count, k) for count in counts] if total else [total] * len(counts)


def sum_by_division(rows: Iterable[SiteCounts], divisions: Mapping[str, str]) -> dict[tuple[str, ...], Counts]:
    """Returns the sums of counts by (division, *key), in the order of these keys.

    Args:
        rows: the counts of sites.
        divisions: site → division, the register of sites.
    """
    sums: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row in rows:
        summed = sums[divisions.get(row.site_id, UNREGISTERED), *row.key]
        summed[:] = [a + b for a, b in zip(summed, row.counts, strict=True)] if summed else row.counts
    return {key: tuple(summed) for key, summed in sorted(sums.items())}


def bounds(cell: Cell, k: int = SMALLEST_K) -> Bounds:
    """Returns the least and the greatest count that is published as `cell`."""
    if cell is None:
        return Bounds(1, k - 1)
    if cell == 0:
        return Bounds(0, 0)
    return Bounds(max(k, cell - ROUNDING_STEP // 2), cell + ROUNDING_STEP // 2)


def implied_bounds(total: Cell, parts: list[Cell], k: int = SMALLEST_K) -> list[Bounds]:
    """Returns what a reader can conclude about each part, who knows that the parts add up to the total."""
    low, high = bounds(total, k)
    each = [bounds(part, k) for part in parts]
    least, greatest = sum(part.least for part in each), sum(part.greatest for part in each)
    return [
        Bounds(
            max(part.least, low - (greatest - part.greatest)),
            min(part.greatest, high - (least - part.least)),
        )
        for part in each
    ]
