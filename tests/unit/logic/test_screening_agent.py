"""The screening agent gathers waiting chunks to batches, and screens each chunk once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from ninezero.agents.screening.agent import BATCH_EVENTS, screen_stream
from ninezero.agents.screening.event_kinds import CHECKPOINTS, EventKind
from ninezero.streams.transport.offset_tracker import Chunk, OffsetTracker


def chunk(first: int, records: int = 10) -> Chunk:
    return Chunk(TP("t", 0), [SimpleNamespace(offset=first + n, value=b"") for n in range(records)], OffsetTracker())


class RecordingScreening:
    """Records its batches. Each waits until it is released."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.released = asyncio.Event()

    async def screen(self, kind: EventKind, chunks: Sequence[Chunk]) -> None:
        self.batches.append([chunk.first for chunk in chunks])
        await self.released.wait()


async def batches_of(chunks: list[Chunk], *, one_at_a_time: bool = False) -> list[list[int]]:
    """Returns the batches to which chunks are gathered that wait together, or that arrive one at a time."""
    screening = RecordingScreening()

    async def stream() -> AsyncIterator[Chunk]:
        for one in chunks:
            yield one
            if one_at_a_time:
                await asyncio.sleep(0)
        screening.released.set()
        for _ in range(100):
            await asyncio.sleep(0)

    stand_in: Any = screening
    await screen_stream(stand_in, CHECKPOINTS, stream())
    return screening.batches


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_chunks_that_wait_are_screened_as_one_batch_in_their_order(one_at_a_time: bool) -> None:
    chunks = [chunk(n) for n in range(5)]
    assert asyncio.run(batches_of(chunks, one_at_a_time=one_at_a_time)) == [[0, 1, 2, 3, 4]]


def test_a_batch_of_several_chunks_stays_within_its_limit() -> None:
    half = BATCH_EVENTS // 2 + 1
    chunks = [chunk(0, half), chunk(1, half), chunk(2, 3 * BATCH_EVENTS), chunk(3), chunk(4)]
    assert asyncio.run(batches_of(chunks)) == [[0], [1], [2], [3, 4]]


def test_a_failure_ends_the_agent() -> None:
    class FailingScreening(RecordingScreening):
        async def screen(self, kind: EventKind, chunks: Sequence[Chunk]) -> None:
            raise ValueError("no")

    async def stream() -> AsyncIterator[Chunk]:
        yield chunk(0)
        await asyncio.Event().wait()

    async def check() -> None:
        stand_in: Any = FailingScreening()
        with pytest.raises(ExceptionGroup):
            await screen_stream(stand_in, CHECKPOINTS, stream())

    asyncio.run(asyncio.wait_for(check(), 5))
