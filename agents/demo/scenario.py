"""A scenario: a district's campaign, made from a small file and a seed.

People and vehicles are invented; the totals are those of the file (`agents/demo/scenarios/*.toml`). Everything enters as devices,
stations and authorities would send it: tokens made with a key ring, events on topics, resends, disorder and malformed records
among them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import orjson
from msgspec import Meta

from ninezero.agents.recording.sites import Site
from ninezero.schemas.events import Division, Identifier
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.errors import UserError

QUARANTINE_DAYS = 14
FOLLOWED_DAYS = 5
"""So long somebody who came home is visited every day."""
VISIT_MISSED = 0.004
RESENT = 0.01
"""Share of events that a device sends again, byte for byte."""
MALFORMED = 0.002
"""Malformed records, as a share of good ones."""
READING_MISSED = 0.004
"""Share of the readings in quarantine that nobody takes."""

_HOURS = (1, 1, 1, 1, 2, 4, 8, 12, 11, 9, 8, 7, 6, 7, 8, 9, 11, 12, 8, 5, 3, 2, 1, 1)
_BROKEN = (
    b'{"device_id":"x',
    b"\xff\xfe",
    b"[]",
    b'{"device_id":"road-01-a"}',
    b'{"device_id":"road-01-a","seq":-1,"site_id":"road-01","observed_at":"yesterday","kind":"vehicle","people":[]}',
    b'{"device_id":"road-01-a","seq":1,"site_id":"road-01","observed_at":"2100-01-01T00:00:00Z","kind":"pedestrian",'
    b'"people":[{"role":"pedestrian","tokens":{},"temperature_c":36.5}]}',
)

Sent = tuple[str, bytes, bytes]
"""(topic, key, value)"""

Figure = Annotated[int, Meta(ge=0, le=10_000_000)]
Some = Annotated[int, Meta(ge=1, le=10_000_000)]


class ScenarioError(UserError):
    """The scenario file cannot be used: one line, what is wrong and what to do."""


class Published(msgspec.Struct, forbid_unknown_fields=True):
    """The totals that the report compares with."""

    vehicle_checks: Some
    turned_back: Figure
    delivered: Figure
    push_batches: Some
    person_times: Some
    health_passes: Figure
    quarantined: Figure
    quarantine_released: Figure
    quarantine_remaining: Figure
    followed_up: Figure
    road_checkpoints: Some
    village_checkpoints: Some
    quarantine_sites: Some


class Invented(msgspec.Struct, forbid_unknown_fields=True):
    """What makes it believable, and was published nowhere."""

    pedestrians: Figure
    residents: Some
    vehicles: Some


class RoadKind(msgspec.Struct, forbid_unknown_fields=True):
    """So many road checkpoints of a kind."""

    kind: Identifier
    count: Some


class Station(msgspec.Struct, forbid_unknown_fields=True):
    """A station where travellers arrive."""

    site_id: Identifier
    mode: Literal["air", "rail", "coach", "ferry"]
    division: Division


class Spec(msgspec.Struct, forbid_unknown_fields=True):
    """A scenario file."""

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

    def sites(self) -> list[Site]:
        """Every checkpoint, station and quarantine site."""
        kinds = [road.kind for road in self.road_kinds for _ in range(road.count)]
        beds = self.published.quarantined // self.published.quarantine_sites + 20
        return [
            *(Site(f"road-{n:02d}", kind, self.home, 0) for n, kind in enumerate(kinds, 1)),
            *(Site(f"village-{n + 1:04d}", "village", self.home, 0) for n in range(self.published.village_checkpoints)),
            *(Site(station.site_id, station.mode, station.division, 0) for station in self.stations),
            *(Site(site, "quarantine", self.home, beds) for site in self.quarantine_sites()),
        ]

    def quarantine_sites(self) -> list[str]:
        """Their ids."""
        return [f"quarantine-{n + 1}" for n in range(self.published.quarantine_sites)]


def load(path: Path | None = None) -> Spec:
    """The scenario of a file; without one, Jiyang.

    Raises:
        ScenarioError: it cannot be read, or does not hold together.
    """
    try:
        source = files("ninezero.agents.demo") / "scenarios" / "jiyang.toml" if path is None else path
        return msgspec.toml.decode(source.read_bytes(), type=Spec)
    except OSError as error:
        raise ScenarioError(f"the scenario cannot be read ({error.strerror}): check the path") from None
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
        raise ScenarioError(
            f"the scenario does not hold together: {_fault(error)}; agents/demo/scenarios has examples"
        ) from None


def _fault(error: Exception) -> str:
    """Which field, or our own words; never a piece of the file."""
    text = str(error)
    if "`$" in text:
        where = text.rpartition("`$")[2].rstrip("`").removeprefix(".")
        ours = text.partition(" - at")[0] if "must" in text else "missing or wrong"
        return f"{where or 'a field'}: {ours}"
    return text if "must" in text else "it is no TOML, or has an unknown field"


@dataclass
class Day:
    """What is sent about one local day: batches first, then events in the order in which they reach Kafka.

    `good` events get an outcome; `reports` (dispositions, quarantine, follow-up) get none.
    """

    day: date
    batches: list[Sent] = field(default_factory=list)
    batch_ids: list[str] = field(default_factory=list)
    events: list[Sent] = field(default_factory=list)
    good: int = 0
    reports: list[Sent] = field(default_factory=list)
    resent: int = 0
    malformed: int = 0


class Scenario:
    """Generates the days. The same file, seed and key ring give the same bytes."""

    def __init__(self, spec: Spec, seed: int, ring: KeyRing) -> None:
        self._random = random.Random(seed)  # noqa: S311  # the same seed must give the same days; no key is drawn from it
        self._spec, self._ring = spec, ring
        self._zone = timezone(timedelta(hours=spec.utc_offset_hours))
        self._offset = f"{'-' if spec.utc_offset_hours < 0 else '+'}{abs(spec.utc_offset_hours):02d}:00"
        self._seq: dict[str, int] = {}
        self._sequence: dict[str, int] = {}
        published, residents = spec.published, spec.invented.residents
        self._people = [self._person(n) for n in range(residents)]
        self._plates = [ring.token("plate", f"{spec.plates}{n:05d}") for n in range(spec.invented.vehicles)]
        groups = [
            min(1_000, published.person_times),
            published.health_passes,
            published.turned_back,
            published.delivered,
        ]
        at = residents
        made = []
        for number, size in enumerate(groups):
            made.append([self._person(at + n, passes=number == 1) for n in range(size)])
            at += size
        self._listed, self._holders, self._turned, self._travellers = made
        self._passed: list[dict[str, str]] = []
        self._cases = _Cases(spec, self._random, self._report)

    def days(self) -> Iterator[Day]:
        """The days in order."""
        spec, published = self._spec, self._spec.published
        weights = [1 + 0.02 * n for n in range(spec.days)]
        vehicles = _split(published.vehicle_checks, weights)
        walkers = _split(spec.invented.pedestrians, weights)
        even = [1.0] * spec.days
        travellers, batches = _split(published.delivered, even), _split(published.push_batches, even)
        passes = _split(published.health_passes, [1.0] * 10 + [0.0] * (spec.days - 10))
        turned = _split(published.turned_back, weights)
        lines = self._random.sample(range(1, published.person_times), published.push_batches - 1)
        cuts = [0, *sorted(lines), published.person_times]
        listed, holders, back, arriving = 0, 0, iter(self._turned), iter(self._travellers)
        for n in range(spec.days):
            day = Day(spec.first_day + timedelta(days=n))
            for _ in range(batches[n]):
                people = [self._listed[i % len(self._listed)] for i in range(cuts[listed], cuts[listed + 1])]
                self._push(day, "watch", people)
                listed += 1
            if passes[n]:
                self._push(day, "passes", self._holders[holders : holders + passes[n]])
                holders += passes[n]
                self._passed = self._holders[:holders]
            events = [self._turned_back(day, next(back)) for _ in range(turned[n])]
            events += [self._vehicle(day) for _ in range(vehicles[n] - turned[n])]
            events += [self._pedestrian(day.day) for _ in range(walkers[n])]
            for _ in range(travellers[n]):
                events += self._arrival(day.day, next(arriving))
            self._cases.day(day, n)
            self._disorder(day, events)
            yield day

    def _disorder(self, day: Day, events: list[Sent]) -> None:
        """Nearly in order of time, as late uploads come; some sent again; malformed records among them."""
        rng = self._random
        day.good = len(events)
        again = rng.sample(events, int(len(events) * RESENT))
        broken = [("checkpoint-scans", b"road-01", rng.choice(_BROKEN)) for _ in range(int(len(events) * MALFORMED))]
        day.resent, day.malformed = len(again), len(broken)
        keyed = [(rng.random() * 0.1 + n / len(events), e) for n, e in enumerate(events)]
        keyed += [(0.2 + rng.random() * 0.9, e) for e in (*again, *broken)]
        keyed.sort(key=lambda pair: pair[0])
        day.events = [e for _, e in keyed]
        rng.shuffle(day.reports)

    def _push(self, day: Day, name: str, people: list[dict[str, str]]) -> None:
        sequence = self._sequence[name] = self._sequence.get(name, 0) + 1
        rng, spec = self._random, self._spec
        passes = name == "passes"
        categories = ("close_contact", "risk_region_arrival", "suspected_case", "confirmed_case", "quarantine_order")
        category = "health_pass" if passes else categories[sequence % len(categories)]
        begin = datetime(day.day.year, day.day.month, day.day.day, tzinfo=self._zone)
        batch_id = f"{name}-{sequence:04d}"
        kinds = ("id", "pass") if passes else ("id", "phone")
        batch = {
            "batch_id": batch_id, "authority": spec.authority, "pushed_by": "duty-desk", "list": f"{name}-{category}",
            "category": category, "mode": "delta", "sequence": sequence,
            "issued_at": (begin + timedelta(minutes=rng.randrange(60))).isoformat(),
            "legal_basis": spec.legal_basis, "purpose": "epidemic_control", "declared_lines": len(people),
            "lines": [
                {"line": n + 1, "tokens": {kind: [person[kind]] for kind in kinds}, "valid_from": begin.isoformat(),
                 "valid_to": (begin + timedelta(days=60 if passes else 14)).isoformat()}
                for n, person in enumerate(people)
            ],
        }  # fmt: skip
        day.batches.append(("watchlist-pushes", spec.authority.encode(), orjson.dumps(batch)))
        day.batch_ids.append(batch_id)

    def _vehicle(self, day: Day) -> Sent:
        rng, home = self._random, self._spec.home
        index = rng.randrange(len(self._plates))
        people = [self._shown(self._resident(index), "driver", home)]
        chance, done = rng.random(), ""
        if chance < 0.3:
            people.append(self._shown(self._resident(30_000 + index % 10_000), "passenger", home))
        elif chance < 0.31 and self._passed:
            people.append(self._shown(rng.choice(self._passed), "passenger", home))
        elif chance < 0.313:
            people.append(self._shown(rng.choice(self._listed), "passenger", home))
        elif chance < 0.3135:
            people.append(self._shown(self._resident(index + 1), "passenger", home, 37.3 + rng.randrange(15) / 10))
            done = "referred"
        roads, villages = self._spec.published.road_checkpoints, self._spec.published.village_checkpoints
        road = rng.random() < 0.7
        site = f"road-{rng.randrange(roads) + 1:02d}" if road else f"village-{rng.randrange(villages) + 1:04d}"
        direction = "in" if rng.random() < 0.6 else "out"
        return self._scan(day, site, "vehicle", direction, people, self._plates[index], done)

    def _turned_back(self, day: Day, person: dict[str, str]) -> Sent:
        people = [self._shown(person, "driver", self._spec.neighbour)]
        site = f"road-{self._random.randrange(self._spec.published.road_checkpoints) + 1:02d}"
        return self._scan(day, site, "vehicle", "in", people, None, "turned_back")

    def _pedestrian(self, day: date) -> Sent:
        person = self._people[self._random.randrange(len(self._people))]
        site = f"village-{self._random.randrange(self._spec.published.village_checkpoints) + 1:04d}"
        return self._scan(
            Day(day), site, "pedestrian", "in", [self._shown(person, "pedestrian", self._spec.home)], None
        )

    def _arrival(self, day: date, person: dict[str, str]) -> list[Sent]:
        rng = self._random
        station = self._spec.stations[min(int(rng.random() / 0.8), len(self._spec.stations) - 1)]
        site, mode = station.site_id, station.mode
        transfer = f"t-{rng.getrandbits(40):010x}"
        shown = self._shown(person, "traveller", self._spec.home)
        events = []
        for step, stage in enumerate(("registered", "boarded", "delivered")):
            device = f"{site}-{step}"
            time = f"{day.isoformat()}T{8 + step * 2:02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}{self._offset}"
            text = (
                f'{{"device_id":"{device}","seq":{self._next(device)},"site_id":"{site}","observed_at":"{time}",'
                f'"mode":"{mode}","service":"G{rng.randrange(100, 999)}","stage":"{stage}","transfer_id":"{transfer}",'
                f'"destination":"{self._spec.home}","person":{shown}}}'
            )
            events.append(("station-arrivals", site.encode(), text.encode()))
        return events

    def _scan(
        self, day: Day, site: str, kind: str, direction: str, people: list[str], plate: str | None, done: str = ""
    ) -> Sent:
        """A passage, and what the staff did, if that is to be told."""
        rng = self._random
        hour = rng.choices(range(24), _HOURS)[0]
        device = f"{site}-{'abcd'[rng.randrange(4)]}" if site[0] == "r" else f"{site}-a"
        shown, seq = f'"{plate}"' if plate else "null", self._next(device)
        time = f"{day.day.isoformat()}T{hour:02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}{self._offset}"
        text = (
            f'{{"device_id":"{device}","seq":{seq},"site_id":"{site}","observed_at":"{time}","kind":"{kind}",'
            f'"direction":"{direction}","plate":{shown},"people":[{",".join(people)}]}}'
        )
        if done:
            of = {"device_id": device, "seq": seq}
            day.reports.append(
                self._report("dispositions", site, device, time, site_id=site, of=of, action=done, override=None)
            )
        return "checkpoint-scans", site.encode(), text.encode()

    def _report(self, topic: str, key: str, device: str, time: str, **fields: Any) -> Sent:
        event = {"device_id": device, "seq": self._next(device), "observed_at": time, **fields}
        return topic, key.encode(), orjson.dumps(event)

    def _shown(self, person: dict[str, str], role: str, origin: str, confirmed: float | None = None) -> str:
        """A person as the device sends one; pass holders come from the next district and show their pass."""
        temperature = 35.9 + self._random.randrange(13) / 10
        extra = f',"pass":"{person["pass"]}"' if "pass" in person else ""
        origin = self._spec.neighbour if "pass" in person else origin
        again = "" if confirmed is None else f'"temperature_confirmed_c":{confirmed:.1f},'
        return (
            f'{{"role":"{role}","tokens":{{"id":"{person["id"]}","phone":"{person["phone"]}"{extra}}},'
            f'"temperature_c":{temperature:.1f},{again}"health_code":"green","origin":"{origin}"}}'
        )

    def _resident(self, n: int) -> dict[str, str]:
        return self._people[n % len(self._people)]

    def _person(self, n: int, passes: bool = False) -> dict[str, str]:
        """Tokens of an invented person; the number has the form of an identity number and belongs to nobody."""
        tokens = {
            "id": self._ring.token("id", f"{self._spec.home}{1950 + n % 50}0101{n:05d}"),
            "phone": self._ring.token("phone", f"86139{n:08d}"),
        }
        if passes:
            tokens["pass"] = self._ring.token("pass", f"P{n:06d}")
        return tokens

    def _next(self, device: str) -> int:
        seq = self._seq.get(device, 0)
        self._seq[device] = seq + 1
        return seq


class _Cases:
    """Quarantine and follow-up: who is admitted, read, moved, released; who is visited at home."""

    def __init__(self, spec: Spec, rng: random.Random, report: Callable[..., Sent]) -> None:
        self._spec, self._random, self._report = spec, rng, report
        self._offset = f"{'-' if spec.utc_offset_hours < 0 else '+'}{abs(spec.utc_offset_hours):02d}:00"
        p, last = spec.published, spec.days - 1
        done = [rng.randrange(spec.days - QUARANTINE_DAYS) for _ in range(p.quarantine_released)]
        here = [last - rng.randrange(QUARANTINE_DAYS) for _ in range(p.quarantine_remaining)]
        sites = spec.quarantine_sites()
        self._stays = [(self._case(), rng.choice(sites), first) for first in (*done, *here)]
        self._followed = _split(p.followed_up, [1.0] * (spec.days - 1) + [0.0])
        self._visits: dict[int, list[tuple[str, str, str | None]]] = {}

    def day(self, day: Day, n: int) -> None:
        """The reports of the n-th day."""
        for case, site, first in self._stays:
            if first <= n <= first + QUARANTINE_DAYS:
                day.reports += self._stay(day.day, n - first, case, site)
        for number in range(self._followed[n]):
            case = self._case()
            pushed = day.batch_ids[number % len(day.batch_ids)] if day.batch_ids and number % 2 else None
            self._later(n, case, "opened", pushed)
            for after in range(FOLLOWED_DAYS):
                if self._random.random() >= VISIT_MISSED:
                    self._later(n + after, case, "visit")
            self._later(n + FOLLOWED_DAYS, case, "closed")
        for case, what, pushed in self._visits.pop(n, ()):
            day.reports.append(self._follow(day.day, case, what, pushed))

    def _case(self) -> str:
        return f"c.{self._random.getrandbits(128):032x}"

    def _later(self, n: int, case: str, what: str, pushed: str | None = None) -> None:
        if n < self._spec.days:
            self._visits.setdefault(n, []).append((case, what, pushed))

    def _stay(self, day: date, n: int, case: str, site: str) -> Iterator[Sent]:
        rng = self._random
        blank = {
            "slot": None,
            "temperature_c": None,
            "symptoms": None,
            "to_site_id": None,
            "term_days": None,
            "reason": None,
        }

        def event(hour: int, kind: str, **fields: Any) -> Sent:
            time = f"{day.isoformat()}T{hour:02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}{self._offset}"
            given = {**blank, "case_id": case, "site_id": site, "type": kind, **fields}
            return self._report("quarantine-events", case, f"{site}-a", time, **given)

        if n == 0:
            yield event(7, "admitted", term_days=QUARANTINE_DAYS)
        if n == QUARANTINE_DAYS:
            yield event(9, "released", reason="completed")
            return
        for slot, hour in (("am", 8), ("pm", 15)):
            if rng.random() >= READING_MISSED:
                fever = rng.random() < 0.002
                warm = 37.4 if fever else 36 + rng.randrange(11) / 10
                yield event(hour, "reading", slot=slot, temperature_c=warm, symptoms=fever)

    def _follow(self, day: date, case: str, what: str, pushed: str | None) -> Sent:
        rng = self._random
        hour = {"opened": 8, "visit": 10 + rng.randrange(8), "closed": 19}[what]
        time = f"{day.isoformat()}T{hour:02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}{self._offset}"
        seen = rng.choices(("seen_well", "seen_symptomatic", "not_reached", "refused"), (960, 4, 30, 6))[0]
        fields = {
            "case_id": case, "district": self._spec.district, "type": what, "batch_id": pushed,
            "source": ("push" if pushed else "declared") if what == "opened" else None, "visit": seen if what == "visit" else None,
            "closed": "completed" if what == "closed" else None,
        }  # fmt: skip
        return self._report("followup-events", case, f"{self._spec.district}-team-{rng.randrange(20)}", time, **fields)


def _split(total: int, weights: list[float]) -> list[int]:
    """Whole numbers in proportion to the weights, with the given sum."""
    whole, cuts, reached = sum(weights), [], 0.0
    for weight in weights:
        reached += weight
        cuts.append(round(total * reached / whole))
    return [b - a for a, b in zip([0, *cuts], cuts, strict=False)]
