"""Chunks that wait are screened together, and each is screened once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from ninezero.agents.screening.agent import AT_ONCE, Screened, screen_all
from ninezero.agents.screening.event_kinds import CHECKPOINTS
from ninezero.streams.transport.offset_tracker import Chunk, OffsetTracker


def chunk(first: int, records: int = 10) -> Chunk:
    return Chunk(TP("t", 0), [SimpleNamespace(offset=first + n, value=b"") for n in range(records)], OffsetTracker())


class Slow:
    """Screens as slowly as it is let."""

    def __init__(self) -> None:
        self.lots: list[list[int]] = []
        self.let = asyncio.Event()

    async def screen(self, kind: Screened, chunks: Sequence[Chunk]) -> None:
        self.lots.append([chunk.first for chunk in chunks])
        await self.let.wait()


async def screened(chunks: list[Chunk], *, slowly: bool = False) -> list[list[int]]:
    """The lots in which chunks are screened that all wait, or that are handed over one at a time."""
    slow = Slow()

    async def arriving() -> AsyncIterator[Chunk]:
        for one in chunks:
            yield one
            if slowly:
                await asyncio.sleep(0)
        slow.let.set()
        for _ in range(100):
            await asyncio.sleep(0)

    mine: Any = slow
    await screen_all(mine, CHECKPOINTS, arriving())
    return slow.lots


def test_what_waits_is_screened_together_in_its_order() -> None:
    for slowly in (False, True):
        assert asyncio.run(screened([chunk(n) for n in range(5)], slowly=slowly)) == [[0, 1, 2, 3, 4]]


def test_a_lot_is_not_larger_than_what_is_decided_without_a_pause() -> None:
    half = AT_ONCE // 2 + 1
    lots = asyncio.run(screened([chunk(0, half), chunk(1, half), chunk(2, 3 * AT_ONCE), chunk(3), chunk(4)]))
    assert lots == [[0], [1], [2], [3, 4]]


def test_a_failure_ends_the_agent() -> None:
    class Broken(Slow):
        async def screen(self, kind: Screened, chunks: Sequence[Chunk]) -> None:
            raise ValueError("no")

    async def arriving() -> AsyncIterator[Chunk]:
        yield chunk(0)
        await asyncio.Event().wait()

    async def check() -> None:
        mine: Any = Broken()
        with pytest.raises(ExceptionGroup):
            await screen_all(mine, CHECKPOINTS, arriving())

    asyncio.run(asyncio.wait_for(check(), 5))
