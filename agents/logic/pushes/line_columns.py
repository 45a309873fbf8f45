"""The lines of a pushed batch by column: what `line_code` and `joinable` say of each line, computed for many lines together.

A part of a batch becomes columns when it arrives. They are small, so they wait in memory until the batch is complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, compress
from typing import Literal

import numpy as np
from msgspec import UNSET

from ninezero.agents.logic.watchlist.columns import Array
from ninezero.agents.logic.watchlist.tokens import DOMAIN_NUMBER, ParsedTokens
from ninezero.schemas.events import PSEUDONYM_PATTERN, LineCode, PushLine
from ninezero.schemas.joined_lines import DOMAINS, STRONG, JoinedLine, token_lists
from ninezero.schemas.line_codes import LINE_CODES, MAX_TERM_US
from ninezero.schemas.times import FOREVER_US, NO_START_US, all_unix_micros

_NO_END = 2**63 - 1
"""Stands in place of a missing end."""
_FINE, _NO_TOKEN, _BAD_TOKEN = range(3)
_STRONG_DOMAINS = len(STRONG)
"""The numbers of the strong domains are below this one."""
_is_token = re.compile(PSEUDONYM_PATTERN).match

TokenParser = Callable[[Array, Sequence[str]], ParsedTokens]
"""Parses tokens, given the number of each one's domain. Raises ValueError if one is malformed."""


@dataclass(frozen=True)
class LineColumns:
    """Lines of a batch, in their order."""

    numbers: Array
    """Number of each line."""
    from_us: Array
    """Start of each window in Unix time in µs, or NO_START_US."""
    to_us: Array
    """End of each window, Unix time in µs."""
    forms: Array
    """Whether each line's tokens are well-formed."""
    counts: Array
    """Number of each line's tokens; 0 if one of them is malformed."""
    tokens: ParsedTokens
    """The tokens of all lines, line after line. Those of a line are in the order of `tokens_of`."""

    @property
    def bytes(self) -> int:
        """Size of the columns in memory."""
        columns = (self.numbers, self.from_us, self.to_us, self.forms, self.counts, *self.tokens)
        return sum(column.nbytes for column in columns)

    @cached_property
    def owners(self) -> Array:
        """For each token, the position of its line."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def starts(self) -> Array:
        """For each line, the position of its first token."""
        starts: Array = np.cumsum(self.counts) - self.counts
        return starts

    def at(self, lines: Array | slice, tokens: Array | slice) -> LineColumns:
        """Returns some lines, given where they and their tokens are."""
        return LineColumns(
            self.numbers[lines],
            self.from_us[lines],
            self.to_us[lines],
            self.forms[lines],
            self.counts[lines],
            self.tokens.at(tokens),
        )

    def where(self, chosen: Array) -> LineColumns:
        """Returns the lines for which `chosen` is true."""
        return self.at(chosen, chosen[self.owners])

    def identifying(self) -> Array:
        """Returns for each token whether it decides which other lines and entries are the same (see `joined_lines`)."""
        strong, owners = self.tokens.domains < _STRONG_DOMAINS, self.owners
        of_strong_line = np.zeros(len(self.counts), bool)
        of_strong_line[owners[strong]] = True
        found: Array = strong | ~of_strong_line[owners]
        return found

    def clamped(self) -> LineColumns:
        """Returns the lines with windows as `joinable` makes them. They have ends."""
        from_us = np.where(self.from_us == NO_START_US, NO_START_US, self.from_us.clip(0, FOREVER_US))
        return replace(self, from_us=from_us, to_us=np.minimum(self.to_us, FOREVER_US))

    def objects(self, chosen: Array, key_id: Callable[[int], str]) -> list[JoinedLine]:
        """Returns the lines for which `chosen` is true, each as an object. Their windows must be clamped.

        Args:
            chosen: the choice.
            key_id: returns the key id of a number.
        """
        some = self.where(chosen)
        digests, codes = some.tokens.hex_digests(), some.tokens.codes.tolist()
        heads = {code: (DOMAINS[code & 7], f"{key_id(code >> 3)}.") for code in set(codes)}
        made = []
        for position, number, from_us, to_us, start, count in zip(
            np.flatnonzero(chosen).tolist(), some.numbers.tolist(), some.from_us.tolist(), some.to_us.tolist(),
            some.starts.tolist(), some.counts.tolist(), strict=True,
        ):  # fmt: skip
            tokens: dict[str, list[str]] = {}
            for at in range(start, start + count):
                domain, head = heads[codes[at]]
                tokens.setdefault(domain, []).append(head + digests[at])
            found = {domain: tuple(texts) for domain, texts in tokens.items()}
            made.append(JoinedLine(position, number, found, from_us, to_us))
        return made

    def codes(self, mode: Literal["delta", "full", "withdraw"], category: str, now_us: int) -> Array:
        """Returns for each line which of LINE_CODES `line_code` returns: its position + 1, or 0 for none."""
        term = self.to_us - np.where(self.from_us == NO_START_US, now_us, self.from_us)
        applies: dict[LineCode, Array] = {
            "no_token": self.forms == _NO_TOKEN,
            "bad_token": self.forms == _BAD_TOKEN,
            "no_window": self.to_us == _NO_END,
            "bad_window": self.from_us >= self.to_us,
            "expired": self.to_us <= now_us,
            "term_too_long": (term > MAX_TERM_US) & (category != "health_pass"),
        }
        some = LINE_CODES[:2] if mode == "withdraw" else LINE_CODES
        return np.select([applies[code] for code in some], range(1, len(some) + 1), 0)


def line_columns(lines: Sequence[PushLine], parse: TokenParser) -> LineColumns:
    """Returns lines by column."""
    count = len(lines)
    texts: list[str] = []
    owner_columns, domain_columns = [np.zeros(0, np.intp)], [np.zeros(0, np.uint32)]
    for domain, column in token_lists(lines).items():
        given: list[Sequence[str]] = [() if some is UNSET else some for some in column]
        lengths = np.fromiter(map(len, given), np.intp, count)
        if (lengths > 1).any():
            given = [sorted(set(some)) if len(some) > 1 else some for some in given]
            lengths = np.fromiter(map(len, given), np.intp, count)
        texts += chain.from_iterable(given)
        owner_columns.append(np.repeat(np.arange(count), lengths))
        domain_columns.append(np.full(len(owner_columns[-1]), DOMAIN_NUMBER[domain], np.uint32))
    owners, domains = np.concatenate(owner_columns), np.concatenate(domain_columns)
    forms = np.where(np.bincount(owners, minlength=count) == 0, np.uint8(_NO_TOKEN), np.uint8(_FINE))
    try:
        tokens = parse(domains, texts)
    except ValueError:
        malformed = np.fromiter((not _is_token(text) for text in texts), bool, len(texts))
        forms[owners[malformed]] = _BAD_TOKEN
        kept = forms[owners] != _BAD_TOKEN
        texts, owners, domains = list(compress(texts, kept)), owners[kept], domains[kept]
        tokens = parse(domains, texts)
    return LineColumns(
        np.fromiter((line.line for line in lines), np.int64, count),
        np.fromiter(all_unix_micros((line.valid_from for line in lines), NO_START_US), np.int64, count),
        np.fromiter(all_unix_micros((line.valid_to for line in lines), _NO_END), np.int64, count),
        forms,
        np.bincount(owners, minlength=count),
        tokens.at(np.argsort(owners, kind="stable")),
    )


def concatenate(parts: Sequence[LineColumns]) -> LineColumns:
    """Returns the lines of several parts, at least one, in one."""
    tokens = (part.tokens for part in parts)
    return LineColumns(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.from_us for part in parts]),
        np.concatenate([part.to_us for part in parts]),
        np.concatenate([part.forms for part in parts]),
        np.concatenate([part.counts for part in parts]),
        ParsedTokens(*map(np.concatenate, zip(*tokens, strict=True))),
    )
