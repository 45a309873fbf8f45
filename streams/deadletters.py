"""Records that could not be taken: where they lie and why, never a piece of their content."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas.events import MAX_VALUE_BYTES, DeadLetter, DeadReason, decoder, encode

FUTURE_US = 600 * 1_000_000
"""`observed_at` may be ten minutes after the Kafka timestamp, in µs."""
PAST_US = 13 * 86_400 * 1_000_000
"""… and 13 days before it, except in replay mode."""

EARLIEST_US = 86_400 * 1_000_000
"""Nothing was observed before 2 January 1970: a time before it has no local day that ClickHouse could hold."""

_AT = re.compile(r" - at `\$?([^`]*)`")
_MISSING = re.compile(r"missing required field `([a-z_]+)`")


class Refused(Exception):
    """A record that cannot be taken: reason and JSON Pointer to the fault."""

    def __init__(self, reason: DeadReason, path: str = "") -> None:
        super().__init__(reason)
        self.reason: DeadReason = reason
        self.path = path


def take(kind: Any, value: bytes | None) -> Any:
    """Decodes a value as `kind`.

    Raises:
        Refused: `too_large`, `not_json` or `schema_invalid`, with the path of the fault.
    """
    if value is None:
        raise Refused("not_json")
    if len(value) > MAX_VALUE_BYTES:
        raise Refused("too_large")
    told = ""
    try:
        return decoder(kind).decode(value)
    except msgspec.ValidationError as error:
        told = str(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # Raised here, so that the first error, which quotes the value, is left behind.
    raise _refused(value, told) if told else Refused("not_json")


def check_clock(observed_us: int, kafka_ms: int, replay: bool) -> None:
    """Refuses an `observed_at` (µs) too far from the Kafka timestamp (ms) as `clock_out_of_range`."""
    ahead = observed_us - kafka_ms * 1000
    if observed_us < EARLIEST_US or ahead > FUTURE_US or (ahead < -PAST_US and not replay):
        raise Refused("clock_out_of_range", "/observed_at")


def dead_letter(topic: str, record: Any, refused: Refused) -> bytes:
    """The dead letter of a record, as it goes to the topic `dead-letters`. Its time is the record's own, so that a
    record read twice gives the same letter."""
    value = record.value or b""
    return encode(
        DeadLetter(
            topic=topic,
            partition=record.partition,
            offset=record.offset,
            reason=refused.reason,
            path=refused.path,
            size=len(value),
            sha256=hashlib.sha256(value).hexdigest(),
            at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        )
    )


def _refused(value: bytes, message: str) -> Refused:
    """Tells a value that is not JSON at all from one that breaks the schema (msgspec stops at the first fault)."""
    try:
        msgspec.json.decode(value)
    except msgspec.ValidationError:
        pass  # a number out of range: JSON all the same
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refused("not_json")
    found = _AT.search(message)
    pointer = re.sub(r"[.\[\]]+", "/", found.group(1)).rstrip("/") if found else ""
    missing = _MISSING.search(message)
    # `...` is msgspec's word for a key of a mapping: not a name of the contract.
    parts = [part for part in pointer.split("/") if part] + ([missing.group(1)] if missing else [])
    return Refused("schema_invalid", "".join(f"/{part}" for part in parts))
