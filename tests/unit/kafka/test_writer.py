"""Records of several callers for one partition share batches, in order, and a failure reaches those whose it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from ninezero.streams.kafka.client import Writer

ONE, OTHER = ("t", 0), ("t", 1)


class Slow(Writer):
    """The way to a partition alone: batches are noted, and acknowledged when it is said."""

    def __init__(self) -> None:
        self._waiting, self._writing, self._complained = {}, {}, 0.0
        self.batches: list[tuple[Any, list[Any]]] = []
        self.acknowledged = asyncio.Event()
        self.errors: list[Exception] = []

    async def _send_partition(self, tp: tuple[str, int], records: list[Any]) -> None:
        self.batches.append((tp, list(records)))
        await self.acknowledged.wait()
        if self.errors:
            raise self.errors.pop()

    def sends(self, tp: tuple[str, int], *records: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._send_all({tp: list(records)}))


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_comes_while_a_batch_is_under_way_goes_together_in_the_next() -> None:
    async def check() -> None:
        writer = Slow()
        first = writer.sends(ONE, "a")
        await turns()
        later = [writer.sends(ONE, "b", "c"), writer.sends(ONE, "d"), writer.sends(OTHER, "e")]
        await turns()
        assert writer.batches == [(ONE, ["a"]), (OTHER, ["e"])], "a partition waits for no other"
        assert not first.done()
        writer.acknowledged.set()
        await asyncio.gather(first, *later)
        assert writer.batches[2:] == [(ONE, ["b", "c", "d"])]
        assert not writer._writing and not writer._waiting

    asyncio.run(check())


def test_a_batch_that_is_not_acknowledged_is_sent_again_before_what_came_later() -> None:
    async def check() -> None:
        writer = Slow()
        writer.errors = [KafkaConnectionError()]
        first = writer.sends(ONE, "a")
        await turns()
        later = writer.sends(ONE, "b")
        writer.acknowledged.set()
        await asyncio.gather(first, later)
        assert [records for _, records in writer.batches] == [["a"], ["a"], ["b"]]

    asyncio.run(check())


def test_who_is_cancelled_takes_nothing_from_others_and_an_error_ends_no_later_batch() -> None:
    async def check() -> None:
        writer = Slow()
        first, second = writer.sends(ONE, "a"), writer.sends(ONE, "b")
        await turns()
        second.cancel()
        writer.errors = [ValueError("a record is larger than a batch")]
        later = writer.sends(ONE, "c")
        await turns()
        writer.acknowledged.set()
        with pytest.raises(ValueError, match="larger"):
            await first
        await later
        assert [records for _, records in writer.batches] == [["a", "b"], ["c"]]

    asyncio.run(check())
