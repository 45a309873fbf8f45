"""The push agent answers a batch whose parts did not all arrive within a day, and no batch whose last part waits to be read."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import msgspec

from ninezero.agents.logic.pushes.parts import MAX_INCOMPLETE_MS
from ninezero.agents.watchlist.agent import PushAgent
from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.schemas.events import PushReceipt, decoder, encode
from ninezero.streams.kafka.records import OutgoingRecord
from tests.unit.logic.test_needs_upgrade_finish import Transactions, pushed

PARTS = [
    msgspec.structs.replace(pushed(1, id=["k1." + f"{n}" * 32]), part=n, parts=2, declared_lines=2) for n in (1, 2)
]
PARTS[1].lines[0].line = 2


class Given:
    """An agent that is active, and what it has written."""

    def __init__(self, end_offset: int) -> None:
        async def end(_: Any) -> int:
            return end_offset

        async def read_one(_: Any, offset: int) -> Any:
            return SimpleNamespace(value=encode(PARTS[offset]))

        settings: Any = SimpleNamespace(replay=False, topic_prefix="")
        replica: Any = SimpleNamespace(manifests={}, removed_by=lambda *_: [])
        self.agent = PushAgent(settings, replica, WatchlistProjection(), None)  # type: ignore[arg-type]  # nothing is written with it
        self.agent._active, self.transactions = True, Transactions()
        transactions: Any = self.transactions
        self.agent._transactions = transactions
        reader: Any = SimpleNamespace(end_offset=end, read_one=read_one)
        self.agent._reader = self.agent._state._reader = reader

    async def arrive(self, number: int, kafka_ms: int) -> None:
        record = SimpleNamespace(value=encode(PARTS[number - 1]), offset=number - 1, timestamp=kafka_ms, key=b"a")
        await self.agent._apply_record(record)
        self.agent._next_offset = number

    @property
    def answers(self) -> list[tuple[str, str | None]]:
        records: list[OutgoingRecord] = [
            r for written in self.transactions.written for r in written if r.topic.name == "push-receipts"
        ]
        receipts: list[PushReceipt] = [decoder(PushReceipt).decode(record.value) for record in records]
        return [(receipt.status, receipt.code) for receipt in receipts]


def answers_of(end_offset: int, arrivals: list[tuple[int, int]]) -> list[list[tuple[str, str | None]]]:
    """Returns the answers after the parts arrived, after a sweep, and after all parts arrived again now."""

    async def run() -> list[list[tuple[str, str | None]]]:
        given, found = Given(end_offset), []
        for number, kafka_ms in arrivals:
            await given.arrive(number, kafka_ms)
        found.append(given.answers)
        await given.agent._drop_expired_parts()
        found.append(given.answers)
        for number in (1, 2):
            await given.arrive(number, now)
        found.append(given.answers)
        return found

    now = int(time.time() * 1000)
    return asyncio.run(run())


NOW_MS = int(time.time() * 1000)
LONG_AGO = NOW_MS - MAX_INCOMPLETE_MS - 3_600_000
INCOMPLETE, APPLIED = ("rejected", "incomplete"), ("applied", None)


def test_a_batch_is_answered_once_its_first_part_is_a_day_old_and_its_later_parts_alike() -> None:
    assert answers_of(1, [(1, LONG_AGO)]) == [[], [INCOMPLETE], [INCOMPLETE] * 3]


def test_a_part_that_comes_after_a_day_is_answered_whatever_the_sweep_did() -> None:
    assert answers_of(2, [(1, LONG_AGO), (2, NOW_MS)])[0] == [INCOMPLETE]


def test_a_batch_is_not_dropped_while_its_last_part_waits_to_be_read() -> None:
    assert answers_of(2, [(1, LONG_AGO)])[1] == []


def test_a_batch_whose_parts_came_in_time_is_applied_however_late_it_is_read() -> None:
    assert answers_of(2, [(1, LONG_AGO), (2, LONG_AGO + MAX_INCOMPLETE_MS)])[0] == [APPLIED]


def test_a_young_batch_waits_for_its_parts() -> None:
    assert answers_of(1, [(1, NOW_MS)]) == [[], [], [APPLIED]]
