"""What is fetched while the assignment changes is read again, never skipped."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from ninezero.streams.transport import consumer as chunks
from ninezero.streams.transport.consumer import MAX_RECORDS_IN_FLIGHT, POLL_SECONDS, Chunk, Consumer, OffsetTracker

ONE = TP("t", 0)


class Tried(Consumer):
    """A consumer without a service around it."""

    async def wait_first(self, *awaited: Any, timeout: Any = None) -> None:  # noqa: ASYNC109  # Faust's signature
        tasks = [asyncio.ensure_future(one) for one in awaited]
        _, late = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in late:
            task.cancel()


class Scripted(Tried):
    """The delivery step alone: what is fetched is given, and seeks are noted."""

    def __init__(self, during: Any) -> None:
        self._during, self.fetches, self.seeks = during, 0, 0
        self.app = SimpleNamespace(consumer_generation_id=1, rebalancing=False, should_stop=False)
        self.flow_active = True
        self.trackers, self._rewinds, self._starts, self._dropped = {}, {}, {}, False
        self.delivered: list[int] = []
        self.suspend_flow, self.freed = asyncio.Event(), asyncio.Event()

    should_stop = False  # type: ignore[assignment]

    def _get_active_partitions(self) -> set[TP]:
        return {ONE}

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109  # Faust's signature
        self.fetches += 1
        if self.fetches == 1:
            self._during(self)
        return {ONE: [SimpleNamespace(offset=self.fetches)]}

    async def perform_seek(self) -> None:
        self.seeks += 1

    async def _deliver(self, tp: TP, records: list[Any], generation: int) -> None:
        self.delivered += [record.offset for record in records]


def generation_changes(consumer: Scripted) -> None:
    consumer.app.consumer_generation_id = 2


def rebalance_begins(consumer: Scripted) -> None:
    consumer.app.rebalancing = True


@pytest.mark.parametrize("during", [generation_changes, rebalance_begins])
def test_what_was_fetched_across_a_rebalance_is_read_again_from_what_is_committed(during: Any) -> None:
    async def check() -> None:
        consumer = Scripted(during)
        await consumer._deliver_fetched()
        assert consumer.delivered == []
        await consumer._deliver_fetched()
        assert consumer.fetches == 1 or consumer.seeks == 1, "nothing is fetched before the seek"
        consumer.app.rebalancing = False
        await consumer._deliver_fetched()
        await consumer._deliver_fetched()
        assert (consumer.seeks, consumer.delivered[:1]) == (1, [2])

    asyncio.run(check())


def test_nothing_is_fetched_while_partitions_are_being_assigned() -> None:
    async def check() -> None:
        consumer = Scripted(lambda _: None)
        consumer.app.rebalancing = True
        await consumer._deliver_fetched()
        assert consumer.fetches == 0

    asyncio.run(check())


def test_what_a_suspended_flow_leaves_undelivered_is_read_again() -> None:
    class Full(Scripted):
        async def _deliver(self, tp: TP, records: list[Any], generation: int) -> None:
            if self.fetches == 1:
                self.suspend_flow.set()
                await asyncio.Event().wait()  # the agent takes nothing
            await super()._deliver(tp, records, generation)

    async def check() -> None:
        consumer = Full(lambda _: None)
        await consumer._deliver_fetched()
        consumer.suspend_flow.clear()
        await consumer._deliver_fetched()
        assert (consumer.seeks, consumer.fetches) == (1, 1), "nothing is fetched before the seek"
        await consumer._deliver_fetched()
        assert consumer.delivered == [2]

    asyncio.run(check())


def test_a_partition_that_is_full_is_read_again_as_soon_as_it_is_not_whatever_others_have() -> None:
    other = TP("t", 1)

    class Idle(Scripted):
        def _get_active_partitions(self) -> set[TP]:
            return {ONE, other}

        async def _getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109  # Faust's signature
            asked.append((active_partitions, timeout))
            return {}

    asked: list[Any] = []

    async def check() -> None:
        consumer, tracker = Idle(lambda _: None), OffsetTracker()
        tracker.records = MAX_RECORDS_IN_FLIGHT
        consumer.trackers[ONE] = tracker
        step = asyncio.create_task(consumer._deliver_fetched())
        await asyncio.sleep(0)
        assert not step.done()
        tracker.records = 0
        consumer.freed.set()
        await step
        await consumer._deliver_fetched()

    asyncio.run(check())
    assert asked == [({other}, 0), ({ONE, other}, POLL_SECONDS)]


def test_a_worker_without_a_partition_waits_and_lets_others_run() -> None:
    class Spare(Scripted):
        def _get_active_partitions(self) -> set[TP]:
            return set()

    async def check() -> None:
        consumer = Spare(generation_changes)
        step = asyncio.create_task(consumer._deliver_fetched())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not step.done() and not consumer.fetches
        consumer.freed.set()
        await step

    asyncio.run(check())


def test_what_was_fetched_becomes_chunks_of_a_bounded_number_of_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_RECORDS", 3)
    consumer = Delivering(0)
    consumer.suspend_flow = asyncio.Event()
    records = [SimpleNamespace(offset=n, value=b"", timestamp=0, timestamp_type=1) for n in range(5, 12)]
    assert asyncio.run(consumer._deliver_all({ONE: records}, 1))
    assert [(chunk.start, chunk.next) for chunk in consumer.chunks] == [(5, 8), (8, 11), (11, 12)]


class Delivering(Tried):
    """The way from what is fetched to a chunk; `earliest` is the oldest record that the topic still has."""

    def __init__(self, earliest: int) -> None:
        self.trackers, self._starts, self._rewinds, self.freed = {}, {ONE: 5}, {}, asyncio.Event()
        self.chunks, self._earliest = list[Chunk](), earliest

    async def callback(self, message: Any) -> None:
        self.chunks.append(message.value)

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, self._earliest)

    async def fetched(self, *offsets: int) -> Chunk:
        records = [SimpleNamespace(offset=offset, value=b"", timestamp=0, timestamp_type=1) for offset in offsets]
        await self._deliver(ONE, records, 1)
        return self.chunks[-1]


def test_a_topic_that_begins_anew_is_read_from_there_under_a_new_ledger() -> None:
    async def check() -> None:
        consumer = Delivering(0)
        old = await consumer.fetched(5, 6)
        new = await consumer.fetched(0, 1)
        assert (old.tracker.closed, new.start, new.tracker.watermark) == (True, 0, 0)
        assert old.tracker.done(old) is False, "what finishes of the old one counts no more"

    asyncio.run(check())


@pytest.mark.parametrize(("earliest", "said"), [(9, "4 offsets were deleted before they were read"), (0, "")])
def test_a_gap_is_told_when_records_are_gone_and_not_for_a_marker(
    earliest: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    chunk = asyncio.run(Delivering(earliest).fetched(9))
    assert chunk.start == 5
    assert said in caplog.text and bool(caplog.text) == bool(said)
