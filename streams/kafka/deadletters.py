"""Records that could not be taken: where they lie and why, never a piece of their content."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from ninezero.schemas import events
from ninezero.schemas.events import LOOSE_TIME, MAX_VALUE_BYTES, DeadLetter, DeadReason, decoder, encode

if TYPE_CHECKING:  # the edge reads dead letters without numpy
    import numpy.typing as npt

    Array = npt.NDArray[Any]

FUTURE_US = 600 * 1_000_000
"""`observed_at` may be ten minutes after the Kafka timestamp, in µs."""
PAST_US = 13 * 86_400 * 1_000_000
"""… and 13 days before it, except in replay mode."""

EARLIEST_US = 86_400 * 1_000_000
"""Nothing was observed before 2 January 1970: a time before it has no local day that ClickHouse could hold."""

_TIMES = {"observed_at", "issued_at", "valid_from", "valid_to", "at"}
_LOOSE_TIME = re.compile(r".*:.*[+-][0-9]{4}")

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
    """A record that cannot be taken: reason and JSON Pointer to the fault."""

    def __init__(self, reason: DeadReason, path: str = "") -> None:
        super().__init__(reason)
        self.reason: DeadReason = reason
        self.path = path


def decode(kind: Any, value: bytes | None) -> Any:
    """Decodes a value as `kind`.

    Raises:
        Refused: `too_large`, `not_json` or `schema_invalid`, with the path of the fault.
    """
    if value is None:
        raise Rejected("not_json")
    if len(value) > MAX_VALUE_BYTES:
        raise Rejected("too_large")
    told = ""
    try:
        made = decoder(kind).decode(value)
        if LOOSE_TIME.search(value):  # decoded first: every name that a path may show is the contract's
            _check_times(msgspec.json.decode(value), "")
        return made
    except msgspec.ValidationError as error:
        told = str(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # Raised here, so that the first error, which quotes the value, is left behind.
    raise _refused(value, told) if told else Rejected("not_json")


def _check_times(item: Any, path: str) -> None:
    """Refuses a time whose offset has no colon."""
    for key, inner in item.items() if isinstance(item, dict) else enumerate(item):
        if isinstance(inner, dict | list):
            _check_times(inner, f"{path}/{key}")
        elif key in _TIMES and isinstance(inner, str) and _LOOSE_TIME.fullmatch(inner):
            raise Rejected("schema_invalid", f"{path}/{key}")


def check_clock(observed_us: int, kafka_ms: int, replay: bool) -> None:
    """Refuses an `observed_at` (µs) too far from the Kafka timestamp (ms) as `clock_out_of_range`."""
    ahead = observed_us - kafka_ms * 1000
    if observed_us < EARLIEST_US or ahead > FUTURE_US or (ahead < -PAST_US and not replay):
        raise Rejected("clock_out_of_range", "/observed_at")


def clock_in_range(observed_us: Array, kafka_ms: Array, replay: bool) -> Array:
    """Of each event whether `check_clock` says nothing."""
    ahead = observed_us - kafka_ms * 1000
    fine: Array = (observed_us >= EARLIEST_US) & (ahead <= FUTURE_US)
    return fine if replay else fine & (ahead >= -PAST_US)


def dead_letter(topic: str, partition: int, record: Any, refused: Rejected) -> bytes:
    """The dead letter of a record, as it goes to the topic `dead-letters`. Its time is the record's own, so that a
    record read twice gives the same letter."""
    value = record.value or b""
    return encode(
        DeadLetter(
            topic=topic,
            partition=partition,
            offset=record.offset,
            reason=refused.reason,
            path=refused.path,
            size=len(value),
            sha256=hashlib.sha256(value).hexdigest(),
            at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        )
    )


def _refused(value: bytes, message: str) -> Rejected:
    """Tells a value that is not JSON at all from one that breaks the schema (msgspec stops at the first fault)."""
    content = None
    try:
        content = msgspec.json.decode(value)
    except msgspec.ValidationError:
        pass  # a number out of range: JSON all the same
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Rejected("not_json")
    found, missing = _AT.match(message), _MISSING.match(message)
    if message.startswith("Object contains unknown field"):
        found = _unknown(message, content)
    parts = _real(re.split(r"[.\[\]]+", found[found.lastindex or 0]) if found else [], content)
    return Rejected("schema_invalid", "".join(f"/{part}" for part in parts + ([missing.group(1)] if missing else [])))


def _unknown(message: str, content: Any) -> re.Match[str] | None:
    """Where the message says that a field is which nobody knows, if it really is there: its name may read like a place."""
    found = _UNKNOWN.fullmatch(message)
    for part in filter(None, re.split(r"[.\[\]]+", found[2])) if found else ():
        try:
            content = content[int(part) if isinstance(content, list) else part]
        except (LookupError, TypeError, ValueError):
            return None
    return found if found and isinstance(content, dict) and found[1] in content else None


def _real(parts: list[str], content: Any) -> list[str]:
    """The path as far as it is one of the contract's, and of this value.

    The message quotes an unknown field's name, which is the sender's text and may read like a path of msgspec's.
    """
    real = []
    for part in filter(None, parts):
        if isinstance(content, list) and part.isdecimal() and len(part) < 8 and int(part) < len(content):
            content = content[int(part)]
        elif part in _NAMES and (content is None or isinstance(content, dict)):
            content = None if content is None else content.get(part)
        else:
            break
        real.append(part)
    return real
