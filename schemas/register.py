"""Records of the register: what the operators of a deployment state, one record per key `kind|id`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from ninezero.schemas.events.base import Identifier, Seq, Time
from ninezero.schemas.policies import PolicyVersion

FormatNumber = Annotated[int, Meta(ge=1, le=2**31 - 1)]
SiteDivision = Annotated[str, Meta(pattern=r"\A([0-9]{6}([0-9]{3}){0,2})?\Z")]
"""Six digits of GB/T 2260, which three more for a township and three more for a village may follow; empty if the site has none."""


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


class Site(Struct, tag="site", tag_field="record"):
    """A checkpoint, station or quarantine site (key `site|SITE`)."""

    site_id: Identifier
    kind: Identifier
    division: SiteDivision
    capacity: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    """Number of places; 0 if it is unlimited or unknown."""


class CurrentPolicy(Struct, tag="policy", tag_field="record"):
    """The policy that was activated last (key `policy|current`).

    No role is ready as long as the topic `policies` lacks it, so that a topic that was emptied does not bring back older rules.
    """

    policy: Identifier
    version: PolicyVersion
    by: Identifier
    at: Time


RegisterRecord = StatedFormats | SetAside | Site | CurrentPolicy


def register_key(record: RegisterRecord) -> bytes:
    """Returns the key of a record."""
    match record:
        case StatedFormats():
            return b"format|current"
        case SetAside(topic, partition, offset):
            return f"set-aside|{topic}|{partition}|{offset}".encode()
        case Site(site_id):
            return f"site|{site_id}".encode()
        case CurrentPolicy():
            return b"policy|current"
