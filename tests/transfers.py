"""Transfer events for tests, by hand or at random, and what CONTRACT §6 says of them: the view and the alerts.

Nothing here shares code with the pipeline.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

Body = dict[str, Any]
"""A transfer event as JSON."""


def transfer_event(
    stage: str, at: datetime, seq: int, *, transfer: str = "t1", site: str = "s1", device: str = "d"
) -> Body:
    """Returns a transfer event."""
    return {
        "transfer_id": transfer, "device_id": device, "seq": seq, "site_id": site, "stage": stage, "observed_at": at.isoformat(),
    }  # fmt: skip


def random_transfers(rng: random.Random, begin: datetime, end: datetime, count: int) -> Iterator[tuple[datetime, Body]]:
    """Yields (about when it is sent, event) of transfers that begin within a period.

    Among them: several people on one transfer, boardings at two sites, deliveries after midnight, after hours, before the boarding
    or never, second contents under one number, a number of a transfer that is used again days later, and deliveries alone.
    """
    for n in range(count):
        device, seq = f"bus-{n % 7}", iter(range(1_000 * n, 1_000 * n + 1_000))
        first = begin + (end - begin) * rng.random()
        if rng.random() < 0.3:  # so that it is delivered on the next day
            first = first.replace(hour=15, minute=40)
        transfer, boarded = f"t-{n % (count - 8):x}", rng.choice([0, 1, 1, 2, 4])
        sites = rng.sample(["s1", "s2", "s3"], 2)
        for _ in range(boarded):
            at = first + timedelta(minutes=rng.choice([0, 0, 3, 50, 400]))
            yield from _sent(
                rng,
                transfer_event(
                    "boarded", at, next(seq), transfer=transfer, site=rng.choice([sites[0], *sites]), device=device
                ),
            )
        for _ in range(rng.choice([0, boarded, boarded, boarded, max(boarded - 1, 0), boarded + 1])):
            at = first + timedelta(minutes=rng.choice([-2, 20, 30, 45, 355, 365, 1_500]))
            yield from _sent(
                rng, transfer_event("delivered", at, next(seq), transfer=transfer, site="hall", device=f"{device}-hall")
            )


def _sent(rng: random.Random, body: Body) -> Iterator[tuple[datetime, Body]]:
    """Yields an event once, or twice, or with another content under its number."""
    at = datetime.fromisoformat(body["observed_at"])
    yield at + timedelta(seconds=rng.choice([1, 2, 900])), body
    if rng.random() < 0.2:
        yield at + timedelta(minutes=rng.choice([1, 60, 600])), body
    if rng.random() < 0.15:
        moved = at + timedelta(hours=rng.choice([-30, -1, 1, 30]))
        other = rng.choice([{"site_id": "s4"}, {"stage": "delivered"}, {"observed_at": moved.isoformat()}])
        yield at + timedelta(seconds=rng.choice([1, 700])), body | other


class Sent(NamedTuple):
    """A transfer event, and the time at which Kafka received it in ms."""

    at_ms: int
    body: Body

    @property
    def observed(self) -> datetime:
        """The time of the event."""
        return datetime.fromisoformat(self.body["observed_at"]).astimezone(UTC)

    def day(self, zone: str) -> date:
        """Returns the local day of the event."""
        return self.observed.astimezone(ZoneInfo(zone)).date()


class Journey(NamedTuple):
    """A transfer with at least one boarding: where and when that was, and the events that count."""

    transfer_id: str
    day: date
    site_id: str
    events: list[Sent]

    def number(self, stage: str, until: datetime | None = None) -> int:
        """Returns how many people were boarded or delivered, up to an instant."""
        return sum(e.body["stage"] == stage and (until is None or e.observed <= until) for e in self.events)

    @property
    def first(self) -> datetime:
        """The time of the first boarding."""
        return min(e.observed for e in self.events if e.body["stage"] == "boarded")


def journeys(sent: Iterable[Sent], zone: str) -> list[Journey]:
    """Returns the transfers that somebody boarded. Of the contents of one number within a transfer the first in Kafka counts."""
    contents: dict[str, dict[tuple[str, int], Sent]] = defaultdict(dict)
    for one in sorted(sent, key=lambda one: one.at_ms):
        contents[one.body["transfer_id"]].setdefault((one.body["device_id"], one.body["seq"]), one)
    found = []
    for transfer, numbers in contents.items():
        boardings = [one for one in numbers.values() if one.body["stage"] == "boarded"]
        if boardings:
            first = min(boardings, key=lambda one: (one.observed, one.body["device_id"], one.body["seq"]))
            found.append(Journey(transfer, first.day(zone), first.body["site_id"], list(numbers.values())))
    return found


def transfers_by_day(found: Iterable[Journey]) -> list[dict[str, Any]]:
    """Returns the rows of the view `transfers_by_day` for some transfers."""
    rows: dict[tuple[date, str], dict[str, Any]] = {}
    for one in found:
        empty = {"day": one.day, "site_id": one.site_id, "transfers": 0, "boarded": 0, "delivered": 0, "missing": 0}
        row = rows.setdefault((one.day, one.site_id), empty)
        boarded, delivered = one.number("boarded"), one.number("delivered")
        for name, n in {
            "transfers": 1,
            "boarded": boarded,
            "delivered": delivered,
            "missing": max(0, boarded - delivered),
        }.items():
            row[name] += n
    return list(rows.values())


def not_delivered(found: Iterable[Journey], hours: float, now: datetime) -> set[tuple[str, str, date]]:
    """Returns the alerts that are due by `now`, as (transfer, site, day)."""
    due = set()
    for one in found:
        end = one.first + timedelta(hours=hours)
        if end <= now and one.number("delivered", end) < one.number("boarded", end):
            due.add((one.transfer_id, one.site_id, one.day))
    return due
