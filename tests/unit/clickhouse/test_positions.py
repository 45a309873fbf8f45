"""A partition that ends with transaction markers is recorded up to its end: a restart finds nothing to read again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from ninezero.agents.recording.recorder import Recorder
from ninezero.streams.clickhouse import Engine, inserts, progress
from ninezero.streams.clickhouse.progress import Progress
from ninezero.streams.transport.offset_tracker import OffsetTracker

ONE = TP("receipts", 0)


@pytest.mark.parametrize(
    ("records", "ready", "reached"), [(0, True, 11), (3, True, 10), (0, False, 10)], ids=["idle", "waiting", "not-read"]
)
def test_the_markers_behind_the_last_record_are_recorded_and_read_once(
    records: int, ready: bool, reached: int, engine: Engine
) -> None:
    class Connection:
        async def call(self, work: Callable[[Engine], Any]) -> Any:
            return work(engine)

    async def offsets(end: int, *tps: Any) -> dict[TP, int]:
        return {ONE: end}

    async def position(tp: TP) -> int:
        return 11

    inserts.insert(engine, "recorder_progress", [progress.row(ONE, "id", Progress(next_offset=10))])
    tracker, rewound = OffsetTracker(), list[int]()
    tracker.position, tracker.passed, tracker.records = 10, 11 if ready else 0, records
    consumer: Any = SimpleNamespace(
        assignment=lambda: {ONE}, trackers={ONE: tracker}, topic_ids={ONE.topic: "id"}, position=position,
        end_offsets=lambda tps: offsets(11), earliest_offsets=lambda *tps: offsets(0), rewind=lambda tp, offset: rewound.append(offset),
    )  # fmt: skip
    connection: Any = Connection()
    writer: Any = None  # nothing is rejected here
    recorder = Recorder(connection, consumer, writer, "Asia/Shanghai", {})

    def recorded() -> int:
        return progress.read(engine)[ONE, "id"].next_offset

    asyncio.run(recorder._check_positions())
    assert (recorded(), rewound) == (reached, [])
    if reached == 11:  # after a restart: reading goes on at the offset that was committed
        consumer.trackers.clear()
        asyncio.run(recorder._check_positions())
        assert (recorded(), rewound) == (11, []), "a line in the log that ClickHouse has lost rows would be false"
