"""The parser of whole batches returns the same records as aiokafka, which returns them one by one."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from ninezero.streams.transport.fetching import FetchedRecords

ATTRIBUTES, CRC = slice(21, 23), slice(17, 21)
"""The positions of these fields in a batch. The checksum covers everything from the attributes on (Kafka protocol, record batch v2)."""
CONTROL = 1 << 5
TP = TopicPartition("t", 0)

PLAIN, ABORT, COMMIT = "plain", "abort", "commit"
BATCHES = st.lists(st.tuples(st.sampled_from([PLAIN, PLAIN, ABORT, COMMIT]), st.sampled_from([-1, 7, 8]), st.integers(1, 4)), max_size=8)  # fmt: skip


def batch(first: int, kind: str, producer: int, records: int) -> bytes:
    marker = kind != PLAIN
    builder = DefaultRecordBatchBuilder(
        2, 0, int(producer >= 0 or marker), max(producer, 7) if marker else producer, 0, 0, 1 << 20
    )
    for n in range(1 if marker else records):
        key = b"\0\0\0" + (b"\0" if kind == ABORT else b"\1") if marker else b"k"
        builder.append(n, 1_000 + first + n, key, f"{first + n}".encode(), [])
    data = bytearray(builder.build())
    data[:8] = first.to_bytes(8, "big")
    if marker:
        data[ATTRIBUTES] = (int.from_bytes(data[ATTRIBUTES], "big") | CONTROL).to_bytes(2, "big")
        data[CRC] = calc_crc32c(bytes(data[ATTRIBUTES.start :])).to_bytes(4, "big")
    return bytes(data)


class Assignment:
    active = True

    def __init__(self, position: int) -> None:
        self.paused, self.position = False, position

    def state_value(self, tp: Any) -> Any:
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


def fetched(data: bytes, position: int, aborted: list[tuple[int, int]]) -> Any:
    parts = PartitionRecords(TP, MemoryRecords(data), aborted, position, None, None, True, READ_COMMITTED)
    return FetchResult(TP, assignment=Assignment(position), partition_records=parts, backoff=0)


def ours(*arguments: Any) -> Any:
    records = FetchedRecords()
    records[TP] = fetched(*arguments)
    return records[TP]


@given(BATCHES, st.integers(0, 3), st.lists(st.tuples(st.sampled_from([7, 8]), st.integers(0, 20)), max_size=3))
def test_the_records_and_the_position_are_those_of_aiokafka(
    some: list[tuple[str, int, int]], within: int, aborted: list[tuple[int, int]]
) -> None:
    data, offset = b"", 10
    for kind, producer, records in some:
        data += batch(offset, kind, producer, records)
        offset += 1 if kind != PLAIN else records
        within = min(within, offset - 11)  # a fetch begins with the batch that has the record
    results = []
    for result in (fetched(data, 10 + within, aborted), ours(data, 10 + within, aborted)):
        found = [(r.offset, r.timestamp, r.key, r.value) for r in result.getall(None)]
        results.append((found, result._assignment.position, result.has_more()))
    assert results[0] == results[1]


def test_a_damaged_batch_is_an_error_and_is_fetched_again() -> None:
    good, bad = batch(0, PLAIN, -1, 3), bytearray(batch(3, PLAIN, -1, 3))
    bad[-1] ^= 1
    result = ours(good + bytes(bad), 0, [])
    with pytest.raises(CorruptRecordException):
        result.getall(None)
    assert result.getall(None) == [] and result._assignment.position == 0 and not result.has_more()


def test_records_of_a_position_that_has_moved_are_not_returned() -> None:
    result = ours(batch(0, PLAIN, -1, 3), 0, [])
    result._assignment.position = 2
    assert result.getall(None) == [] and not result.has_more()


def test_the_memory_of_a_dropped_result_is_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        result = ours(batch(0, PLAIN, -1, 3), 0, [])
        gone = ref(result)
        del result
        assert gone() is None
    finally:
        gc.enable()


def test_an_error_is_stored_unchanged() -> None:
    records, error = FetchedRecords(), SimpleNamespace()
    records[TP] = error
    assert records[TP] is error
