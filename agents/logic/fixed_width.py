"""Texts of one length, so that numpy can read them as rows of a fixed width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any, NamedTuple


class SameLength(NamedTuple):
    """The texts of one length."""

    length: int
    """Characters of each text."""
    where: Any
    """Their positions among all texts, as an index of a numpy array."""
    texts: Sequence[str]


def by_length(texts: Sequence[str], lengths: Set[int]) -> Iterator[SameLength]:
    """Groups texts by length. Yields only the lengths that are in `lengths` and occur.

    >>> [group.texts for group in by_length(["aa", "b", "cc"], {2, 3})]
    [['aa', 'cc']]
    """
    found = list(map(len, texts))
    for length in lengths & set(found):
        if found.count(length) == len(texts):
            yield SameLength(length, slice(None), texts)
        else:
            where = [n for n, text_length in enumerate(found) if text_length == length]
            yield SameLength(length, where, [texts[n] for n in where])
