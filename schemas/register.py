"""Records of the register: what the operators of a deployment state, one record per key `kind|id`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from ninezero.schemas.events.base import Identifier, Seq, Time

FormatNumber = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class StatedFormats(Struct, tag="formats", tag_field="record"):
    """The number in which records of each format are written (key `format|current`).

    It is stated when an upgrade is finished. There is no way back: a release that does not know these numbers cannot start.
    """

    formats: dict[str, FormatNumber]
    release: str
    by: Identifier
    at: Time


class SetAside(Struct, tag="set-aside", tag_field="record"):
    """A record that every role passes over (key `set-aside|TOPIC|PARTITION|OFFSET`); `topic` has no prefix."""

    topic: str
    partition: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    offset: Seq
    by: Identifier
    at: Time


RegisterRecord = StatedFormats | SetAside


def register_key(record: RegisterRecord) -> bytes:
    """Returns the key of a record."""
    if isinstance(record, StatedFormats):
        return b"format|current"
    return f"set-aside|{record.topic}|{record.partition}|{record.offset}".encode()
