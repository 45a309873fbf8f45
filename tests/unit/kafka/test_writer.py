"""Records of several callers for one partition share batches in order, and an error reaches only their callers."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError

from ninezero.streams.errors import DEPENDENCY
from ninezero.streams.kafka.writer import Writer

ONE, OTHER = ("t", 0), ("t", 1)


class RecordingWriter(Writer):
    """A writer without a broker: it records its batches, and `acknowledged` decides when they are acknowledged."""

    def __init__(self) -> None:
        self._waiting, self._writing, self._failure_logged = {}, {}, -math.inf
        self.batches: list[tuple[Any, list[Any]]] = []
        self.acknowledged = asyncio.Event()
        self.errors: list[Exception] = []

    async def _write_once(self, tp: tuple[str, int], records: list[Any]) -> None:
        self.batches.append((tp, list(records)))
        await self.acknowledged.wait()
        if self.errors:
            raise self.errors.pop()

    def writes(self, tp: tuple[str, int], *records: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._write_all({tp: list(records)}))


async def run_pending_tasks() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_records_that_arrive_while_a_batch_is_in_flight_share_the_next_batch() -> None:
    async def check() -> None:
        writer = RecordingWriter()
        first = writer.writes(ONE, "a")
        await run_pending_tasks()
        later = [writer.writes(ONE, "b", "c"), writer.writes(ONE, "d"), writer.writes(OTHER, "e")]
        await run_pending_tasks()
        assert writer.batches == [(ONE, ["a"]), (OTHER, ["e"])], "a partition does not wait for another"
        assert not first.done()
        writer.acknowledged.set()
        await asyncio.gather(first, *later)
        assert writer.batches[2:] == [(ONE, ["b", "c", "d"])]
        assert not writer._writing and not writer._waiting

    asyncio.run(check())


def test_a_batch_that_is_not_acknowledged_is_sent_again_before_later_records() -> None:
    async def check() -> None:
        writer = RecordingWriter()
        writer.errors = [KafkaConnectionError()]
        first = writer.writes(ONE, "a")
        await run_pending_tasks()
        later = writer.writes(ONE, "b")
        writer.acknowledged.set()
        await asyncio.gather(first, later)
        assert [records for _, records in writer.batches] == [["a"], ["a"], ["b"]]

    asyncio.run(check())


def test_a_cancelled_caller_does_not_affect_other_callers_and_an_error_does_not_affect_later_batches() -> None:
    async def check() -> None:
        writer = RecordingWriter()
        first, second = writer.writes(ONE, "a"), writer.writes(ONE, "b")
        await run_pending_tasks()
        second.cancel()
        writer.errors = [ValueError("a record is larger than a batch")]
        later = writer.writes(ONE, "c")
        await run_pending_tasks()
        writer.acknowledged.set()
        with pytest.raises(ValueError, match="larger"):
            await first
        await later
        assert [records for _, records in writer.batches] == [["a", "b"], ["c"]]

    asyncio.run(check())


def test_failed_writes_are_logged_at_most_once_a_second_as_failures_of_kafka(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    writer = RecordingWriter()
    for _ in range(20):
        writer._log_failure(ONE, KafkaConnectionError())
        writer._log_failure(OTHER, KafkaConnectionError())
    now[0] += 1
    writer._log_failure(OTHER, TopicAuthorizationFailedError())
    assert [getattr(record, DEPENDENCY, None) for record in caplog.records] == ["Kafka", None]
