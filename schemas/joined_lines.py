"""Lines of one batch that are the same entry are joined before the batch is compared with its list (contract §5).

Two lines are the same entry if they share an id, passport or pass token, or, where neither has any of these, a phone or a plate.
The edge joins lines before it sends a batch, to show the clerk which rows are one entry. The worker joins them again when it
applies the batch. Both use `LineJoiner`, so the clerk sees before the push what the receipt will state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec import UNSET, Struct, UnsetType

from ninezero.schemas.events import LineCode, Matched, PushLine
from ninezero.schemas.line_codes import is_term_too_long
from ninezero.schemas.times import FOREVER_US, NO_START_US, unix_micros

STRONG: tuple[Matched, ...] = ("id", "passport", "pass")
"""Domains of the tokens that identify an entry."""
WEAK: tuple[Matched, ...] = ("phone", "plate")
"""Domains of the tokens that identify an entry only where it has no token of a strong domain."""
DOMAINS: tuple[Matched, ...] = (*STRONG, *WEAK)
"""Domains of tokens. An entry that matches in several domains is reported with the first of them in this order."""

_FIELDS = {domain: "pass_" if domain == "pass" else domain for domain in DOMAINS}
"""The field of each domain in the tokens of a line."""

ROUNDS = 64
"""How often lines that wait for a gap to be filled are tried again. It bounds the time that a hostile batch can take."""

Tokens = dict[str, tuple[str, ...]]
"""Tokens by domain, sorted; no domain is empty."""


class JoinedLine(Struct, gc=False, eq=False):
    """One line of a batch, or several that are the same entry."""

    position: int
    """Position of the first line among all lines of the batch."""
    line: int
    """Number of the first line."""
    tokens: Tokens
    from_us: int
    """Unix time in µs, or NO_START_US."""
    to_us: int
    others: list[int] | None = None
    """Numbers of the other lines. None if there is none."""
    more_tokens: list[Tokens] | None = None
    """Tokens of the other lines that are not in `tokens` yet."""
    into: JoinedLine | None = None
    """The line that this one was joined to."""


class RefusedLine(NamedTuple):
    """A line that cannot be joined with the earlier lines of the same entry."""

    position: int
    line: int
    code: LineCode
    first: int
    """Number of the first of the earlier lines."""


def tokens_of(line: PushLine) -> Tokens:
    """Returns the tokens of a line by domain, sorted and without repetitions."""
    given: dict[str, Any] = {domain: getattr(line.tokens, field) for domain, field in _FIELDS.items()}
    return {domain: tuple(sorted(set(some))) for domain, some in given.items() if some is not UNSET and some}


def token_lists(lines: Iterable[PushLine]) -> dict[str, list[list[str] | UnsetType]]:
    """Returns the tokens of lines as they were given, one column for each domain."""
    given = [line.tokens for line in lines]
    return {domain: list(map(attrgetter(field), given)) for domain, field in _FIELDS.items()}


def joinable(position: int, line: PushLine) -> JoinedLine:
    """Returns a line that has no code, ready to be joined.

    Args:
        position: its position among all lines of its batch.
        line: the line. It has an end.
    """
    assert line.valid_to is not None
    start = NO_START_US if line.valid_from is None else min(max(unix_micros(line.valid_from), 0), FOREVER_US)
    return JoinedLine(position, line.line, tokens_of(line), start, min(unix_micros(line.valid_to), FOREVER_US))


def identifying(tokens: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Returns the domains whose tokens decide which other lines and entries are the same."""
    return STRONG if any(domain in tokens for domain in STRONG) else WEAK


class LineJoiner:
    """Joins the lines of one batch.

    Lines are added in their order. A line whose window does not touch the windows of the lines that it belongs to waits, because
    a later line may fill the gap.

    Args:
        category: the category of the batch. A health pass may have a window of any length.
        now_us: Unix time in µs from which the term of a line without a start counts.

    Attributes:
        refused: the lines that could not be joined, in their order. Complete after `finish`.
    """

    def __init__(self, category: str, now_us: int) -> None:
        self._category, self._now_us = category, now_us
        self._joined: dict[int, JoinedLine] = {}
        """What is joined so far, by position."""
        self._owners: dict[str, dict[str, JoinedLine]] = {domain: {} for domain in DOMAINS}
        """For each domain, the line that has a token. Weak tokens only of lines without strong ones."""
        self._waiting: list[JoinedLine] = []
        self.refused: list[RefusedLine] = []

    def add(self, line: JoinedLine) -> None:
        """Adds the next line. It has no code of its own."""
        if not self._join(line):
            self._waiting.append(line)

    def finish(self) -> list[JoinedLine]:
        """Returns the joined lines, in the order of their first lines."""
        waiting = self._waiting
        for _ in range(ROUNDS):
            before = len(waiting)
            waiting = [line for line in waiting if not self._join(line)]
            if len(waiting) == before:
                break
        for line in waiting:
            first = min(self._same(line), key=lambda one: one.position)
            self.refused.append(RefusedLine(line.position, line.line, "bad_window", first.line))
        self.refused.sort()
        joined = list(self._joined.values())
        for line in joined:
            if line.more_tokens is not None:
                line.tokens, line.more_tokens = _union([line.tokens, *line.more_tokens]), None
        self._joined, self._owners, self._waiting = {}, {}, []
        return joined

    def _join(self, line: JoinedLine) -> bool:
        """Joins a line with the earlier lines of the same entry, or refuses it. Returns False if there is a gap between windows."""
        same = self._same(line)
        if not same:
            self._joined[line.position] = line
            self._own(line)
            return True
        start, end = _hull(line, same)
        if end is None:
            return False
        first = min(same, key=lambda one: one.position)
        if is_term_too_long(start, end, self._category, self._now_us):
            self.refused.append(RefusedLine(line.position, line.line, "term_too_long", first.line))
            return True
        self._own(line)
        first.from_us, first.to_us = start, end
        for other in (*same, line):
            if other is not first:
                _absorb(first, other)
                self._joined.pop(other.position, None)
        return True

    def _same(self, line: JoinedLine) -> list[JoinedLine]:
        """Returns the joined lines that are the same entry as a line."""
        found: list[JoinedLine] = []
        for domain in identifying(line.tokens):
            if some := line.tokens.get(domain):
                owners = self._owners[domain]
                for token in some:
                    owner = owners.get(token)
                    if owner is not None:
                        owner = _root(owner)
                        if owner not in found:
                            found.append(owner)
        return found

    def _own(self, line: JoinedLine) -> None:
        for domain in identifying(line.tokens):
            if some := line.tokens.get(domain):
                owners = self._owners[domain]
                for token in some:
                    owners.setdefault(token, line)


def _root(line: JoinedLine) -> JoinedLine:
    """Returns the line that a line was joined to in the end."""
    while (into := line.into) is not None:
        if into.into is not None:
            line.into = into.into
        line = into
    return line


def _hull(line: JoinedLine, same: list[JoinedLine]) -> tuple[int, int | None]:
    """Returns start and end of the windows together. The end is None if there is a gap between them."""
    windows = sorted((one.from_us, one.to_us) for one in (*same, line))
    start, end = windows[0]
    for next_start, next_end in windows[1:]:
        if next_start > end:
            return start, None
        end = max(end, next_end)
    return start, end


def _absorb(first: JoinedLine, other: JoinedLine) -> None:
    """Joins a line to an earlier one. The tokens are put together at the end."""
    first.others, first.more_tokens = first.others or [], first.more_tokens or []
    first.others += [other.line, *(other.others or ())]
    first.more_tokens += [other.tokens, *(other.more_tokens or ())]
    other.into, other.others, other.more_tokens = first, None, None


def _union(several: list[Tokens]) -> Tokens:
    found: dict[str, set[str]] = {}
    for tokens in several:
        for domain, some in tokens.items():
            found.setdefault(domain, set()).update(some)
    return {domain: tuple(sorted(found[domain])) for domain in DOMAINS if domain in found}
