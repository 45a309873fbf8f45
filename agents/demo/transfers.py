"""Transfers of a scenario: coaches that take travellers from a station to the reception hall of the district."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

from ninezero.agents.demo.scenario_file import RECEPTION_SITE, Spec, Station
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.records import OutgoingRecord

COACH_SEATS = 4
"""Largest number of travellers on one transfer."""

_STAGES = (("registered", 8), ("boarded", 10), ("delivered", 12))
"""The stages of a traveller, and the hour of each."""

Tokens = dict[str, str]


class Traveller(NamedTuple):
    """A person on a transfer. One who is left behind boards and is never delivered."""

    tokens: Tokens
    left_behind: bool = False


class TransferEvents:
    """Generates the arrivals of each day.

    Args:
        spec: the scenario.
        rng: the generator that the whole scenario draws from.
        next_seq: returns the next sequence number of a device.
        person_json: returns a traveller as a device sends one, given the tokens.
    """

    def __init__(
        self, spec: Spec, rng: random.Random, next_seq: Callable[[str], int], person_json: Callable[[Tokens], str]
    ) -> None:
        self._spec, self._random, self._next_seq, self._person_json = spec, rng, next_seq, person_json

    def transfers(self, travellers: list[Tokens], left_behind: list[Tokens]) -> list[list[Traveller]]:
        """Returns the travellers of a day by transfer. Those who are left behind are on a transfer each, with others."""
        waiting, coaches = [Traveller(one) for one in travellers], list[list[Traveller]]()
        while waiting:
            seats = self._random.randrange(COACH_SEATS) + 1
            coaches.append(waiting[:seats])
            del waiting[:seats]
        for n, tokens in enumerate(left_behind):
            if n == len(coaches):
                coaches.append([])
            coaches[n].append(Traveller(tokens, left_behind=True))
        return coaches

    def arrivals(self, day: date, travellers: list[Traveller]) -> list[OutgoingRecord]:
        """Returns the arrivals of the people on one transfer, at the station and at the reception hall."""
        rng, stations = self._random, self._spec.stations
        station = stations[min(int(rng.random() / 0.8), len(stations) - 1)]
        transfer, service = f"t-{rng.getrandbits(40):010x}", f"G{rng.randrange(100, 999)}"
        events = []
        for one in travellers:
            person = self._person_json(one.tokens)
            for stage, hour in _STAGES[: 2 if one.left_behind else 3]:
                events.append(self._arrival(day, station, transfer, service, stage, hour, person))
        return events

    def _arrival(
        self, day: date, station: Station, transfer: str, service: str, stage: str, hour: int, person: str
    ) -> OutgoingRecord:
        rng, site = self._random, RECEPTION_SITE if stage == "delivered" else station.site_id
        device = f"{site}-{stage}"
        time = f"{day.isoformat()}T{hour:02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}{self._spec.utc_offset}"
        text = (
            f'{{"device_id":"{device}","seq":{self._next_seq(device)},"site_id":"{site}","observed_at":"{time}",'
            f'"mode":"{station.mode}","service":"{service}","stage":"{stage}","transfer_id":"{transfer}",'
            f'"destination":"{self._spec.home}","person":{person}}}'
        )
        return OutgoingRecord(topics.ARRIVALS, site.encode(), text.encode())
