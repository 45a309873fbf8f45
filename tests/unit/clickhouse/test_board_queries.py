"""Queries of the board in the real embedded engine."""

from __future__ import annotations

import asyncio
from datetime import date

from ninezero.agents.board.queries.devices import conflicts
from ninezero.agents.board.queries.moment import Moment
from ninezero.agents.logic.situation_records import DeviceConflicts
from ninezero.schemas.rows import FIRST_WINS, DeviceEvent
from ninezero.streams.clickhouse import Engine, Row

TODAY = 1_767_225_600
"""1 January 2026, 08:00 in Shanghai."""


def test_the_board_finds_the_devices_that_used_a_number_of_today_twice(engine: Engine) -> None:
    """Resends are no conflicts, nor are those of another day shown."""

    async def ask(sql: str) -> list[Row]:
        return engine.query(sql)

    def event(device: str, seq: int, digest: int, day: date = date(2026, 1, 1), version: int = 0) -> DeviceEvent:
        return DeviceEvent(day, device, seq, "road-01", digest, 0, FIRST_WINS - version)

    events = [event("one", n, 7, version=n) for n in (0, 0, 1)]
    events += [event("two", n, digest, version=2 * n + digest) for n in range(3) for digest in (0, 1)]
    events += [event("three", 4, digest, version=digest) for digest in (0, 1)]
    events += [event("before", 4, digest, date(2025, 12, 31), digest) for digest in (0, 1)]
    for one in events:
        engine.insert("ninezero_data.device_events", DeviceEvent._fields, [one])
    found = asyncio.run(conflicts(ask, Moment(TODAY, "Asia/Shanghai")))
    assert found == [DeviceConflicts("two", "road-01", 3), DeviceConflicts("three", "road-01", 1)]
