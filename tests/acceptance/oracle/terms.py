"""The terms of the contract that every other part of the oracle uses: constants, records, tokens (§1) and times."""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
MIB = 1 << 20
MAX_TERM = 2_419_200 * SECOND

SCANS, ARRIVALS, PUSHES = "checkpoint-scans", "station-arrivals", "watchlist-pushes"
FIVE = ("confirmed_case", "suspected_case", "quarantine_order", "close_contact", "risk_region_arrival")
CATEGORIES = (*FIVE, "health_pass")
SEVERITY = ("clear", "hold", "turn_back", "quarantine", "refer")
STRONG = ("id", "passport", "pass")
TOKEN = re.compile(r"[A-Za-z0-9]{1,16}\.[0-9a-f]{32}")
FLAGS = (
    "empty",
    "bad_character",
    "bad_length",
    "checksum_failed",
    "bad_date",
    "birth_in_future",
    "unknown_division",
    "fifteen_digit",
    "mrz_number_failed",
    "mrz_birth_failed",
    "mrz_expiry_failed",
    "mrz_optional_failed",
    "mrz_composite_failed",
    "mrz_format",
    "document_expired",
    "no_issuing_state",
    "phone_invalid",
    "plate_unrecognised",
)


class Ambiguous(Exception):
    """The contract does not define this case. A client must not send it."""


@dataclass(frozen=True)
class Record:
    """One record as it is in Kafka. The topic has no prefix, the timestamp is the broker's."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes

    @property
    def at(self) -> int:
        return self.timestamp_ms * 1000


_DROPPED = set("\u00b7\u2022\u2027\u2212\u2219\u22c5\u25cf\u30fb\uff0e._/'")


def normalise(text: str) -> str:
    """Returns the normal form of §1: NFKC, upper case, without white space, controls, formats, dashes and dots."""
    upper = unicodedata.normalize("NFKC", text).upper()
    return "".join(
        c
        for c in upper
        if c not in _DROPPED
        and not unicodedata.category(c).startswith("Z")
        and unicodedata.category(c) not in ("Cc", "Cf", "Pd")
    )


def token(key_id: str, key: bytes, domain: str, normalised: str) -> str:
    """Returns a token (§1): key id, a dot, and the first 32 hex digits of HMAC-SHA256 over domain, NUL and the normalised text."""
    digest = hmac.new(key, f"{domain}\0{normalised}".encode(), hashlib.sha256).hexdigest()
    return f"{key_id}.{digest[:32]}"


_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(Z|[+-][0-9]{2}:[0-9]{2})"
)


@cache
def instant(text: str) -> int | None:
    """Returns an RFC 3339 time with an offset in microseconds since 1970; None for anything else."""
    match = _TIME.fullmatch(text)
    if match is None:
        if _TIME.fullmatch(text.upper().replace(" ", "T")):
            raise Ambiguous("RFC 3339 allows lower case and a space; the contract does not say")
        return None
    year, month, day, hour, minute, second = (int(g) for g in match.groups()[:6])
    fraction, offset = match[7] or "", match[8]
    if second == 60 or year == 0 or len(fraction) > 6:
        raise Ambiguous("leap second, year 0 or finer than a microsecond")
    try:
        moment = datetime(year, month, day, hour, minute, second, int(fraction.ljust(6, "0")), tzinfo=UTC)
    except ValueError:
        return None
    since = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if offset == "Z":
        return since
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:
        return None
    shift = (hours * 60 + minutes) * MINUTE
    return since - shift if offset[0] == "+" else since + shift


def at(text: str) -> int:
    """Returns a time that was checked before, in microseconds since 1970."""
    moment = instant(text)
    assert moment is not None, "checked before"
    return moment
