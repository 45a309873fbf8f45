"""The code with which a line of a pushed batch is rejected (contract §5).

The edge decides it before it sends a batch, for the screen and the rejects file. The worker decides it again when it applies the
batch. Both call `line_code`, so the authority sees before the push what the receipt will state.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from msgspec import UNSET

from ninezero.schemas.events import PSEUDONYM_PATTERN, LineCode, PushLine
from ninezero.schemas.times import NO_START_US, unix_micros

MAX_TERM = timedelta(days=28)
"""Longest window of an entry that is not a health pass."""

MAX_PASS_DAYS = 36_500
"""Most days for which a push may say that a health pass is valid."""

MAX_TERM_US = MAX_TERM // timedelta(microseconds=1)

LINE_CODES: tuple[LineCode, ...] = ("no_token", "bad_token", "no_window", "bad_window", "expired", "term_too_long")
"""The codes that `line_code` returns, in the order in which they apply. Those of a withdrawal are the first two."""

_is_token = re.compile(PSEUDONYM_PATTERN).match


def longest_days(category: str) -> int:
    """Returns the most days for which a push may say that a line of a category is valid."""
    return MAX_PASS_DAYS if category == "health_pass" else MAX_TERM.days


def line_code(
    line: PushLine, mode: Literal["delta", "full", "withdraw"], category: str, now_us: int
) -> LineCode | None:
    """Returns the first code that applies to a line, or None if the line is accepted.

    `not_listed` is not among them: it depends on the list, which only the worker has. Nor are the codes of lines that cannot be
    joined with other lines of their batch (`joined_lines.py`).

    Args:
        line: the line as it is sent.
        mode: the mode of its batch. The lines of a withdrawal need no window.
        category: the category of its batch. A health pass may have a window of any length.
        now_us: Unix time in µs at which the entry must not have expired, and from which the term of a line without a start counts.
    """
    given = line.tokens
    tokens = [
        token
        for some in (given.id, given.passport, given.pass_, given.phone, given.plate)
        if some is not UNSET
        for token in some
    ]
    if not tokens:
        return "no_token"
    if not all(map(_is_token, tokens)):
        return "bad_token"
    if mode == "withdraw":
        return None
    if line.valid_to is None:
        return "no_window"
    from_us = NO_START_US if line.valid_from is None else unix_micros(line.valid_from)
    to_us = unix_micros(line.valid_to)
    if from_us >= to_us:
        return "bad_window"
    if to_us <= now_us:
        return "expired"
    return "term_too_long" if is_term_too_long(from_us, to_us, category, now_us) else None


def is_term_too_long(from_us: int, to_us: int, category: str, now_us: int) -> bool:
    """Returns whether a window is longer than the longest term. The term of a window without a start counts from `now_us`."""
    start_us = now_us if from_us == NO_START_US else from_us
    return to_us - start_us > MAX_TERM_US and category != "health_pass"
