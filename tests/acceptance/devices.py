"""Devices that send random scans, arrivals and malformed records."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from . import oracle
from .authorities import Crowd, Window
from .garbage import garbage
from .oracle import ARRIVALS, DAY, MIB, MINUTE, SCANS, SECOND
from .rendering import MS, render, rfc3339

TEMPERATURES = (None, None, 29.9, 30.0, 30, 36.5, 36.5, 36.6, 37, 37.2, 37.3, 37.3, 38.4, 45.0, 45, 45.1)
MAD_TEMPERATURES = (-400, 0, -0.5, 1e3, 1e300, 99999999)
ORIGINS = (None, "370115", "370115", "370102", "370181", "370199", "420106", "999999", "000000", "CN", "US", "HK", "TW")


@dataclass
class Devices:
    """Devices at checkpoints and stations. Each has one counter for all topics."""

    rng: random.Random
    run: str
    crowd: Crowd
    base: int
    good: list[Window]
    sites: int = 6
    seqs: dict[str, int] = field(default_factory=dict)

    def checkpoints(self) -> list[str]:
        return [f"{self.run}-cp{n}" for n in range(self.sites)]

    def stations(self) -> list[str]:
        return [f"{self.run}-st{n}" for n in range(2)]

    def _event(self, sites: list[str], observed_at: int) -> dict[str, Any]:
        rng = self.rng
        home = rng.choice(sites)
        device = f"{home}_d{rng.randrange(2)}"
        seq = self.seqs.get(device, 0)
        self.seqs[device] = seq + 1
        site = home if rng.random() < 0.95 else rng.choice(sites)
        return {"device_id": device, "seq": seq, "site_id": site, "observed_at": rfc3339(observed_at, rng)}

    def when(self) -> int:
        """Returns a time within the clock limits: mostly now, often late, sometimes ahead. Whole milliseconds."""
        rng, now = self.rng, int(time.time() * 1000) * MS
        chance = rng.random()
        if chance < 0.65:
            return now - rng.randrange(90 * SECOND) // MS * MS
        if chance < 0.75:
            return now - rng.randrange(9 * MINUTE, 12 * MINUTE) // MS * MS
        if chance < 0.9:
            return now - rng.randrange(12 * MINUTE, 12 * DAY) // MS * MS
        if chance < 0.93:
            return now - 13 * DAY + 15 * MINUTE
        return now + rng.randrange(9 * MINUTE) // MS * MS

    def never(self) -> int:
        """Returns a time outside the clock limits."""
        rng, now = self.rng, int(time.time() * 1000) * MS
        ahead = now + 16 * MINUTE + rng.randrange(3 * DAY) // SECOND * SECOND
        behind = now - 13 * DAY - MINUTE - rng.randrange(3 * DAY) // SECOND * SECOND
        return rng.choice((ahead, behind, 0, 4_102_444_800 * SECOND))

    def _tokens(self) -> dict[str, str]:
        rng, crowd = self.rng, self.crowd
        chance = rng.random()
        if chance < 0.06:
            return {}
        person = rng.choice(crowd.people) if chance < 0.8 else crowd.stranger()
        key_id = rng.choices(("k1", "k2", "k9"), (30, 1, 1))[0]
        keep = 0.9 if rng.random() < 0.6 else 0.4
        return {kind: crowd.token(kind, text, key_id) for kind, text in person.items() if rng.random() < keep}

    def person(self, role: str) -> dict[str, Any]:
        rng = self.rng
        calm = rng.random() < 0.5  # else clear outcomes would be rare
        person: dict[str, Any] = {"role": role, "tokens": self._tokens()}
        person["temperature_c"] = 36.4 if calm else rng.choice(TEMPERATURES)
        if not calm and rng.random() < 0.02:
            person["temperature_c"] = rng.choice(MAD_TEMPERATURES)
        if not calm and rng.random() < 0.4:
            person["temperature_confirmed_c"] = rng.choice(TEMPERATURES)
        if rng.random() < 0.5:
            person["health_code"] = "green" if calm else rng.choice(("green", "none", "yellow", "red"))
        if rng.random() < 0.6:
            person["origin"] = rng.choice((None, "370115", "CN")) if calm else rng.choice(ORIGINS)
        if rng.random() < 0.2:
            person["quality"] = rng.sample(oracle.FLAGS, rng.randint(0, 3))
        return person

    def scan(self, observed_at: int | None = None) -> dict[str, Any]:
        rng = self.rng
        event = self._event(self.checkpoints(), self.when() if observed_at is None else observed_at)
        vehicle = rng.random() < 0.7
        count = rng.choices((1, 2, 4, 20, 80), (60, 25, 10, 2, 0.3))[0] if vehicle else 1
        roles = ["driver"] + ["passenger"] * (count - 1) if vehicle else ["pedestrian"]
        event |= {"kind": "vehicle" if vehicle else "pedestrian", "people": [self.person(role) for role in roles]}
        if rng.random() < 0.6:
            event["direction"] = rng.choice(("in", "in", "out"))
        if vehicle and rng.random() < 0.5:
            chance = rng.random()
            text = rng.choice(self.crowd.plates) if chance < 0.6 else f"鲁B{rng.randrange(10**5):05d}"
            event["plate"] = self.crowd.token("plate", text, "k9" if rng.random() < 0.05 else "k1")
        elif rng.random() < 0.2:
            event["plate"] = None
        return event

    def arrival(self, observed_at: int | None = None) -> dict[str, Any]:
        rng = self.rng
        event = self._event(self.stations(), self.when() if observed_at is None else observed_at)
        return event | {
            "mode": rng.choice(("air", "rail", "coach", "ferry")),
            "service": rng.choice(("G12", "MU5101", "K8", "12345678", "AB")),
            "stage": rng.choice(("registered", "boarded", "delivered")),
            "transfer_id": rng.choice((None, "tr-1", f"tr.{rng.randrange(60)}_b")),
            "destination": rng.choice((None, "370115", "420106")),
            "person": self.person("traveller"),
        }

    def at_an_edge(self) -> tuple[str, dict[str, Any]] | None:
        """Returns a scan or arrival of a listed person, a millisecond before, at or after an end of the window."""
        rng, now = self.rng, int(time.time() * 1000) * MS
        window = rng.choice(self.good)
        edges = [e for e in (window.valid_from, window.valid_to) if now - 12 * DAY < e < now + 9 * MINUTE + 30 * SECOND]
        if not edges:
            return None
        observed_at = rng.choice(edges) + rng.choice((-MS, 0, MS))
        tokens = {kind: texts[0] for kind, texts in window.tokens.items() if kind != "plate"}
        topic = SCANS if "plate" in window.tokens or rng.random() < 0.7 else ARRIVALS
        event = self.scan(observed_at) if topic == SCANS else self.arrival(observed_at)
        (event["people"][0] if topic == SCANS else event["person"])["tokens"] = tokens
        if "plate" in window.tokens:
            event["plate"] = window.tokens["plate"][0]
        return topic, event

    def _good(self) -> tuple[str, dict[str, Any]]:
        chance = self.rng.random()
        aimed = self.at_an_edge() if chance < 0.15 else None
        if aimed is not None:
            return aimed
        return (SCANS, self.scan()) if chance < 0.8 else (ARRIVALS, self.arrival())

    def records(self, count: int) -> Iterator[tuple[str, str, bytes]]:
        """Returns (topic, site, value) of about `count` valid events and every kind of malformed one, out of order, some twice."""
        rng = self.rng
        sent: list[tuple[str, str, bytes]] = []
        for _ in range(count):
            topic, event = self._good()
            value = render(event, rng).encode()
            if rng.random() < 0.003:
                value += b" " * (MIB - 4096 - len(value))  # large, and allowed
            sent.append((topic, event["site_id"], value))
        for _ in range(60):
            event = self.scan(self.never())
            sent.append((SCANS, event["site_id"], render(event, rng).encode()))
            event = self.arrival(self.never())
            sent.append((ARRIVALS, event["site_id"], render(event, rng).encode()))
        makers: tuple[tuple[str, Callable[[], dict[str, Any]]], ...] = ((SCANS, self.scan), (ARRIVALS, self.arrival))
        for topic, make in makers:
            spoiled = list(garbage(topic, make, rng))
            site = self.checkpoints()[0] if topic == SCANS else self.stations()[0]
            sent.extend((topic, site, value) for value in spoiled)
        # Neighbours are swapped, malformed records are inserted anywhere, and one record in twelve is sent again later.
        order = sorted(range(len(sent)), key=lambda n: n + rng.randrange(40) if n < count else rng.randrange(count))
        resends = [(place + rng.randrange(1, 400), n) for place, n in enumerate(order) if rng.random() < 0.08]
        placed = sorted([(place, n) for place, n in enumerate(order)] + resends)
        yield from (sent[n] for _, n in placed)
