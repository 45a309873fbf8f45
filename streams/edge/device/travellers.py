"""Passages and people as the staff see them, and how their identities become pseudonyms."""

from datetime import date
from typing import Any, Literal, NamedTuple

import msgspec

from ninezero.schemas.events import Person, Tokens
from ninezero.streams.edge.device.answers import QualityFinding
from ninezero.streams.edge.documents import checks
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.edge.documents.mrz import mrz
from ninezero.streams.edge.documents.normal_forms import Domain, normalise, passport


class Traveller(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One person as the staff see them. Identities are given as written or scanned, in any spelling.

    All fields but `role` are optional. The repr shows the role only, so that no log or traceback holds an identity.

    Attributes:
        role: `driver`, `passenger`, `pedestrian`, or `traveller` (station arrivals).
        id: number of a resident identity card, residence permit or foreigner's permanent residence card.
        passport: passport or travel permit as `STATE/NUMBER`, both as in the MRZ, such as `UTO/L898902C3`.
        mrz: the lines of the machine-readable zone, instead of `passport`.
        phone: phone number; without `+` or `00` it is a Chinese number.
        pass_: number of a health pass; in JSON the field is called `pass`.
        temperature_c: temperature in °C. The workers treat values outside 30.0 to 45.0 as implausible.
        temperature_confirmed_c: a second measurement in °C, which overrides the first.
        health_code: the colour of the health code that was shown.
        origin: six-digit division code (GB/T 2260) or ISO 3166 alpha-2 country code.
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

    def __rich_repr__(self) -> Any:  # rich prints the locals of a traceback with this
        yield "role", self.role


class Passage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One passage as the staff see it. The repr shows the kind only.

    Attributes:
        kind: `vehicle` or `pedestrian`.
        people: 1 to 80 people.
        plate: the vehicle's plate as written.
        direction: `in` or `out`.
    """

    kind: Literal["vehicle", "pedestrian"]
    people: list[Traveller]
    plate: str | None = None
    direction: Literal["in", "out"] = "in"

    def __repr__(self) -> str:
        return f"Passage(kind={self.kind!r}, …)"

    def __rich_repr__(self) -> Any:
        yield "kind", self.kind


class Pseudonymised(NamedTuple):
    """A person without identities, and what was wrong with what was written."""

    person: Person
    findings: list[QualityFinding]


def pseudonymise(traveller: Traveller, ring: KeyRing, today: date, index: int = 0) -> Pseudonymised:
    """Returns the person with tokens in place of identities, and the quality flags of what was written.

    An identity without a normal form gets a flag and no token.

    Args:
        traveller: the person as the staff see them.
        ring: the key ring; its active key makes the tokens.
        today: the date with which birth and expiry dates are compared.
        index: the person's place in the event, from 0.

    Raises:
        KeyRingError: the active key is past its `not_after`.
    """
    findings: list[QualityFinding] = []
    tokens: dict[str, str] = {}
    written: dict[Domain, str | None] = {
        "id": traveller.id,
        "passport": traveller.passport,
        "phone": traveller.phone,
        "pass": traveller.pass_,
    }
    for domain, text in written.items():
        if text is not None:
            findings += [QualityFinding(index, domain, flag) for flag in checks.check(domain, text, today)]
            if normal := normalise(domain, text):
                tokens["pass_" if domain == "pass" else domain] = ring.token(domain, normal)
    if traveller.mrz is not None:
        zone = mrz(traveller.mrz, today)
        findings += [QualityFinding(index, "mrz", flag) for flag in zone.flags]
        if normal := passport(zone.state, zone.number):
            tokens["passport"] = ring.token("passport", normal)
    person = Person(
        role=traveller.role,
        tokens=Tokens(**tokens),
        temperature_c=traveller.temperature_c,
        temperature_confirmed_c=traveller.temperature_confirmed_c,
        health_code=traveller.health_code,
        origin=traveller.origin,
        quality=list(dict.fromkeys(finding.flag for finding in findings)),  # each flag once, in the order found
    )
    return Pseudonymised(person, findings)
