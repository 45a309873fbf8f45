"""What the written format cannot say is rejected: a pushed batch by its receipt, a case event by a dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from faust.types import TP

from ninezero.agents.cases.acceptance import AcceptedEvent
from ninezero.agents.cases.kinds import quarantine_kind
from ninezero.agents.cases.monitor import CaseMonitor
from ninezero.agents.cases.partition_cases import PartitionCases
from ninezero.agents.logic.days import Days
from ninezero.agents.logic.pushes.parts import Parts
from ninezero.agents.watchlist.agent import PushAgent
from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.schemas import formats
from ninezero.schemas.events import (
    DeadLetter,
    PushBatch,
    PushReceipt,
    QuarantineEvent,
    WatchlistEntry,
    WatchlistRecord,
    decoder,
    encode,
)
from ninezero.schemas.formats import Format, NeedsUpgradeFinish, Version
from ninezero.schemas.ledger_records import QuarantineLedgerRecord
from ninezero.streams.kafka.records import OutgoingRecord
from ninezero.streams.kafka.topics import DEAD_LETTERS
from ninezero.streams.transport.offset_tracker import Chunk, OffsetTracker
from tests.case_events import quarantine_event
from tests.support import default_policies

NOW = datetime(2026, 1, 10, tzinfo=UTC)


class Transactions:
    """Keeps what a transaction wrote. An error while the records are made aborts it."""

    def __init__(self) -> None:
        self.written: list[list[OutgoingRecord]] = []

    async def write(self, records: Iterable[OutgoingRecord]) -> dict[str, int]:
        self.written.append(list(records))
        return {}


def without_passports(record: WatchlistRecord) -> WatchlistRecord:
    """Downgrades to a number that knows no passports."""
    if isinstance(record, WatchlistEntry) and "passport" in record.tokens:
        raise NeedsUpgradeFinish("a passport")
    return record


def next_watchlist() -> Format:
    """Returns the format of an invented next release, which writes the older number."""
    newer = Version(2, WatchlistRecord, upgrade=lambda record: record, downgrade=without_passports)
    return Format("watchlist", Version(1, WatchlistRecord), newer)


def pushed(sequence: int, **tokens: list[str]) -> PushBatch:
    line = {"line": 1, "tokens": tokens, "valid_from": NOW, "valid_to": NOW + timedelta(days=5)}
    batch = {"batch_id": f"b{sequence}", "authority": "a", "pushed_by": "p", "list": "l", "category": "close_contact", "mode": "delta",
             "sequence": sequence, "issued_at": NOW, "legal_basis": "o", "purpose": "epidemic_control", "declared_lines": 1, "lines": [line]}  # fmt: skip
    return msgspec.convert(batch, PushBatch)


def test_a_batch_that_the_written_format_cannot_say_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats.WATCHLIST, "__dict__", next_watchlist().__dict__)

    async def check() -> list[list[OutgoingRecord]]:
        settings: Any = SimpleNamespace(replay=False, topic_prefix="")
        replica: Any = SimpleNamespace(manifests={})
        agent = PushAgent(settings, replica, WatchlistProjection(), None)  # type: ignore[arg-type]  # nothing is written with it
        transactions: Any = Transactions()
        agent._transactions, kafka_ms = transactions, int(NOW.timestamp() * 1000)
        for sequence, tokens in enumerate(({"passport": ["k1." + "1" * 32]}, {"id": ["k1." + "2" * 32]}), 1):
            batch = pushed(sequence, **tokens)
            await agent._apply_batch(Parts().add(batch, 0, kafka_ms), last_part=batch)
        written: list[list[OutgoingRecord]] = transactions.written
        return written

    rejected, applied = asyncio.run(check())
    [receipt] = [decoder(PushReceipt).decode(record.value) for record in rejected]
    assert (receipt.status, receipt.code, receipt.accepted) == ("rejected", "needs_upgrade_finish", 0)
    entry, manifest, registered, answer = applied
    assert entry.headers == manifest.headers == [("format", b"watchlist/1")] and answer.headers == []
    assert (registered.key, registered.headers) == (b"a|l", [("format", b"list-register/1")])


def without_symptoms(record: QuarantineLedgerRecord | str) -> QuarantineLedgerRecord | str:
    """Downgrades to a number that knows no symptoms."""
    if isinstance(record, QuarantineLedgerRecord) and record.symptoms:
        raise NeedsUpgradeFinish("symptoms")
    return record


def test_a_case_event_that_the_ledger_cannot_hold_is_dead_lettered(monkeypatch: pytest.MonkeyPatch) -> None:
    old = formats.QUARANTINE_LEDGER.current
    newer = Version(2, old.kind, upgrade=lambda record: record, downgrade=without_symptoms)
    monkeypatch.setattr(formats.QUARANTINE_LEDGER, "__dict__", Format("quarantine-ledger", old, newer).__dict__)
    events = [
        quarantine_event("admitted", "04 09:00", seq=0),
        quarantine_event("reading", "04 09:30", seq=1, symptoms=True, temperature_c=36.5),
        quarantine_event("reading", "04 16:30", seq=2, temperature_c=36.5),
    ]
    records = [
        SimpleNamespace(value=encode(event), offset=10 + n, timestamp=1_580_800_000_000)
        for n, event in enumerate(events)
    ]
    chunk = Chunk(TP("quarantine-events", 3), records, OffsetTracker())
    accepted = [
        AcceptedEvent(msgspec.convert(event, QuarantineEvent), record)
        for event, record in zip(events, records, strict=True)
    ]
    given: Any = SimpleNamespace(timezone="Asia/Shanghai", replay=False, topic=str)
    kind = quarantine_kind(14, default_policies())
    monitor = CaseMonitor(given, None, kind, None)  # type: ignore[arg-type]  # nothing is written with it
    changes = monitor._apply(PartitionCases(kind, Days("Asia/Shanghai")), accepted, chunk)
    letters = [decoder(DeadLetter).decode(one.value) for one in changes.messages if one.topic is DEAD_LETTERS]
    assert [(one.topic, one.partition, one.offset, one.reason) for one in letters] == [
        ("quarantine-events", 3, 11, "needs_upgrade_finish")
    ]
    assert [record.key.rpartition(b"|")[2] for record in changes.records] == [b"0", b"2"]
    assert all(record.headers == [("format", b"quarantine-ledger/1")] for record in changes.records)
