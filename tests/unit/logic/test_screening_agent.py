"""The screening agent gathers waiting chunks to batches, and screens each chunk once and under policies that it knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.timeline import InForce
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.screening import agent
from ninezero.agents.screening.agent import BATCH_EVENTS, Screening, screen_stream
from ninezero.agents.screening.event_kinds import CHECKPOINTS, EventKind
from ninezero.schemas.register import Site
from ninezero.streams.kafka.topics import OUTCOMES
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


NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
NEVER = datetime.max.replace(tzinfo=UTC)


class Worker:
    """A screening worker whose lists are complete, and whose policies become known when `known` is set."""

    def __init__(self, *, sunset: datetime = NEVER, replay: bool = False) -> None:
        self.known, self.written, self.sites = asyncio.Event(), list[Any](), dict[str, Site]()
        self.timeline = SimpleNamespace(boundaries=[NOW_MS], intervals=[InForce(Policy()), InForce(Policy())])
        self.tracker = OffsetTracker()

        async def complete() -> None:
            pass

        async def write(records: list[Any]) -> None:
            self.written += records

        self.timeline.at = lambda ms: self.timeline.intervals[ms >= NOW_MS]
        policies = SimpleNamespace(
            timeline=self.timeline,
            at=self.timeline.at,
            wait_until_current=self.known.wait,
            time_of=lambda kafka_ms, observed_us: observed_us // 1000 if replay else kafka_ms,
        )
        replica = SimpleNamespace(wait_until_current=complete, heartbeat_age=lambda now: 0.0, version=1)
        settings = SimpleNamespace(sunset=sunset, replay=replay, home="370115")
        parts: Any = (
            settings,
            replica,
            SimpleNamespace(index=WatchlistIndex()),
            SimpleNamespace(write=write),
            policies,
            SimpleNamespace(sites=self.sites),
        )
        self.screening = Screening(*parts)

    def screen(self, *kafka_ms: int, observed_at: datetime = NOW, **changes: Any) -> asyncio.Task[None]:
        person = {"role": "driver", "tokens": {"id": "k1." + "0" * 32}, "temperature_c": 36.5} | changes
        fields = {
            "device_id": "d",
            "site_id": "s",
            "observed_at": observed_at.isoformat(),
            "kind": "vehicle",
            "people": [person],
        }
        values = [json.dumps(fields | {"seq": n}).encode() for n in range(len(kafka_ms))]
        records = [
            SimpleNamespace(offset=n, value=value, timestamp=ms)
            for n, (value, ms) in enumerate(zip(values, kafka_ms, strict=True))
        ]
        return asyncio.create_task(self.screening.screen(CHECKPOINTS, [Chunk(TP("t", 0), records, self.tracker)]))


async def stays(task: asyncio.Task[None]) -> None:
    """Checks that a task still waits after some time."""
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 0.1)
    assert not task.done()


def test_nothing_is_decided_before_the_policies_are_known() -> None:
    async def check() -> None:
        worker = Worker()
        task = worker.screen(NOW_MS)
        await stays(task)
        assert worker.written == []
        worker.known.set()
        await asyncio.wait_for(task, 5)
        assert len(worker.written) == 2

    asyncio.run(check())


def test_after_the_order_nothing_is_waited_for() -> None:
    async def check() -> None:
        worker = Worker(sunset=NOW - timedelta(days=1))
        await asyncio.wait_for(worker.screen(NOW_MS), 5)
        assert [json.loads(record.value)["outcomes"][0][2] for record in worker.written] == ["order_ended"]

    asyncio.run(check())


@pytest.mark.parametrize("replay", [False, True], ids=["live", "replay"])
def test_an_event_under_a_policy_of_a_newer_release_is_left_to_another_worker(
    replay: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "CHECK_SECONDS", 0.01)

    async def check() -> None:
        worker = Worker(replay=replay)
        worker.known.set()
        worker.timeline.intervals[1] = InForce(Policy(name="newer"), unknown="newer@1")
        earlier = NOW - timedelta(milliseconds=1)
        await asyncio.wait_for(worker.screen(NOW_MS - 1, observed_at=earlier), 5)  # an event before it is decided
        assert len(worker.written) == 2
        task = worker.screen(NOW_MS - 1, NOW_MS)
        await stays(task)
        worker.tracker.closed = True
        await asyncio.wait_for(task, 5)
        assert len(worker.written) == 2

    asyncio.run(check())


def test_the_home_of_an_event_is_that_of_its_site_or_else_of_the_deployment() -> None:
    async def outcome(division: str | None) -> str:
        worker = Worker()
        worker.known.set()
        if division is not None:
            worker.sites["s"] = Site("s", "road", division, 0)
        await asyncio.wait_for(worker.screen(NOW_MS, origin="370102"), 5)
        return next(json.loads(one.value)["outcomes"][0][2] for one in worker.written if one.topic is OUTCOMES)

    divisions = ("370102", "370102001", "110101", "", None)
    found = [asyncio.run(outcome(division)) for division in divisions]
    assert found == ["clear", "clear", "quarantine", "turn_back", "turn_back"]
