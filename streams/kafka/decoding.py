"""Decodes the bytes of a record to a validated value, or rejects them with a reason and the path of the fault.

Every role decodes records from devices and authorities with these functions, so all roles apply the same limits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import msgspec

from ninezero.schemas import events
from ninezero.schemas.events import LOOSE_TIME, MAX_VALUE_BYTES, DeadReason, decoder
from ninezero.schemas.times import unix_micros

if TYPE_CHECKING:  # the edge decodes without numpy
    import numpy.typing as npt

    Array = npt.NDArray[Any]

FUTURE_US = 600 * 1_000_000
"""Longest time that `observed_at` may lie after the Kafka timestamp, in µs (contract §4)."""

PAST_US = 13 * 86_400 * 1_000_000
"""Longest time that `observed_at` may lie before the Kafka timestamp, in µs; replay mode has no such limit."""

LATE_US = 600 * 1_000_000
"""An event whose Kafka timestamp is later than its `observed_at` by more than this many µs is late."""

EARLIEST_US = 86_400 * 1_000_000
"""Earliest `observed_at`, in µs: before 2 January 1970 a time may have no local day that ClickHouse can store."""

_TIMES = {"observed_at", "issued_at", "valid_from", "valid_to", "at"}
"""Fields that hold a time."""
_LOOSE_TIME = re.compile(r".*:.*[+-][0-9]{4}")
"""A time whose offset has no colon. msgspec accepts it; RFC 3339 does not."""

# The messages of msgspec 0.20: it has no other way to report where a value is invalid.
_AT = re.compile(r".* - at `\$([^`]*)`", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)` - at `\$([^`]*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `([a-z_]+)`")
_NAMES = {
    name
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    for name in kind.__struct_encode_fields__
}
"""Every field name of the contract."""


class Rejected(Exception):
    """A record is not accepted.

    Attributes:
        reason: the reason code of its dead letter.
        path: JSON Pointer to the fault; it contains field names of the contract and array indexes only.
    """

    def __init__(self, reason: DeadReason, path: str = "") -> None:
        super().__init__(reason)
        self.reason: DeadReason = reason
        self.path = path


class DecodedEvent(NamedTuple):
    """An event that passed every check of its record."""

    event: Any
    observed_us: int
    """Its `observed_at`, Unix time in µs."""
    late: bool


def decode(kind: Any, value: bytes | None) -> Any:
    """Decodes and validates a value as `kind`.

    Raises:
        Rejected: `too_large`, `not_json` or `schema_invalid`, with the path of the fault.
    """
    if value is None:
        raise Rejected("not_json")
    if len(value) > MAX_VALUE_BYTES:
        raise Rejected("too_large")
    message = ""
    try:
        decoded = decoder(kind).decode(value)
        if LOOSE_TIME.search(value):  # after decoding, so that a path contains field names of the contract only
            _check_times(msgspec.json.decode(value), "")
        return decoded
    except msgspec.ValidationError as error:
        message = str(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # Raised outside the handler: otherwise its context would be msgspec's error, which quotes the value.
    raise _rejected(value, message) if message else Rejected("not_json")


def decode_event(kind: Any, value: bytes | None, kafka_ms: int, *, replay: bool) -> DecodedEvent:
    """Decodes an event of a device and checks its clock.

    Args:
        kind: its wire type, which has `observed_at`.
        value: the record's value.
        kafka_ms: the record's Kafka timestamp, Unix time in ms.
        replay: whether `observed_at` may have any age, and nothing is late.

    Raises:
        Rejected: as `decode`, or `clock_out_of_range`.
    """
    event = decode(kind, value)
    try:
        observed_us = unix_micros(event.observed_at)
    except (OverflowError, ValueError):
        raise Rejected("schema_invalid", "/observed_at") from None
    check_clock(observed_us, kafka_ms, replay)
    return DecodedEvent(event, observed_us, is_late(observed_us, kafka_ms, replay))


def _check_times(item: Any, path: str) -> None:
    """Rejects a decoded value with a time whose offset has no colon. `path` is the JSON Pointer of `item`."""
    for key, inner in item.items() if isinstance(item, dict) else enumerate(item):
        if isinstance(inner, dict | list):
            _check_times(inner, f"{path}/{key}")
        elif key in _TIMES and isinstance(inner, str) and _LOOSE_TIME.fullmatch(inner):
            raise Rejected("schema_invalid", f"{path}/{key}")


def check_clock(observed_us: int, kafka_ms: int, replay: bool) -> None:
    """Rejects an `observed_at` (µs) that is too far from the Kafka timestamp (ms) as `clock_out_of_range`."""
    ahead = observed_us - kafka_ms * 1000
    if observed_us < EARLIEST_US or ahead > FUTURE_US or (ahead < -PAST_US and not replay):
        raise Rejected("clock_out_of_range", "/observed_at")


def clock_in_range(observed_us: Array, kafka_ms: Array, replay: bool) -> Array:
    """Returns for each event whether `check_clock` accepts it."""
    ahead = observed_us - kafka_ms * 1000
    fine: Array = (observed_us >= EARLIEST_US) & (ahead <= FUTURE_US)
    return fine if replay else fine & (ahead >= -PAST_US)


@overload
def is_late(observed_us: int, kafka_ms: int, replay: bool) -> bool: ...
@overload
def is_late(observed_us: Array, kafka_ms: Array, replay: bool) -> Array: ...
def is_late(observed_us: Any, kafka_ms: Any, replay: bool) -> Any:
    """Returns whether an event is late, or for each of many events. In replay mode no event is late."""
    return (kafka_ms * 1000 - observed_us > LATE_US) & (not replay)


def _rejected(value: bytes, message: str) -> Rejected:
    """Returns `schema_invalid` with the path of the fault, or `not_json` if the value is not JSON beyond that fault.

    Args:
        value: the record's value.
        message: the text of msgspec's error. msgspec stops at the first fault, so the rest of the value may be no JSON.
    """
    content = None
    try:
        content = msgspec.json.decode(value)
    except msgspec.ValidationError:
        pass  # a number out of range is valid JSON
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Rejected("not_json")
    found, missing = _AT.match(message), _MISSING.match(message)
    if message.startswith("Object contains unknown field"):
        found = _match_unknown_field(message, content)
    parts = _valid_path(re.split(r"[.\[\]]+", found[found.lastindex or 0]) if found else [], content)
    return Rejected("schema_invalid", "".join(f"/{part}" for part in parts + ([missing.group(1)] if missing else [])))


def _match_unknown_field(message: str, content: Any) -> re.Match[str] | None:
    """Returns the match of a message about an unknown field, or None if the value has no such field at that place.

    The name of the field is chosen by the sender, and may look like the end of a message of msgspec.
    """
    found = _UNKNOWN.fullmatch(message)
    for part in filter(None, re.split(r"[.\[\]]+", found[2])) if found else ():
        try:
            content = content[int(part) if isinstance(content, list) else part]
        except (LookupError, TypeError, ValueError):
            return None
    return found if found and isinstance(content, dict) and found[1] in content else None


def _valid_path(parts: list[str], content: Any) -> list[str]:
    """Returns a path up to its first part that is not a field of the contract or an index of this value.

    A message quotes the name of an unknown field, which is the sender's text and may look like a path of msgspec.
    """
    valid = []
    for part in filter(None, parts):
        if isinstance(content, list) and part.isdecimal() and len(part) < 8 and int(part) < len(content):
            content = content[int(part)]
        elif part in _NAMES and (content is None or isinstance(content, dict)):
            content = None if content is None else content.get(part)
        else:
            break
        valid.append(part)
    return valid
