"""Compares the lines of a batch with each other and with their list, by column."""

from __future__ import annotations

import numpy as np

from ninezero.agents.logic.pushes.line_columns import LineColumns
from ninezero.agents.logic.watchlist.columns import NONE, Array
from ninezero.agents.logic.watchlist.entries import ListName
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.joined_lines import STRONG


class Comparison:
    """Finds the lines that have a token in common, and the entries that each line matches.

    Documents match by documents. A phone or a plate matches only where neither side has a document.

    Args:
        lines: all lines of the batch.
        accepted: for each line whether it is compared. Those that are not have a code.
        index: the watchlist. It must not change until the comparison is complete.
        name: the list.
        now_us: Unix time in µs; entries that have expired then do not match.
    """

    def __init__(self, lines: LineColumns, accepted: Array, index: WatchlistIndex, name: ListName, now_us: int) -> None:
        self._index, self._name, self._now_us = index, name, now_us
        self._count = len(lines.numbers)
        chosen = lines.identifying() & accepted[lines.owners]
        self._owners, self._tokens = lines.owners[chosen], lines.tokens.at(chosen)
        self._next = 0
        """Position of the first token that is not searched yet."""
        self._pairs = [np.zeros(0, np.int64)]
        """What is found so far: positions of lines << 32 | rows of entries."""
        self._matched_by = np.zeros(0, np.int64)
        """For each pair, the number of lines that match its entry."""

    def proceed(self, limit: int) -> bool:
        """Searches the list for the next tokens, `limit` at most. Returns whether there are more."""
        some = slice(self._next, self._next + limit)
        tokens, owners = self._tokens.at(some), self._owners[some]
        positions, rows = self._index.search(self._name, tokens, self._now_us)
        weak = np.flatnonzero(tokens.domains[positions] >= len(STRONG))
        fits = np.ones(len(rows), bool)
        fits[weak] = ~self._index.have_domain_below(rows[weak], len(STRONG))
        self._pairs.append(owners[positions[fits]] << 32 | rows[fits])
        self._next += limit
        if self._next < len(self._owners):
            return True
        if len(self._pairs) > 1:
            pairs = np.unique(np.concatenate(self._pairs))
            _, which, lines = np.unique(pairs & 0xFFFF_FFFF, return_inverse=True, return_counts=True)
            self._pairs, self._matched_by = [pairs], lines[which.reshape(-1)]
        return False

    def sharing(self) -> Array:
        """Returns for each line whether it may have a token in common with another line. Where this is false, it has none."""
        keys = self._tokens.codes.astype(np.uint64) << np.uint64(32) | self._tokens.tags
        order = np.argsort(keys)
        ordered = keys[order]
        again = np.flatnonzero(ordered[1:] == ordered[:-1])
        found = np.zeros(self._count, bool)
        found[self._owners[order[again]]] = True
        found[self._owners[order[again + 1]]] = True
        return found

    def competing(self) -> Array:
        """Returns for each line whether it matches several entries, or one that another line matches, too."""
        lines = self._pairs[0] >> 32
        found: Array = np.bincount(lines, minlength=self._count) > 1
        found[lines[self._matched_by > 1]] = True
        return found

    def rows(self) -> Array:
        """Returns for each line the row of an entry that it matches, or NONE."""
        rows = np.full(self._count, NONE, np.int64)
        rows[self._pairs[0] >> 32] = self._pairs[0] & 0xFFFF_FFFF
        return rows
