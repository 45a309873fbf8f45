"""Which lines of a push are one entry (contract §5): a finding for each of them, and a code for those that cannot be joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from ninezero.schemas.events import LineCode
from ninezero.schemas.joined_lines import LineJoiner, Tokens, identifying, joinable
from ninezero.schemas.times import unix_micros
from ninezero.streams.edge.listfiles.push_lines import CheckedLine
from ninezero.streams.edge.listfiles.remedies import SAME_AS

SAME_ENTRY = "same entry as an earlier row"
"""The finding under which the summary counts the lines that belong to the entry of an earlier line."""


class _Fate(NamedTuple):
    """The result of joining a line."""

    first: int
    """Number of the first line of the same entry."""
    code: LineCode | None


class _Place(NamedTuple):
    file: int
    row: int


class SameEntries:
    """The lines of a push that are the same entry as an earlier one.

    Add all lines, then `finish`. The lines can then be read again, and `annotated` adds what is known about them.

    Args:
        category: the category of the batch.
        now: the time of the push.
    """

    def __init__(self, category: str, now: datetime) -> None:
        self._joiner = LineJoiner(category, unix_micros(now))
        self._fates: dict[int, _Fate] = {}
        """The lines that have an earlier line of the same entry, by line number."""
        self.codes: Counter[str] = Counter()
        """How many lines have which code because they cannot be joined."""

    def __len__(self) -> int:
        return len(self._fates)

    def add(self, line: CheckedLine) -> None:
        """Adds the next line. A line with a code is no entry."""
        if line.code is None:
            joined = joinable(line.push.line, line.push)
            joined.tokens = _of_one_key(joined.tokens)
            self._joiner.add(joined)

    def finish(self) -> None:
        """Joins the lines, after the last one."""
        for joined in self._joiner.finish():
            self._fates.update((other, _Fate(joined.line, None)) for other in joined.others or ())
        self._fates.update((one.line, _Fate(one.first, one.code)) for one in self._joiner.refused)
        self.codes.update(one.code for one in self._joiner.refused)

    def annotated(self, lines: Iterable[CheckedLine]) -> Iterator[CheckedLine]:
        """Yields the lines with their codes and with findings such as `same as row 12`."""
        firsts = {fate.first for fate in self._fates.values()}
        places: dict[int, _Place] = {}
        for line in lines:
            number = line.push.line
            if number in firsts:
                places[number] = _Place(line.file, line.row)
            fate = self._fates.get(number)
            if fate is None:
                yield line
                continue
            first = places[fate.first]
            which = f"{SAME_AS}{first.row}" + (f" of file {first.file}" if first.file != line.file else "")
            yield line._replace(code=line.code or fate.code, findings=(*line.findings, which))


def _of_one_key(tokens: Tokens) -> Tokens:
    """Returns the tokens that decide which lines are the same, under the first key only.

    Every value has a token under each key of the ring, so the tokens under one of them are enough.
    """
    found: Tokens = {}
    for domain in identifying(tokens):
        if some := tokens.get(domain):
            key = some[0].partition(".")[0] + "."
            found[domain] = tuple(token for token in some if token.startswith(key))
    return found
