"""Times of many events at once: from text to µs of Unix time by the column. A `datetime` of each costs four times as much."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np

from ninezero.agents.logic.watchlist.columns import Array, of_each_length
from ninezero.schemas.events import Time
from ninezero.schemas.times import unix_micros

_DIGITS_AND_SIGNS = bytes(ord("0") if chr(b).isdigit() else ord("-") if b == ord("+") else b for b in range(256))
"""Turns every digit into 0 and either sign into one: what remains is the form."""
_FORMS = {
    len(form): form
    for fraction in ("", ".000", ".000000")
    for offset in ("Z", "-00:00")
    for form in [f"0000-00-00T00:00:00{fraction}{offset}".encode()]
}
_HOUR, _MINUTE, _SECOND = 3_600_000_000, 60_000_000, 1_000_000


def instants(texts: Sequence[str]) -> tuple[Array, Array]:
    """Of each text the instant in µs of Unix time, and whether that is certain: in a usual form of RFC 3339, and such a time there is.

    Usual are seconds, milliseconds and microseconds, with `Z` or an offset. An instant that is not certain is any number.
    """
    found, certain = np.zeros(len(texts), np.int64), np.zeros(len(texts), bool)
    for length, at, some in of_each_length(texts, _FORMS.keys()):
        found[at], certain[at] = _of_one_form(some, _FORMS[length])
    return found, certain


def _of_one_form(texts: Sequence[str], form: bytes) -> tuple[Array, Array]:
    raw = "".join(texts).encode("ascii", "replace")
    certain = np.frombuffer(raw.translate(_DIGITS_AND_SIGNS), f"V{len(form)}") == np.void(form)
    letters = np.frombuffer(raw, np.uint8).reshape(-1, len(form))
    digits = letters - np.uint8(ord("0"))
    clock = digits[:, (11, 14, 17)] * np.uint8(10) + digits[:, (12, 15, 18)]
    hours, minutes, seconds = clock.T
    certain &= (hours < 24) & (minutes < 60) & (seconds < 60)
    found: Array = clock @ np.array((_HOUR, _MINUTE, _SECOND))
    end = len(form) - (1 if form.endswith(b"Z") else 6)
    if end > 20:
        found += digits[:, 20:end] @ 10 ** np.arange(5, 25 - end, -1)
    around = np.ascontiguousarray(np.hstack((letters[:, :10], letters[:, end:]))).view(f"V{10 + len(form) - end}")[:, 0]
    if (around == around[0]).all():
        distinct, which = around[:1], np.zeros(len(texts), np.intp)
    else:
        distinct, which = np.unique(around, return_inverse=True)
    midnights = [_midnight(bytes(one)) for one in distinct]
    certain &= np.array([one is not None for one in midnights])[which]
    found += np.array([one or 0 for one in midnights])[which]
    return found, certain


@lru_cache(maxsize=10_000)
def _midnight(around: bytes) -> int | None:
    """When a day begins, from its date and its offset; None if there is no such day."""
    try:
        return unix_micros(msgspec.convert(f"{around[:10].decode()}T00:00:00{around[10:].decode()}", Time))
    except (msgspec.ValidationError, OverflowError):
        return None
