"""What the staff see of a passage, and the pseudonyms of its people."""

from datetime import date
from typing import Any, Literal

import msgspec

from ninezero.schemas.events import Person, QualityFlag, Tokens
from ninezero.streams.edge.documents import checks as identity
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.edge.documents.normal_forms import Domain, normalise, passport


class Traveller(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the staff see of one person. Identities as written or scanned; temperatures in °C.

    `passport` is `STATE/NUMBER` as in the MRZ; `mrz` its lines instead. The repr shows nothing.
    """

    role: Literal["driver", "passenger", "pedestrian", "traveller"]
    id: str | None = None
    passport: str | None = None
    mrz: list[str] | None = None
    phone: str | None = None
    pass_: str | None = msgspec.field(name="pass", default=None)
    temperature_c: float | None = None
    temperature_confirmed_c: float | None = None
    health_code: Literal["green", "yellow", "red", "none"] = "none"
    origin: str | None = None

    def __repr__(self) -> str:
        return f"Traveller(role={self.role!r}, …)"

    def __rich_repr__(self) -> Any:  # rich's tracebacks print locals by this
        yield "role", self.role


class Passage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One passage as the staff see it; `plate` as written. The repr shows nothing."""

    kind: Literal["vehicle", "pedestrian"]
    people: list[Traveller]
    plate: str | None = None
    direction: Literal["in", "out"] = "in"

    def __repr__(self) -> str:
        return f"Passage(kind={self.kind!r}, …)"

    def __rich_repr__(self) -> Any:
        yield "kind", self.kind


def identify(traveller: Traveller, ring: KeyRing, today: date) -> Person:
    """Tokens and quality flags for what was written. What has no normal form has no token, and is flagged."""
    flags: list[QualityFlag] = []
    found: dict[str, str] = {}

    def put(domain: Domain, normal: str | None) -> None:
        if normal:
            found["pass_" if domain == "pass" else domain] = ring.token(domain, normal)

    given: tuple[tuple[Domain, str | None], ...] = (
        ("id", traveller.id), ("passport", traveller.passport), ("phone", traveller.phone), ("pass", traveller.pass_),
    )  # fmt: skip
    for domain, text in given:
        if text is not None:
            flags += identity.check(domain, text, today)
            put(domain, normalise(domain, text))
    if traveller.mrz is not None:
        zone = identity.mrz(traveller.mrz, today)
        flags += zone.flags
        put("passport", passport(zone.state, zone.number))
    return Person(
        role=traveller.role,
        tokens=Tokens(**found),
        temperature_c=traveller.temperature_c,
        temperature_confirmed_c=traveller.temperature_confirmed_c,
        health_code=traveller.health_code,
        origin=traveller.origin,
        quality=list(dict.fromkeys(flags)),  # once each
    )
