"""Records that are fetched while the assignment changes are read again, never skipped."""

from __future__ import annotations

import asyncio
import contextlib
import math
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from ninezero.streams.transport import consumer as transport
from ninezero.streams.transport.consumer import POLL_SECONDS, Consumer
from ninezero.streams.transport.offset_tracker import MAX_RECORDS_IN_FLIGHT, Chunk, OffsetTracker

ONE = TP("t", 0)


class BareConsumer(Consumer):
    """A consumer without a Faust service around it."""

    async def wait_first(self, *awaited: Any, timeout: Any = None) -> None:  # noqa: ASYNC109  # Faust's signature
        tasks = [asyncio.ensure_future(one) for one in awaited]
        _, late = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in late:
            task.cancel()


class Scripted(BareConsumer):
    """Runs the delivery step alone: it returns prepared records and counts fetches and seeks.

    Args:
        during: is called with this consumer during its first fetch.
    """

    def __init__(self, during: Any) -> None:
        self._during, self.fetches, self.seeks = during, 0, 0
        self.app = SimpleNamespace(consumer_generation_id=1, rebalancing=False, should_stop=False)
        self.flow_active, self.max_bytes_in_flight = True, math.inf
        self.trackers, self._rewinds, self._start_offsets, self._seek_needed = {}, {}, {}, False
        self.delivered: list[int] = []
        self.suspend_flow, self.capacity_freed = asyncio.Event(), asyncio.Event()

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
def test_records_fetched_across_a_rebalance_are_read_again_from_the_committed_offset(during: Any) -> None:
    async def check() -> None:
        consumer = Scripted(during)
        await consumer._fetch_and_deliver()
        assert consumer.delivered == []
        await consumer._fetch_and_deliver()
        assert consumer.fetches == 1 or consumer.seeks == 1, "nothing is fetched before the seek"
        consumer.app.rebalancing = False
        await consumer._fetch_and_deliver()
        await consumer._fetch_and_deliver()
        assert (consumer.seeks, consumer.delivered[:1]) == (1, [2])

    asyncio.run(check())


def test_nothing_is_fetched_while_partitions_are_being_assigned() -> None:
    async def check() -> None:
        consumer = Scripted(lambda _: None)
        consumer.app.rebalancing = True
        await consumer._fetch_and_deliver()
        assert consumer.fetches == 0

    asyncio.run(check())


def test_records_that_a_suspended_flow_left_undelivered_are_read_again() -> None:
    class Full(Scripted):
        async def _deliver(self, tp: TP, records: list[Any], generation: int) -> None:
            if self.fetches == 1:
                self.suspend_flow.set()
                await asyncio.Event().wait()  # the agent receives nothing
            await super()._deliver(tp, records, generation)

    async def check() -> None:
        consumer = Full(lambda _: None)
        await consumer._fetch_and_deliver()
        consumer.suspend_flow.clear()
        await consumer._fetch_and_deliver()
        assert (consumer.seeks, consumer.fetches) == (1, 1), "nothing is fetched before the seek"
        await consumer._fetch_and_deliver()
        assert consumer.delivered == [2]

    asyncio.run(check())


def test_a_full_partition_is_fetched_again_as_soon_as_it_has_capacity() -> None:
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
        step = asyncio.create_task(consumer._fetch_and_deliver())
        await asyncio.sleep(0)
        assert not step.done()
        tracker.records = 0
        consumer.capacity_freed.set()
        await step
        await consumer._fetch_and_deliver()

    asyncio.run(check())
    assert asked == [({other}, 0), ({ONE, other}, POLL_SECONDS)]


def test_only_topics_without_records_in_flight_are_fetched_at_the_limit_of_bytes() -> None:
    consumer, busy, done = Scripted(lambda _: None), OffsetTracker(), OffsetTracker()
    second, other, third = TP("t", 1), TP("other", 0), TP("third", 0)
    consumer.trackers = {second: busy, other: done}
    consumer.max_bytes_in_flight = 1000
    everything = {ONE, second, other, third}
    for size, fetched in ((999, everything), (1000, {other, third}), (0, everything)):
        busy.bytes = size
        assert consumer._with_capacity(everything) == fetched


def test_a_worker_without_a_partition_waits_without_blocking_the_event_loop() -> None:
    class Spare(Scripted):
        def _get_active_partitions(self) -> set[TP]:
            return set()

    async def check() -> None:
        consumer = Spare(generation_changes)
        step = asyncio.create_task(consumer._fetch_and_deliver())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not step.done() and not consumer.fetches
        consumer.capacity_freed.set()
        await step

    asyncio.run(check())


def test_fetched_records_are_split_into_chunks_of_at_most_the_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_CHUNK_RECORDS", 3)
    consumer = Delivering(0)
    consumer.suspend_flow = asyncio.Event()
    records = [SimpleNamespace(offset=n, value=b"", timestamp=0, timestamp_type=1) for n in range(5, 12)]
    assert asyncio.run(consumer._deliver_all({ONE: records}, 1))
    assert [(chunk.start, chunk.next) for chunk in consumer.chunks] == [(5, 8), (8, 11), (11, 12)]


class Delivering(BareConsumer):
    """Makes chunks of fetched records; `earliest` is the oldest offset that the topic still has."""

    def __init__(self, earliest: int) -> None:
        self.trackers, self._start_offsets, self._rewinds, self.capacity_freed = {}, {ONE: 5}, {}, asyncio.Event()
        self.chunks, self._earliest = list[Chunk](), earliest

    async def callback(self, message: Any) -> None:
        self.chunks.append(message.value)

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, self._earliest)

    async def fetched(self, *offsets: int) -> Chunk:
        records = [SimpleNamespace(offset=offset, value=b"", timestamp=0, timestamp_type=1) for offset in offsets]
        await self._deliver(ONE, records, 1)
        return self.chunks[-1]


def test_a_recreated_topic_is_read_from_its_first_record_under_a_new_tracker() -> None:
    async def check() -> None:
        consumer = Delivering(0)
        old = await consumer.fetched(5, 6)
        new = await consumer.fetched(0, 1)
        assert (old.tracker.closed, new.start, new.tracker.watermark) == (True, 0, 0)
        assert old.tracker.finish(old) is False, "a chunk of the old tracker is ignored"

    asyncio.run(check())


@pytest.mark.parametrize(("earliest", "logged"), [(9, "4 offsets were deleted before they were read"), (0, "")])
def test_missing_offsets_are_logged_when_records_were_deleted_and_not_for_a_transaction_marker(
    earliest: int, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    chunk = asyncio.run(Delivering(earliest).fetched(9))
    assert chunk.start == 5
    assert logged in caplog.text and bool(caplog.text) == bool(logged)


def test_records_after_an_offset_jump_wait_if_an_agent_asks_meanwhile_to_read_again() -> None:
    """They would be finished, and committed, before the records that are to be read again."""

    class Rewound(Delivering):
        async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
            self.rewind(ONE, 5)
            return await super().earliest_offsets(*tps)

    async def check() -> None:
        consumer = Rewound(0)
        first = await Delivering.fetched(consumer, 5)
        with contextlib.suppress(IndexError):
            await consumer.fetched(7)  # offset 6 is a transaction marker
        assert consumer.chunks == [first] and not consumer.trackers
        assert consumer._new_offset(ONE) is None

    asyncio.run(check())
