"""Groups of rows: the rows that one batch wrote to one list, with one category, and that one batch had first listed.

A row has no state of its own. It is live, staged or dead as its group is, so a list of millions of rows is switched by changing the
state of a few groups.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, get_args

import numpy as np

from ninezero.agents.logic.watchlist.columns import Array, Column
from ninezero.agents.logic.watchlist.entries import ListName
from ninezero.schemas.events import Category

CATEGORIES: tuple[Category, ...] = get_args(Category)

DEAD, STAGED, LIVE = 0, 1, 2
"""States of a group: its rows wait to be removed; wait for the next switch of their list; match."""


class GroupKey(NamedTuple):
    """The values that the staged rows of one list have in common."""

    batch: str
    """The batch that last changed them."""
    category: Category
    sequence: int
    first_batch: str
    """The batch that first listed them. Their entry ids begin with it."""
    first_sequence: int


class Group:
    """One group of rows."""

    __slots__ = ("key", "name", "number", "rows", "tokens_by_key")

    def __init__(self, number: int, name: ListName, key: GroupKey) -> None:
        self.number, self.name, self.key = number, name, key
        self.rows = 0
        """Number of its rows."""
        self.tokens_by_key: Counter[int] = Counter()
        """Number of its rows' tokens by key number."""


class ListState:
    """One list: its live groups with their totals, and what its next switch will do."""

    def __init__(self) -> None:
        self.live: dict[int, Group] = {}
        """Live groups by number."""
        self.size = 0
        """Number of live rows."""
        self.tokens_by_key: Counter[int] = Counter()
        """Number of the live rows' tokens by key number."""
        self.floor = 0
        """Entries of a lower sequence number are not on the list."""
        self.staged: dict[GroupKey, Group] = {}
        self.leaving: list[Array] = []
        """Live rows that a staged record replaces or removes."""

    def add_totals(self, group: Group) -> None:
        """Adds the rows of a group that becomes live."""
        self.size += group.rows
        self.tokens_by_key.update(group.tokens_by_key)

    def subtract_totals(self, group: Group) -> None:
        """Subtracts the rows of a group that is no longer live."""
        self.size -= group.rows
        self.tokens_by_key.subtract(group.tokens_by_key)


class Groups:
    """All groups by number, and their states. Numbers of groups without rows are used again."""

    def __init__(self) -> None:
        self.states = Column(np.uint8)
        """State of each group, by number."""
        self.categories = Column(np.uint8)
        """Position of each group's category in CATEGORIES, by number."""
        self.by_number = [Group(0, ("", ""), GroupKey("", "health_pass", 0, "", 0))]
        """Number 0 belongs to no group. Unused rows have it."""
        self._unused: list[int] = []

    def __len__(self) -> int:
        """One past the highest number in use."""
        return len(self.by_number)

    def new(self, name: ListName, key: GroupKey, state: int) -> Group:
        """Makes a group without rows."""
        number = self._unused.pop() if self._unused else len(self.by_number)
        group = Group(number, name, key)
        if number == len(self.by_number):
            self.by_number.append(group)
            if number == len(self.states):
                self.states.grow(number * 2)
                self.categories.grow(number * 2)
        self.by_number[number] = group
        self.states.array[number], self.categories.array[number] = state, CATEGORIES.index(key.category)
        return group

    def delete(self, group: Group) -> None:
        """Deletes a group that has no rows. Its number may be used again."""
        self._unused.append(group.number)
