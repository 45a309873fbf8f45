"""The scenario file: its types, and the checks that its totals agree with each other."""

from __future__ import annotations

import re
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ninezero.schemas.events import Division, Identifier
from ninezero.schemas.faults import describe
from ninezero.schemas.register import Site
from ninezero.streams.errors import UserError

QUARANTINE_DAYS = 14

RECEPTION_SITE = "reception-1"
"""The hall to which transfers deliver travellers."""

Count = Annotated[int, Meta(ge=0, le=10_000_000)]
PositiveCount = Annotated[int, Meta(ge=1, le=10_000_000)]


class ScenarioError(UserError):
    """The scenario file cannot be used. The message says in one line what is wrong and what to do."""


class Published(msgspec.Struct, forbid_unknown_fields=True):
    """The totals with which the report compares the counts."""

    vehicle_checks: PositiveCount
    turned_back: Count
    delivered: Count
    push_batches: PositiveCount
    person_times: PositiveCount
    health_passes: Count
    quarantined: Count
    quarantine_released: Count
    quarantine_remaining: Count
    followed_up: Count
    road_checkpoints: PositiveCount
    village_checkpoints: PositiveCount
    quarantine_sites: PositiveCount


class Invented(msgspec.Struct, forbid_unknown_fields=True):
    """Totals that a replay needs and that were never published, so they are invented."""

    pedestrians: Count
    residents: PositiveCount
    vehicles: PositiveCount
    left_behind: Count = 0
    """People who board a transfer and are never delivered."""


class RoadKind(msgspec.Struct, forbid_unknown_fields=True):
    """The number of road checkpoints of one kind."""

    kind: Identifier
    count: PositiveCount


class Station(msgspec.Struct, forbid_unknown_fields=True):
    """A station where travellers arrive."""

    site_id: Identifier
    mode: Literal["air", "rail", "coach", "ferry"]
    division: Division


class Spec(msgspec.Struct, forbid_unknown_fields=True):
    """A scenario file. `home` and `neighbour` are division codes; `plates` is the prefix of every plate."""

    title: str
    first_day: date
    days: Annotated[int, Meta(ge=QUARANTINE_DAYS + 2, le=400)]
    utc_offset_hours: Annotated[int, Meta(ge=-12, le=14)]
    home: Division
    neighbour: Division
    authority: Identifier
    district: Identifier
    legal_basis: Identifier
    plates: str
    published: Published
    invented: Invented
    road_kinds: list[RoadKind]
    stations: Annotated[list[Station], Meta(min_length=1)]

    def __post_init__(self) -> None:
        p = self.published
        if p.quarantine_released + p.quarantine_remaining != p.quarantined:
            raise ValueError("quarantine_released and quarantine_remaining must add up to quarantined")
        if sum(road.count for road in self.road_kinds) != p.road_checkpoints:
            raise ValueError("the counts of road_kinds must add up to road_checkpoints")
        if p.push_batches > p.person_times or p.turned_back > p.vehicle_checks // 10:
            raise ValueError("push_batches must not exceed person_times, nor turned_back a tenth of vehicle_checks")

    @property
    def last_day(self) -> date:
        """The last local day."""
        return self.first_day + timedelta(days=self.days - 1)

    @property
    def utc_offset(self) -> str:
        """The offset of local times as RFC 3339 writes it, for example `+08:00`."""
        return f"{'-' if self.utc_offset_hours < 0 else '+'}{abs(self.utc_offset_hours):02d}:00"

    def sites(self) -> list[Site]:
        """Returns every checkpoint, station and quarantine site."""
        kinds = [road.kind for road in self.road_kinds for _ in range(road.count)]
        beds = self.published.quarantined // self.published.quarantine_sites + 20
        return [
            *(Site(f"road-{n:02d}", kind, self.home, 0) for n, kind in enumerate(kinds, 1)),
            *(Site(f"village-{n + 1:04d}", "village", self.home, 0) for n in range(self.published.village_checkpoints)),
            *(Site(station.site_id, station.mode, station.division, 0) for station in self.stations),
            Site(RECEPTION_SITE, "reception", self.home, 0),
            *(Site(site, "quarantine", self.home, beds) for site in self.quarantine_sites()),
        ]

    def quarantine_sites(self) -> list[str]:
        """Returns the ids of the quarantine sites."""
        return [f"quarantine-{n + 1}" for n in range(self.published.quarantine_sites)]


def load(path: Path | None = None) -> Spec:
    """Reads a scenario file.

    Args:
        path: the file; None for Jiyang.

    Raises:
        ScenarioError: the file cannot be read, a field is wrong, or its totals contradict each other.
    """
    try:
        source = files("ninezero.agents.demo") / "scenarios" / "jiyang.toml" if path is None else path
        return msgspec.toml.decode(source.read_bytes(), type=Spec)
    except OSError as error:
        raise ScenarioError(f"the scenario cannot be read ({error.strerror}): check the path") from None
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
        raise ScenarioError(
            f"the scenario is not valid: {_describe(error)}: see the examples in agents/demo/scenarios of the repository"
        ) from None


def _describe(error: Exception) -> str:
    """Names the wrong field, or repeats a message of our own. It never quotes the file."""
    ours = re.match(r"[a-z_ ,]+ must [a-z_ ,]+", str(error))  # of Spec.__post_init__
    return ours[0].removesuffix(" - at") if ours else describe(Spec, error)
