"""The Jiyang scenario: one district, 24 January to 10 March 2020, made from a seed.

People and vehicles are invented; the totals are those that the district published (see README). Everything enters as
devices, stations and authorities would send it: tokens made with a key ring, events on topics, resends, disorder and
malformed records among them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone

import orjson

from streams.edge.pseudonyms import KeyRing

FIRST_DAY, DAYS = date(2020, 1, 24), 47
LOCAL = timezone(timedelta(hours=8))

VEHICLE_CHECKS = 370_000
TURNED_BACK = 8
DELIVERED = 1_343
BATCHES, PERSON_TIMES = 167, 1_260
PASSES = 1_500
PEDESTRIANS = 12_000
"""The article gives no number of pedestrians; this one makes the village checkpoints believable."""

ROADS = ("national_road",) * 3 + ("expressway",) * 5 + ("public_security",)
VILLAGES = 1_200

RESENT = 0.01
"""Share of events that a device sends again, byte for byte."""
MALFORMED = 0.002
"""Malformed records, as a share of good ones."""

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


@dataclass
class Day:
    """What is sent about one local day: batches first, then events in the order in which they reach Kafka."""

    day: date
    batches: list[Sent] = field(default_factory=list)
    batch_ids: list[str] = field(default_factory=list)
    events: list[Sent] = field(default_factory=list)
    good: int = 0
    resent: int = 0
    malformed: int = 0


class Jiyang:
    """Generates the days. The same seed and key ring give the same bytes."""

    def __init__(self, seed: int, ring: KeyRing) -> None:
        self._random = random.Random(seed)  # noqa: S311  # a scenario, not a secret
        self._ring = ring
        self._seq: dict[str, int] = {}
        self._sequence: dict[str, int] = {}
        self._people = [self._person(n) for n in range(40_000)]
        self._plates = [self._plate(n) for n in range(30_000)]
        self._listed = [self._person(50_000 + n) for n in range(1_000)]
        self._holders = [self._person(60_000 + n) for n in range(PASSES)]
        self._passed: list[dict[str, str]] = []
        self._turned = [self._person(70_000 + n) for n in range(TURNED_BACK)]
        self._travellers = [self._person(80_000 + n) for n in range(DELIVERED)]

    @staticmethod
    def sites() -> list[tuple[str, str, str, int]]:
        """(site_id, kind, division, capacity) of every checkpoint and station."""
        roads = [(f"road-{n + 1:02d}", kind, "370115", 0) for n, kind in enumerate(ROADS)]
        villages = [(f"village-{n + 1:04d}", "village", "370115", 0) for n in range(VILLAGES)]
        return [*roads, *villages, ("station-east", "rail", "370112", 0), ("station-air", "air", "370112", 0)]

    def days(self) -> Iterator[Day]:
        """The days in order."""
        weights = [1 + 0.02 * n for n in range(DAYS)]
        vehicles, walkers = _split(VEHICLE_CHECKS, weights), _split(PEDESTRIANS, weights)
        travellers, batches = _split(DELIVERED, [1.0] * DAYS), _split(BATCHES, [1.0] * DAYS)
        lines = self._random.sample(range(1, PERSON_TIMES), BATCHES - 1)
        cuts = [0, *sorted(lines), PERSON_TIMES]
        turned = dict.fromkeys(self._random.sample(range(DAYS), TURNED_BACK), 1)
        done_batches = done_travellers = done_turned = 0
        for n in range(DAYS):
            day = Day(FIRST_DAY + timedelta(days=n))
            for _ in range(batches[n]):
                self._push(
                    day,
                    "watch",
                    [self._listed[i % len(self._listed)] for i in range(cuts[done_batches], cuts[done_batches + 1])],
                )
                done_batches += 1
            if n < 10:
                self._push(day, "passes", self._holders[n * 150 : (n + 1) * 150])
                self._passed = self._holders[: (n + 1) * 150]
            events: list[Sent] = []
            turned_today = turned.get(n, 0)
            for _ in range(vehicles[n] - turned_today):
                events.append(self._vehicle(day.day))
            for _ in range(turned_today):
                events.append(self._turned_back(day.day, self._turned[done_turned]))
                done_turned += 1
            events.extend(self._pedestrian(day.day) for _ in range(walkers[n]))
            for _ in range(travellers[n]):
                events.extend(self._arrival(day.day, self._travellers[done_travellers]))
                done_travellers += 1
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

    def _push(self, day: Day, name: str, people: list[dict[str, str]]) -> None:
        sequence = self._sequence[name] = self._sequence.get(name, 0) + 1
        rng = self._random
        passes = name == "passes"
        categories = ("close_contact", "risk_region_arrival", "suspected_case", "confirmed_case", "quarantine_order")
        category = "health_pass" if passes else categories[sequence % len(categories)]
        begin = datetime(day.day.year, day.day.month, day.day.day, tzinfo=LOCAL)
        batch_id = f"{name}-{sequence:04d}"
        kinds = ("id", "pass") if passes else ("id", "phone")
        batch = {
            "batch_id": batch_id, "authority": "jiyang-health", "pushed_by": "duty-desk", "list": f"{name}-{category}",
            "category": category, "mode": "delta", "sequence": sequence,
            "issued_at": (begin + timedelta(minutes=rng.randrange(60))).isoformat(),
            "legal_basis": "order-2020-01", "purpose": "epidemic_control", "declared_lines": len(people),
            "lines": [
                {"line": n + 1, "tokens": {kind: [person[kind]] for kind in kinds}, "valid_from": begin.isoformat(),
                 "valid_to": (begin + timedelta(days=60 if passes else 14)).isoformat()}
                for n, person in enumerate(people)
            ],
        }  # fmt: skip
        day.batches.append(("watchlist-pushes", b"jiyang-health", orjson.dumps(batch)))
        day.batch_ids.append(batch_id)

    def _vehicle(self, day: date) -> Sent:
        rng = self._random
        index = rng.randrange(30_000)
        people = [self._shown(self._people[index], "driver", "370115")]
        chance = rng.random()
        if chance < 0.3:
            people.append(self._shown(self._people[30_000 + index % 10_000], "passenger", "370115"))
        elif chance < 0.31:
            people.append(self._shown(rng.choice(self._passed), "passenger", "370115"))
        elif chance < 0.313:
            people.append(self._shown(rng.choice(self._listed), "passenger", "370115"))
        elif chance < 0.3135:
            people.append(self._shown(self._people[index + 1], "passenger", "370115", 37.3 + rng.randrange(15) / 10))
        site = (
            f"road-{rng.randrange(9) + 1:02d}" if rng.random() < 0.7 else f"village-{rng.randrange(VILLAGES) + 1:04d}"
        )
        return self._scan(day, site, "vehicle", "in" if rng.random() < 0.6 else "out", people, self._plates[index])

    def _turned_back(self, day: date, person: dict[str, str]) -> Sent:
        people = [self._shown(person, "driver", "370124")]
        return self._scan(day, f"road-{self._random.randrange(9) + 1:02d}", "vehicle", "in", people, None)

    def _pedestrian(self, day: date) -> Sent:
        person = self._people[self._random.randrange(40_000)]
        site = f"village-{self._random.randrange(VILLAGES) + 1:04d}"
        return self._scan(day, site, "pedestrian", "in", [self._shown(person, "pedestrian", "370115")], None)

    def _arrival(self, day: date, person: dict[str, str]) -> list[Sent]:
        rng = self._random
        site, mode = ("station-east", "rail") if rng.random() < 0.8 else ("station-air", "air")
        transfer = f"t-{rng.getrandbits(40):010x}"
        shown = self._shown(person, "traveller", "370115")
        events = []
        for step, stage in enumerate(("registered", "boarded", "delivered")):
            device = f"{site}-{step}"
            time = f"{day.isoformat()}T{8 + step * 2:02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}+08:00"
            text = (
                f'{{"device_id":"{device}","seq":{self._next(device)},"site_id":"{site}","observed_at":"{time}",'
                f'"mode":"{mode}","service":"G{rng.randrange(100, 999)}","stage":"{stage}","transfer_id":"{transfer}",'
                f'"destination":"370115","person":{shown}}}'
            )
            events.append(("station-arrivals", site.encode(), text.encode()))
        return events

    def _scan(self, day: date, site: str, kind: str, direction: str, people: list[str], plate: str | None) -> Sent:
        rng = self._random
        hour = rng.choices(range(24), _HOURS)[0]
        device = f"{site}-{'abcd'[rng.randrange(4)]}" if site[0] == "r" else f"{site}-a"
        shown = f'"{plate}"' if plate else "null"
        text = (
            f'{{"device_id":"{device}","seq":{self._next(device)},"site_id":"{site}","observed_at":"{day.isoformat()}T'
            f'{hour:02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}+08:00","kind":"{kind}","direction":"{direction}",'
            f'"plate":{shown},"people":[{",".join(people)}]}}'
        )
        return "checkpoint-scans", site.encode(), text.encode()

    def _shown(self, person: dict[str, str], role: str, origin: str, confirmed: float | None = None) -> str:
        """A person as the device sends one; pass holders come from the next district and show their pass."""
        temperature = 35.9 + self._random.randrange(13) / 10
        extra = f',"pass":"{person["pass"]}"' if "pass" in person else ""
        origin = "370124" if "pass" in person else origin
        again = "" if confirmed is None else f'"temperature_confirmed_c":{confirmed:.1f},'
        return (
            f'{{"role":"{role}","tokens":{{"id":"{person["id"]}","phone":"{person["phone"]}"{extra}}},'
            f'"temperature_c":{temperature:.1f},{again}"health_code":"green","origin":"{origin}"}}'
        )

    def _person(self, n: int) -> dict[str, str]:
        """Tokens of an invented person; the number has the form of an identity number and belongs to nobody."""
        tokens = {
            "id": self._ring.token("id", f"370115{1950 + n % 50}0101{n:05d}"),
            "phone": self._ring.token("phone", f"86139{n:08d}"),
        }
        if 60_000 <= n < 60_000 + PASSES:
            tokens["pass"] = self._ring.token("pass", f"JY{n:06d}")
        return tokens

    def _plate(self, n: int) -> str:
        return self._ring.token("plate", f"鲁A{n:05d}")

    def _next(self, device: str) -> int:
        seq = self._seq.get(device, 0)
        self._seq[device] = seq + 1
        return seq


def _split(total: int, weights: list[float]) -> list[int]:
    """Whole numbers in proportion to the weights, with the given sum."""
    whole, cuts, reached = sum(weights), [], 0.0
    for weight in weights:
        reached += weight
        cuts.append(round(total * reached / whole))
    return [b - a for a, b in zip([0, *cuts], cuts, strict=False)]
