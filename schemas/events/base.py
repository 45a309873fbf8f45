"""Shared by all wire types: patterns, limits, the strict base class, and the JSON encoder and decoder.

All values are JSON (UTF-8); times are RFC 3339 with an offset. Decoding a value also validates it: `decoder(Scan).decode(value)`
returns a complete event or raises.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

MAX_VALUE_BYTES = 1 << 20
"""A value of more than 1 MiB is dead-lettered as `too_large` before it is decoded."""

# Eleven digits in a row could be a phone number, so no identifier may hold them.
Identifier = Annotated[str, Meta(pattern=r"\A(?!.*[0-9]{11})[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
IDENTIFIER_FORM = "letters A to Z and a to z, digits, '.', '_' and '-', at most 64, the first a letter or digit, no eleven digits in a row"
"""The form of an identifier, for messages and help texts."""
PolicyLabel = Annotated[str, Meta(pattern=r"\A(?!.*[0-9]{11})[A-Za-z0-9][A-Za-z0-9._-]{0,63}@[1-9][0-9]{0,9}\Z")]
"""A policy, as `NAME@VERSION`."""
PSEUDONYM_PATTERN = r"\A[A-Za-z0-9]{1,16}\.[0-9a-f]{32}\Z"
Token = Annotated[str, Meta(pattern=PSEUDONYM_PATTERN)]
CaseId = Annotated[str, Meta(pattern=r"\Ac\.[0-9a-f]{32}\Z")]
Division = Annotated[str, Meta(pattern=r"\A[0-9]{6}\Z")]
Origin = Annotated[str, Meta(pattern=r"\A([0-9]{6}|[A-Z]{2})\Z")]
Service = Annotated[str, Meta(pattern=r"\A[A-Z0-9]{2,8}\Z")]
Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
TermDays = Annotated[int, Meta(ge=1, le=60)]
"""The length of a quarantine or follow-up in days. The day on which it begins is not counted."""
Time = Annotated[datetime, Meta(tz=True)]
LOOSE_TIME = re.compile(rb':[0-9]{2}(?:\.[0-9]+)?[+-][0-9]{4}"')
"""Finds a time whose offset has no colon (`+0800`) in a value. ISO 8601 allows it, RFC 3339 does not, and msgspec accepts both.

Every value is searched. Colons are rare, so a pattern that starts with one is four times as fast as one that starts with a digit.
"""
Millis = Annotated[int, Meta(ge=0, le=2**32 * 1000 - 1)]
"""Unix time in ms, within the range of ClickHouse's DateTime."""


class StrictMessage(Struct, forbid_unknown_fields=True, gc=False):
    """Base of the messages that devices and authorities send. An unknown field is an error.

    Instances are not tracked by the garbage collector, since they cannot form reference cycles.
    """


def is_identifier(text: str) -> bool:
    """Returns whether a text has the form of an identifier."""
    try:
        msgspec.convert(text, Identifier)
    except msgspec.ValidationError:
        return False
    return True


@cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Returns the JSON decoder of a wire type. Each decoder is built once."""
    return msgspec.json.Decoder(kind)


encode = msgspec.json.Encoder().encode
"""Encodes a wire type as JSON bytes."""
