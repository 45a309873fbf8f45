"""Screening writes a transfer event for each arrival that boards or leaves a transfer, whatever its outcome and the path that decides it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.screening.batch import Batch
from ninezero.agents.screening.decide_batch import MIN_COLUMNAR_EVENTS, decide_batch
from ninezero.agents.screening.event_kinds import CHECKPOINTS, STATIONS, EventKind
from ninezero.schemas import formats
from ninezero.streams.kafka.records import OutgoingRecord
from ninezero.streams.kafka.topics import DECISIONS, OUTCOMES, TRANSFERS
from ninezero.streams.transport.offset_tracker import Chunk, OffsetTracker
from tests.screened import conditions_of

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
PERSON = {"role": "traveller", "tokens": {"id": "k1." + "0" * 32}, "temperature_c": 36.5}


def arrival(seq: int, **changes: Any) -> bytes:
    fields = {
        "device_id": "d", "seq": seq, "site_id": "station", "observed_at": "2026-03-01T15:59:30.123456+08:00", "mode": "coach",
        "service": "C7", "stage": "boarded", "transfer_id": "t1", "destination": None, "person": PERSON,
    }  # fmt: skip
    return json.dumps(fields | changes).encode()


def decide(values: list[bytes], kind: EventKind = STATIONS, **conditions: Any) -> list[OutgoingRecord]:
    """Returns everything that screening writes for a batch."""
    records = [
        SimpleNamespace(offset=n, value=value, key=b"s", headers=(), timestamp=int(NOW.timestamp() * 1000))
        for n, value in enumerate(values)
    ]
    under = conditions_of(NOW, WatchlistIndex(), **conditions)
    return decide_batch(kind, Batch([Chunk(TP("t", 0), records, OffsetTracker())]), under).output().records


def transfers(records: list[OutgoingRecord]) -> list[OutgoingRecord]:
    return [record for record in records if record.topic is TRANSFERS]


@pytest.mark.parametrize("others", [0, MIN_COLUMNAR_EVENTS])
def test_columns_and_the_reference_write_the_same_events(others: int) -> None:
    values = [
        arrival(1),
        arrival(2, stage="delivered", site_id="hall"),
        arrival(3, stage="registered"),
        arrival(4, transfer_id=None),
    ]
    values += [arrival(9 + n, transfer_id=None) for n in range(others)]
    written = transfers(decide(values))
    assert [json.loads(record.value or b"") for record in written] == [
        {"transfer_id": "t1", "device_id": "d", "seq": 1, "site_id": "station", "stage": "boarded", "observed_at": "2026-03-01T07:59:30.123456Z"},
        {"transfer_id": "t1", "device_id": "d", "seq": 2, "site_id": "hall", "stage": "delivered", "observed_at": "2026-03-01T07:59:30.123456Z"},
    ]  # fmt: skip
    for record in written:
        assert record.key == b"t1" and record.headers == formats.TRANSFER_EVENTS.headers
        assert formats.TRANSFER_EVENTS.decode(record.headers, record.key, record.value or b"").transfer_id == "t1"


@pytest.mark.parametrize("others", [0, MIN_COLUMNAR_EVENTS])
def test_a_person_who_is_not_clear_counts_in_the_transfer(others: int) -> None:
    values = [arrival(1, person=PERSON | {"temperature_confirmed_c": 39.0}), arrival(2, person=PERSON | {"tokens": {}})]
    values += [arrival(9 + n, transfer_id=None) for n in range(others)]
    assert len(transfers(decide(values))) == 2
    assert len(transfers(decide(values, list_age_s=301.0))) == 2


def test_an_arrival_that_is_not_accepted_gives_no_transfer_event() -> None:
    refused = [
        arrival(1, stage="lost"),
        arrival(2, transfer_id="13800138000"),
        arrival(3, observed_at="2026-03-01T09:00:00Z"),
        arrival(4, extra=1),
    ]
    records = decide(refused * 5)
    assert transfers(records) == [] and not any(record.topic in (OUTCOMES, DECISIONS) for record in records)


def test_after_the_end_of_the_order_no_transfer_event_is_written() -> None:
    records = decide([arrival(n) for n in range(MIN_COLUMNAR_EVENTS)], ended=True)
    assert transfers(records) == [] and any(record.topic is OUTCOMES for record in records)


def test_a_resent_arrival_gives_an_equal_event() -> None:
    first, again = decide([arrival(1)]), decide([arrival(1)] * MIN_COLUMNAR_EVENTS)
    assert {record.value for record in transfers(first)} == {record.value for record in transfers(again)}


def test_scans_give_no_transfer_event() -> None:
    scan = {
        "device_id": "d",
        "seq": 1,
        "site_id": "s",
        "observed_at": NOW.isoformat(),
        "kind": "pedestrian",
        "people": [PERSON | {"role": "pedestrian"}],
    }
    assert transfers(decide([json.dumps(scan).encode()] * 20, CHECKPOINTS)) == []
