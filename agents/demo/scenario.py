"""A scenario: all records of a district's campaign, made from a scenario file and a seed.

People and vehicles are invented; the totals are those of the file (`agents/demo/scenarios/*.toml`). Records are what devices, stations
and authorities would send: tokens made with a key ring, events with their topics, resends, late uploads and malformed records.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from itertools import islice, pairwise
from typing import Any

import orjson

from ninezero.agents.demo.case_events import CaseEvents
from ninezero.agents.demo.records import Day, split
from ninezero.agents.demo.scenario_file import Spec
from ninezero.agents.demo.transfers import TransferEvents
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.records import OutgoingRecord
from ninezero.streams.kafka.topics import Topic

RESENT = 0.01
"""Fraction of events that a device sends again, byte for byte."""
MALFORMED = 0.002
"""Malformed records, as a fraction of the valid events."""

_HOURS = (1, 1, 1, 1, 2, 4, 8, 12, 11, 9, 8, 7, 6, 7, 8, 9, 11, 12, 8, 5, 3, 2, 1, 1)
"""Weight of each hour of the day."""
_MALFORMED_VALUES = (
    b'{"device_id":"x',
    b"\xff\xfe",
    b"[]",
    b'{"device_id":"road-01-a"}',
    b'{"device_id":"road-01-a","seq":-1,"site_id":"road-01","observed_at":"yesterday","kind":"vehicle","people":[]}',
    b'{"device_id":"road-01-a","seq":1,"site_id":"road-01","observed_at":"2100-01-01T00:00:00Z","kind":"pedestrian",'
    b'"people":[{"role":"pedestrian","tokens":{},"temperature_c":36.5}]}',
)

Tokens = dict[str, str]
"""The tokens of one person, by domain."""


class Scenario:
    """Generates the records of each day. The same file, seed and key ring give the same bytes."""

    def __init__(self, spec: Spec, seed: int, ring: KeyRing) -> None:
        self._random = random.Random(seed)  # noqa: S311  # invented data that a seed must reproduce; no secret is drawn from it
        self._spec, self._ring = spec, ring
        self._zone = timezone(timedelta(hours=spec.utc_offset_hours))
        self._offset = spec.utc_offset
        self._seq: dict[str, int] = {}
        self._sequence: dict[str, int] = {}
        published, residents = spec.published, spec.invented.residents
        self._people = [self._person(n) for n in range(residents)]
        self._plates = [ring.token("plate", f"{spec.plates}{n:05d}") for n in range(spec.invented.vehicles)]
        self._next_person = residents
        self._listed = self._new_people(min(1_000, published.person_times))
        self._pass_holders = self._new_people(published.health_passes, passes=True)
        self._turned = self._new_people(published.turned_back)
        self._travellers = self._new_people(published.delivered)
        self._left_behind = self._new_people(spec.invented.left_behind)
        self._pushed_holders: list[Tokens] = []
        self._cases = CaseEvents(spec, self._random, self._report)
        self._transfers = TransferEvents(
            spec, self._random, self._next_seq, lambda tokens: self._person_json(tokens, "traveller", spec.home)
        )

    def days(self) -> Iterator[Day]:
        """Yields the days in order."""
        spec, published = self._spec, self._spec.published
        rising, even = [1 + 0.02 * n for n in range(spec.days)], [1.0] * spec.days
        vehicles, turned = split(published.vehicle_checks, rising), split(published.turned_back, rising)
        pedestrians, travellers = split(spec.invented.pedestrians, rising), split(published.delivered, even)
        # Nobody is left behind on the last days, so that the events of later days show that their time is over.
        left = split(spec.invented.left_behind, [*even[2:], 0.0, 0.0])
        batches = split(published.push_batches, even)
        passes = split(published.health_passes, [1.0] * 10 + [0.0] * (spec.days - 10))
        batch_sizes = iter(self._batch_sizes())
        listed, holders, turned_back = 0, 0, iter(self._turned)
        arriving, missing = iter(self._travellers), iter(self._left_behind)
        for n in range(spec.days):
            day = Day(spec.first_day + timedelta(days=n))
            for _ in range(batches[n]):
                size = next(batch_sizes)
                self._push(day, "watch", [self._listed[i % len(self._listed)] for i in range(listed, listed + size)])
                listed += size
            if passes[n]:
                self._push(day, "passes", self._pass_holders[holders : holders + passes[n]])
                holders += passes[n]
                self._pushed_holders = self._pass_holders[:holders]
            events = [self._turned_back(day, next(turned_back)) for _ in range(turned[n])]
            events += [self._vehicle(day) for _ in range(vehicles[n] - turned[n])]
            events += [self._pedestrian(day.day) for _ in range(pedestrians[n])]
            coaches = self._transfers.transfers(list(islice(arriving, travellers[n])), list(islice(missing, left[n])))
            for coach in coaches:
                events += self._transfers.arrivals(day.day, coach)
            day.transfers, day.left_behind = len(coaches), left[n]
            self._cases.add_to(day, n)
            self._disturb(day, events)
            yield day

    def _batch_sizes(self) -> list[int]:
        """Returns the number of lines of each pushed batch: random numbers of at least one, which add up to all
        person-times."""
        published = self._spec.published
        cuts = sorted(self._random.sample(range(1, published.person_times), published.push_batches - 1))
        return [end - first for first, end in pairwise([0, *cuts, published.person_times])]

    def _disturb(self, day: Day, events: list[OutgoingRecord]) -> None:
        """Adds the events to the day as they reach Kafka: slightly out of order, some of them twice, with malformed records."""
        rng = self._random
        day.valid = len(events)
        resent = rng.sample(events, int(len(events) * RESENT))
        malformed = [
            OutgoingRecord(topics.SCANS, b"road-01", rng.choice(_MALFORMED_VALUES))
            for _ in range(int(len(events) * MALFORMED))
        ]
        day.resent, day.malformed = len(resent), len(malformed)
        keyed = [(rng.random() * 0.1 + n / len(events), e) for n, e in enumerate(events)]
        keyed += [(0.2 + rng.random() * 0.9, e) for e in (*resent, *malformed)]
        keyed.sort(key=lambda pair: pair[0])
        day.events = [e for _, e in keyed]
        day.reports.sort(key=lambda report: str(orjson.loads(report.value or b"")["observed_at"]))

    def _push(self, day: Day, name: str, people: list[Tokens]) -> None:
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
        day.batches.append(OutgoingRecord(topics.PUSHES, spec.authority.encode(), orjson.dumps(batch)))
        day.batch_ids.append(batch_id)

    def _vehicle(self, day: Day) -> OutgoingRecord:
        rng, home = self._random, self._spec.home
        index = rng.randrange(len(self._plates))
        people = [self._person_json(self._resident(index), "driver", home)]
        chance, done = rng.random(), ""
        if chance < 0.3:
            people.append(self._person_json(self._resident(30_000 + index % 10_000), "passenger", home))
        elif chance < 0.31 and self._pushed_holders:
            people.append(self._person_json(rng.choice(self._pushed_holders), "passenger", home))
        elif chance < 0.313:
            people.append(self._person_json(rng.choice(self._listed), "passenger", home))
        elif chance < 0.3135:
            people.append(
                self._person_json(self._resident(index + 1), "passenger", home, 37.3 + rng.randrange(15) / 10)
            )
            done = "referred"
        roads, villages = self._spec.published.road_checkpoints, self._spec.published.village_checkpoints
        road = rng.random() < 0.7
        site = f"road-{rng.randrange(roads) + 1:02d}" if road else f"village-{rng.randrange(villages) + 1:04d}"
        direction = "in" if rng.random() < 0.6 else "out"
        return self._scan(day, site, "vehicle", direction, people, self._plates[index], done)

    def _turned_back(self, day: Day, person: Tokens) -> OutgoingRecord:
        people = [self._person_json(person, "driver", self._spec.neighbour)]
        site = f"road-{self._random.randrange(self._spec.published.road_checkpoints) + 1:02d}"
        return self._scan(day, site, "vehicle", "in", people, None, "turned_back")

    def _pedestrian(self, day: date) -> OutgoingRecord:
        person = self._people[self._random.randrange(len(self._people))]
        site = f"village-{self._random.randrange(self._spec.published.village_checkpoints) + 1:04d}"
        return self._scan(
            Day(day), site, "pedestrian", "in", [self._person_json(person, "pedestrian", self._spec.home)], None
        )

    def _scan(
        self, day: Day, site: str, kind: str, direction: str, people: list[str], plate: str | None, done: str = ""
    ) -> OutgoingRecord:
        """Returns a scan; if `done` is given, also appends a disposition with that action to the reports of the day."""
        rng = self._random
        hour = rng.choices(range(24), _HOURS)[0]
        device = f"{site}-{'abcd'[rng.randrange(4)]}" if site[0] == "r" else f"{site}-a"
        plate_json, seq = f'"{plate}"' if plate else "null", self._next_seq(device)
        time = f"{day.day.isoformat()}T{hour:02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}{self._offset}"
        text = (
            f'{{"device_id":"{device}","seq":{seq},"site_id":"{site}","observed_at":"{time}","kind":"{kind}",'
            f'"direction":"{direction}","plate":{plate_json},"people":[{",".join(people)}]}}'
        )
        if done:
            of = {"device_id": device, "seq": seq}
            day.reports.append(
                self._report(topics.DISPOSITIONS, site, device, time, site_id=site, of=of, action=done, override=None)
            )
        return OutgoingRecord(topics.SCANS, site.encode(), text.encode())

    def _report(self, topic: Topic, key: str, device: str, time: str, **fields: Any) -> OutgoingRecord:
        event = {"device_id": device, "seq": self._next_seq(device), "observed_at": time, **fields}
        return OutgoingRecord(topic, key.encode(), orjson.dumps(event))

    def _person_json(self, person: Tokens, role: str, origin: str, confirmed: float | None = None) -> str:
        """Returns a person as a device sends one. Pass holders come from the neighbouring district and show their pass."""
        temperature = 35.9 + self._random.randrange(13) / 10
        extra = f',"pass":"{person["pass"]}"' if "pass" in person else ""
        origin = self._spec.neighbour if "pass" in person else origin
        second_reading = "" if confirmed is None else f'"temperature_confirmed_c":{confirmed:.1f},'
        return (
            f'{{"role":"{role}","tokens":{{"id":"{person["id"]}","phone":"{person["phone"]}"{extra}}},'
            f'"temperature_c":{temperature:.1f},{second_reading}"health_code":"green","origin":"{origin}"}}'
        )

    def _resident(self, n: int) -> Tokens:
        return self._people[n % len(self._people)]

    def _new_people(self, count: int, passes: bool = False) -> list[Tokens]:
        """Returns the tokens of people who are not among the residents, nor among the people returned before."""
        first = self._next_person
        self._next_person += count
        return [self._person(first + n, passes) for n in range(count)]

    def _person(self, n: int, passes: bool = False) -> Tokens:
        """Returns the tokens of an invented person. The identity number has a valid form and belongs to nobody."""
        tokens = {
            "id": self._ring.token("id", f"{self._spec.home}{1950 + n % 50}0101{n:05d}"),
            "phone": self._ring.token("phone", f"86139{n:08d}"),
        }
        if passes:
            tokens["pass"] = self._ring.token("pass", f"P{n:06d}")
        return tokens

    def _next_seq(self, device: str) -> int:
        seq = self._seq.get(device, 0)
        self._seq[device] = seq + 1
        return seq
