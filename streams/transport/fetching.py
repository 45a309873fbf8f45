"""The Kafka consumer below Faust: everything that uses private parts of aiokafka 0.14.0.

`FetchedRecords` returns the records of whole batches. `ConsumerThread` sets what Faust has no setting for, and stores the
topic's id with each committed offset. `tests/unit/kafka/test_faust_contract.py` fails when an upgrade changes a part that
is used here.
"""

from __future__ import annotations

import contextlib
import logging
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple
from weakref import proxy

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

log = logging.getLogger("ninezero.chunks")

FETCH_WAIT_MS = 500
"""Longest time that the broker holds a fetch request that it has no records for. aiokafka has one request per broker in flight, so a
partition that the request left out waits this long for the next one."""

LARGE_FETCH_BYTES = 1 << 19
"""Bytes that the broker collects before it answers a consumer that prefers large fetches: a request costs as much CPU time as
many records."""

LARGE_FETCH_PARTITION_BYTES = 1 << 18
"""Bytes of one partition in such a fetch, if its records are smaller: aiokafka keeps a fetch of every partition in memory."""

LARGE_FETCH_WAIT_MS = 250
"""Longest time that the broker waits for `LARGE_FETCH_BYTES`."""


class _ParsedBatch(NamedTuple):
    """All records of a batch, in the place of the single record that aiokafka expects."""

    offset: int
    """Offset of the last record."""
    records: list[Any]


class _RecordBatch:
    """A record batch that yields all its records as one item. Everything else is aiokafka's batch."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[_ParsedBatch]:
        if records := list(self._batch):
            yield _ParsedBatch(records[-1].offset, records)

    def __next__(self) -> Any:
        """Returns the marker of a transaction: aiokafka reads it with `next()` from a batch of its own."""
        return next(self._batch)


class _RecordBatches:
    """The fetched batches of one partition, in the place of aiokafka's `MemoryRecords`."""

    def __init__(self, records: Any) -> None:
        self._records = records
        self.has_next = records.has_next

    def next_batch(self) -> _RecordBatch:
        """Returns the next batch."""
        return _RecordBatch(self._records.next_batch())


class FetchedRecords(OrderedDict[Any, Any]):
    """Replaces `Fetcher._records`: fetch results by partition, each of which returns all its records at one call.

    aiokafka checks each record and makes a `ConsumerRecord` of it. That takes seven times as long as the parsing, and the
    chunk already holds the same information. aiokafka's work per batch stays: checksums, transactions, and the next offset.
    """

    def __setitem__(self, tp: Any, result: Any) -> None:
        if isinstance(result, FetchResult):  # it may also be an error
            parts = result._partition_records
            parts._records = _RecordBatches(parts._records)
            parts._consumer_record = lambda tp, batch: batch.records
            # A weak reference: without a cycle, the memory of a result that is dropped is freed immediately.
            result.getall = partial(_get_all, proxy(result))
        super().__setitem__(tp, result)


def _get_all(result: Any, max_records: int | None) -> list[Any]:
    """Replaces `FetchResult.getall`. Returns all records; `max_records` is always None (Faust's default)."""
    if not result.check_assignment(result._topic_partition) or not result.has_more():
        return []
    parts, records = result._partition_records, []
    position = parts.next_fetch_offset
    for batch in parts:
        records += batch
    result._update_position()
    result._partition_records = None
    # The first batch of a fetch may begin before the requested offset.
    return records[bisect_left(records, position, key=attrgetter("offset")) :]


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, which reads committed records only and stores the topic's id with each committed offset.

    The id tells an offset of this topic from one that was committed for a deleted topic of the same name.
    """

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        if self.consumer.prefers_large_fetches:
            consumer._fetch_min_bytes, consumer._fetch_max_wait_ms = LARGE_FETCH_BYTES, LARGE_FETCH_WAIT_MS
            consumer._max_partition_fetch_bytes = LARGE_FETCH_PARTITION_BYTES
        commit = consumer.commit

        async def commit_with_ids(offsets: Mapping[Any, Any]) -> None:
            ids = self.consumer.topic_ids
            await commit({tp: (given.offset, ids.get(tp.topic, "")) for tp, given in offsets.items()})

        consumer.commit = commit_with_ids
        return consumer

    async def _fetch_records(self, consumer: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(consumer._fetcher._records, FetchedRecords):
            consumer._fetcher._records = FetchedRecords(consumer._fetcher._records)
        return await super()._fetch_records(consumer, *args, **kwargs)

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        """Seeks each assigned partition to its committed offset, or to its beginning if the topic was recreated.

        Returns:
            The committed offset of each partition, None where this topic has none.
        """
        offsets: Mapping[TP, int | None] = await self.call_thread(self._seek_to_committed)
        return offsets

    async def _seek_to_committed(self) -> Mapping[TP, int | None]:
        consumer, offsets = self._ensure_consumer(), {}
        assigned = consumer.assignment()
        committed = await consumer._coordinator.fetch_committed_offsets(list(assigned))
        outdated = {}
        for tp in assigned:
            stored = committed.get(tp)
            current = stored is None or stored.metadata in ("", self.consumer.topic_ids.get(tp.topic, ""))
            offsets[tp] = stored.offset if stored is not None and current and stored.offset >= 0 else None
            if offset := offsets[tp]:
                consumer.seek(tp, offset)
            elif not current:
                log.warning("topic %s was recreated: reading partition %d from its beginning", tp.topic, tp.partition)
                await consumer.seek_to_beginning(tp)
                outdated[tp] = OffsetAndMetadata(0, "")
        if outdated:  # so that tools outside see the lag of the new topic
            with contextlib.suppress(KafkaError):
                await consumer.commit(outdated)
        return offsets

    async def end_offsets(self, tps: list[TP]) -> dict[TP, int]:
        """Returns the end offsets of partitions as the broker has them now.

        Raises:
            KafkaError: the broker does not answer.
        """
        offsets = await self.call_thread(self._ensure_consumer().end_offsets, tps)
        return {TP(*tp): offset for tp, offset in offsets.items()}

    def fetched_positions(self) -> dict[TP, int]:
        """Returns the offset up to which each assigned partition was fetched, transaction markers included.

        A partition that must be sought before it is fetched is left out. It waits for nothing.
        """
        subscription = None if self._consumer is None else self._consumer._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return {}
        assignment = subscription.assignment
        states = {TP(*tp): assignment.state_value(tp) for tp in assignment.tps}
        # Each is read once: the consumer's thread may reset it meanwhile.
        positions = {tp: state._position for tp, state in states.items() if state is not None}
        return {tp: position for tp, position in positions.items() if position is not None}
