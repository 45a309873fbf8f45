"""What may be told of a count outside the health authority: small cells suppressed, the rest rounded, a day once.

The rule is that of CMS and CDC (1 to 10 are never shown: k = 11) and of NHS England's sub-national figures (the rest rounded to the
nearest 5). Each cell is treated by itself, after summing over the sites of a division:

    0 stays 0; 1 to k-1 is None; the rest is rounded half up to the nearest 5.

**Differencing.** A day is published once and frozen, so there is no second publication of the same day to subtract from the first,
whatever arrives, is corrected or is registered anew in between; and an event counts in one day only, so one day says nothing of
another. What is left is subtraction *within* a row, and this is the residual risk:

- `passages` is the sum of the five outcomes, and published zeros are exact. A row with one suppressed outcome narrows it to less
  than 1…k-1: with n rounded cells beside it, to about 2.5 (n + 1) on either side.
- At the very edge it is exact: passages 10 and clear 10 (each 11 or 12, with k = 11), one outcome suppressed and the others 0 mean
  12, 11 and 1. `bounds` and `implied` compute what a reader can, and the tests pin down this worst case.
- A row in which only one person can be meant (a division with one site, a known visitor) is protected by k alone.
- Cells are not to be summed: five divisions rounded and added are off by up to 12.

Suppressing a second cell of such a row would close the gap, at the price of the promise that every cell follows one rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

SMALLEST_K = 11
STEP = 5

UNREGISTERED = ""
"""The division of sites that the register does not hold: their counts are published, so that totals hold, but of no division."""

Cell = int | None
Counts = tuple[int, ...]


def published(count: int, k: int = SMALLEST_K) -> Cell:
    """A count as it may be published; None is suppressed. `k` is at least 11."""
    if k < SMALLEST_K:
        raise ValueError("k is at least 11")
    if count == 0:
        return 0
    return None if count < k else (2 * count + STEP) // (2 * STEP) * STEP


def by_division(
    rows: Iterable[tuple[str, tuple[str, ...], Counts]], divisions: Mapping[str, str]
) -> dict[tuple[str, ...], Counts]:
    """Rows (site, further keys, counts) summed by (division, further keys), where `divisions` is the register of sites."""
    summed: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for site, keys, counts in rows:
        cell = summed[divisions.get(site, UNREGISTERED), *keys]
        cell[:] = [a + b for a, b in zip(cell, counts, strict=True)] if cell else counts
    return {key: tuple(counts) for key, counts in sorted(summed.items())}


def bounds(cell: Cell, k: int = SMALLEST_K) -> tuple[int, int]:
    """The least and the greatest count that is published as `cell`."""
    if cell is None:
        return 1, k - 1
    return (0, 0) if cell == 0 else (max(k, cell - STEP // 2), cell + STEP // 2)


def implied(total: Cell, parts: list[Cell], k: int = SMALLEST_K) -> list[tuple[int, int]]:
    """What a reader can know of each part, who knows that the parts make up the total."""
    low, high = bounds(total, k)
    each = [bounds(part, k) for part in parts]
    least, most = sum(a for a, _ in each), sum(b for _, b in each)
    return [(max(a, low - (most - b)), min(b, high - (least - a))) for a, b in each]
