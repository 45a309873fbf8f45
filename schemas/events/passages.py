"""Passages at checkpoints and arrivals at stations, as devices send them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from ninezero.schemas.events.base import Division, Identifier, Origin, Seq, Service, StrictMessage, Time, Token

QualityFlag = Literal[
    "empty", "bad_character", "bad_length", "checksum_failed", "bad_date", "birth_in_future", "unknown_division",
    "fifteen_digit", "mrz_number_failed", "mrz_birth_failed", "mrz_expiry_failed", "mrz_optional_failed",
    "mrz_composite_failed", "mrz_format", "document_expired", "no_issuing_state", "phone_invalid", "plate_unrecognised",
]  # fmt: skip
"""A fault that a device found in a document or plate. A flag never changes an outcome."""


class Tokens(StrictMessage):
    """Pseudonyms of one person, one field per domain. A field is absent if the person showed no such document."""

    id: Token | UnsetType = UNSET
    passport: Token | UnsetType = UNSET
    phone: Token | UnsetType = UNSET
    pass_: Token | UnsetType = field(name="pass", default=UNSET)


class Person(StrictMessage):
    """One person in a passage. Temperatures are in °C; `origin` is a six-digit division code or an ISO 3166 alpha-2 code."""

    role: Literal["driver", "passenger", "pedestrian", "traveller"]
    tokens: Tokens
    temperature_c: float | None
    temperature_confirmed_c: float | None = None
    health_code: Literal["green", "yellow", "red", "none"] = "none"
    origin: Origin | None = None
    quality: list[QualityFlag] = field(default_factory=list)


class Scan(StrictMessage):
    """One passage at a checkpoint: a vehicle with 1 to 80 people, or a pedestrian."""

    device_id: Identifier
    seq: Seq
    site_id: Identifier
    observed_at: Time
    kind: Literal["vehicle", "pedestrian"]
    people: Annotated[list[Person], Meta(min_length=1, max_length=80)]
    direction: Literal["in", "out"] = "in"
    plate: Token | None = None


Mode = Literal["air", "rail", "coach", "ferry"]

Stage = Literal["registered", "boarded", "delivered"]


class Arrival(StrictMessage):
    """One traveller at one stage of the way from a station to a destination."""

    device_id: Identifier
    seq: Seq
    site_id: Identifier
    observed_at: Time
    mode: Mode
    service: Service
    stage: Stage
    transfer_id: Identifier | None
    destination: Division | None
    person: Person
