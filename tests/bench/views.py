"""Measures ClickHouse at size: every query of the board, every view for a month, and bytes on disk: `python -m tests.bench.views`.

The database holds 14 live days and 16 frozen ones of a million facts at 1,000 sites each, and 4,000 cases. Its content is made by
the server from random numbers: regular data would flatter the codecs. The frozen days are made by retention. Goals: each part of
the board in less than 1 s, each view of a month in less than 2 s on two threads, a backtest of ten days in less than 10 s, at most
15 bytes per event.

python -m tests.bench.views [--facts N] [--live DAYS] [--frozen DAYS] [--engine embedded|server] [--folder PATH]
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from ninezero.agents.board.situation import Situation
from ninezero.agents.logic.days import Days
from ninezero.agents.logic.policy.policy import DEFAULT, Policy
from ninezero.agents.recording import retention
from ninezero.agents.recording.backtest import backtest
from ninezero.agents.recording.completeness import roll_up_devices
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import Engine, Row
from tests.bench import results, view_data
from tests.engines.clickhouse_server import start_server

TIMEZONE = "Asia/Shanghai"
REPEATS = 3
PANEL_SECONDS, VIEW_SECONDS, BACKTEST_SECONDS, EVENT_BYTES = 1.0, 2.0, 10.0, 15.0
BACKTEST_DAYS = 10
MONTH_COLUMNS = {
    "day": "day >= toDate('{first}')",
    "minute": "minute >= toDateTime({at})",
    "hour": "hour >= toDateTime({at})",
}
"""The column of time of a view, and the condition on it that selects a month."""


class Shape(NamedTuple):
    """The size of the database: facts of a day, and days that are live and frozen."""

    facts: int
    live: int
    frozen: int


class Spent(NamedTuple):
    """Seconds that passed, and CPU seconds of this process: with an embedded database, on an idle machine, about twice as many."""

    seconds: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s, CPU {self.cpu:.3f} s"


@dataclass
class Figures:
    """What each part of the board and each view took (median of REPEATS), bytes per event by table and column."""

    panels: dict[str, Spent] = field(default_factory=dict)
    views: dict[str, Spent] = field(default_factory=dict)
    bytes_by_table: dict[str, float] = field(default_factory=dict)
    bytes_by_column: dict[str, float] = field(default_factory=dict)
    frozen_bytes: float = 0.0
    backtest: Spent | None = None
    """What a backtest of the last ten days takes."""
    freeze: Spent | None = None
    """What the freezing of one day takes, beside the facts of all live days."""


def fill(engine: Engine, shape: Shape, now: datetime) -> float:
    """Writes all days and cases. Returns the bytes on disk of a frozen day."""
    days, at_us = Days(TIMEZONE), int(now.timestamp() * 1e6)
    today = days.of(at_us)
    view_data.create_devices(engine, shape.facts)
    first = today - timedelta(days=shape.frozen + shape.live - 1)
    frozen_bytes = 0.0
    retention.SETTLE_SECONDS = retention.READ_SECONDS = 0  # nothing else writes or reads
    for n in range(shape.frozen + shape.live):
        day, began = first + timedelta(days=n), time.monotonic()
        view_data.write_day(engine, day, n, days, at_us)
        if n < shape.frozen:
            retention.retain(engine, day + timedelta(days=1), day + timedelta(days=1))
        if n == shape.frozen - 1:
            _merge(engine)
            frozen_bytes = _bytes_on_disk(engine) / shape.frozen
        _progress(f"{day}: {time.monotonic() - began:.1f} s")
    view_data.write_cases(engine, days, now)
    _merge(engine)
    while roll_up_devices(engine, today):
        pass
    time.sleep(61)  # runs of devices count a minute after they were computed
    view_data.drop_devices(engine)
    return frozen_bytes


def measure(engine: Engine, now: datetime) -> Figures:
    """Returns the figures of a database that `fill` has filled."""
    figures = Figures()
    figures.panels = asyncio.run(_panels(engine))
    for view in engine.query("SELECT name FROM system.tables WHERE database = 'ninezero' ORDER BY name"):
        name = view["name"]
        columns = {row["name"]: row["type"] for row in engine.query(f"DESCRIBE TABLE ninezero.{name}")}
        first = now - timedelta(days=29)
        where = next((sql for column, sql in MONTH_COLUMNS.items() if column in columns), "1 = 1")
        condition = where.format(first=first.date(), at=int(first.timestamp()))
        sums = ", ".join(_summary(column, kind) for column, kind in columns.items())
        sql = f"SELECT {sums} FROM ninezero.{name} WHERE {condition}"
        figures.views[name] = _median(_timed(engine, sql) for _ in range(REPEATS))
        _progress(f"{name}: {figures.views[name]}")
    figures.backtest = _median(_backtest(engine) for _ in range(REPEATS))
    _measure_disk(engine, figures)
    return figures


def _backtest(engine: Engine) -> Spent:
    """Judges ten days under a policy with other outcomes."""
    policy = Policy(outcomes={"weak_match": "turn_back", "health_code_red": "hold", "close_contact": "refer"})
    began, cpu = time.monotonic(), time.process_time()
    found = backtest(engine.read, policy, {"default@1": DEFAULT}.get, BACKTEST_DAYS)
    assert len(found.cells) > len(found.days) and any(cell.old != cell.new for cell in found.cells)
    return Spent(time.monotonic() - began, time.process_time() - cpu)


async def _panels(engine: Engine) -> dict[str, Spent]:
    """Returns what all queries of each part of the board took."""

    async def ask(sql: str) -> list[Row]:
        return engine.query(sql)

    found: dict[str, list[Spent]] = {}
    for _ in range(REPEATS):
        situation = Situation(ask, TIMEZONE, replay=False)
        for name, part in situation.parts.items():
            began, cpu = time.monotonic(), time.process_time()
            await part.refresh(situation._ask, situation.moment)
            assert not part.failed, f"the board cannot read {name}"
            found.setdefault(name, []).append(Spent(time.monotonic() - began, time.process_time() - cpu))
    return {name: _median(some) for name, some in found.items()}


def _measure_disk(engine: Engine, figures: Figures) -> None:
    events = int(engine.query("SELECT count() AS n FROM ninezero_data.device_events")[0]["n"])
    active = "WHERE database = 'ninezero_data' AND active"
    for row in engine.query(f"SELECT table, sum(bytes_on_disk) AS n FROM system.parts {active} GROUP BY table"):
        figures.bytes_by_table[row["table"]] = int(row["n"]) / events
    for row in engine.query(
        f"SELECT table, column, sum(column_data_compressed_bytes) AS n FROM system.parts_columns {active} GROUP BY table, column"
    ):
        if (each := int(row["n"]) / events) >= 0.01:
            figures.bytes_by_column[f"{row['table']}.{row['column']}"] = each


def _bytes_on_disk(engine: Engine) -> int:
    rows = engine.query("SELECT sum(bytes_on_disk) AS n FROM system.parts WHERE database = 'ninezero_data' AND active")
    return int(rows[0]["n"])


def _summary(column: str, kind: str) -> str:
    """Returns an aggregate that needs every value of a column and sends one."""
    return f"sum({column})" if re.search("Int|Float", kind) else f"max({column})"


def _timed(engine: Engine, sql: str) -> Spent:
    began, cpu = time.monotonic(), time.process_time()
    engine.query(sql)
    return Spent(time.monotonic() - began, time.process_time() - cpu)


def _median(some: Iterable[Spent]) -> Spent:
    return sorted(some)[REPEATS // 2]


def _merge(engine: Engine) -> None:
    for row in engine.query(
        "SELECT name FROM system.tables WHERE database = 'ninezero_data' AND engine LIKE '%MergeTree'"
    ):
        engine.execute(f"OPTIMIZE TABLE ninezero_data.{row['name']} FINAL")


def show(figures: Figures, shape: Shape, version: str) -> Iterator[str]:
    """Yields the lines of the report. A figure beyond its goal is marked with `!`."""
    yield f"ClickHouse {version}: {shape.live} live and {shape.frozen} frozen days of {shape.facts:,} facts"
    for title, found, goal in (
        ("part of the board", figures.panels, PANEL_SECONDS),
        ("view of a month", figures.views, VIEW_SECONDS),
    ):
        yield f"{title:38} seconds, goal {goal:g}  CPU seconds"
        for name, spent in sorted(found.items(), key=lambda item: -item[1].seconds):
            yield f"  {name:36} {spent.seconds:7.3f} {'!' if spent.seconds > goal else ' '} {spent.cpu:15.3f}"
    total = sum(figures.bytes_by_table.values())
    yield f"bytes on disk per event: {total:.2f} (goal {EVENT_BYTES:g}){' !' if total > EVENT_BYTES else ''}"
    for table, each in sorted(figures.bytes_by_table.items(), key=lambda item: -item[1]):
        columns = sorted(((c, n) for c, n in figures.bytes_by_column.items() if c.startswith(f"{table}.")), key=lambda item: -item[1])  # fmt: skip
        yield f"  {table:24} {each:6.2f}   " + ", ".join(f"{c.partition('.')[2]} {n:.2f}" for c, n in columns)
    if figures.backtest is not None:
        mark = " !" if figures.backtest.seconds > BACKTEST_SECONDS else ""
        yield f"a backtest of {BACKTEST_DAYS} days: {figures.backtest} (goal {BACKTEST_SECONDS:g} s){mark}"
    yield f"a frozen day: {figures.frozen_bytes:,.0f} bytes; freezing one day took {figures.freeze}"


def freeze_oldest(engine: Engine) -> Spent:
    """Seals and freezes the oldest live day. Returns what it took."""
    (oldest,) = engine.query("SELECT min(day) AS day FROM ninezero_data.screening_facts")
    before = date.fromisoformat(oldest["day"]) + timedelta(days=1)
    retention.SETTLE_SECONDS = 0
    began, cpu = time.monotonic(), time.process_time()
    retention.seal(engine, before)
    retention.freeze(engine, before)
    return Spent(time.monotonic() - began, time.process_time() - cpu)


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Engine]:
    """Opens an empty or already filled database of a kind in a folder."""
    server = start_server(folder) if kind == "server" else None
    engine = clickhouse.connect(server.admin_url if server else f"chdb://{folder}/db")
    clickhouse.migrate(engine, TIMEZONE)
    try:
        yield engine
    finally:
        engine.close()
        if server is not None:
            server.close()


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> None:
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description="Measures queries and disk of ClickHouse at size.")
    parser.add_argument("--facts", type=int, default=1_000_000)
    parser.add_argument("--live", type=int, default=14)
    parser.add_argument("--frozen", type=int, default=16)
    parser.add_argument("--engine", choices=("embedded", "server"), default="embedded")
    parser.add_argument("--folder", type=Path, help="a folder to keep; if it is filled, only the measurement is made")
    given = parser.parse_args(arguments)
    shape, now = Shape(given.facts, given.live, given.frozen), datetime.now(UTC)
    with tempfile.TemporaryDirectory() as name:
        folder = given.folder or Path(name)
        filled = (folder / "filled").exists()
        with opened(given.engine, folder) as engine:
            frozen_bytes = 0.0 if filled else fill(engine, shape, now)
            (folder / "filled").touch()
            figures = measure(engine, now)
            figures.frozen_bytes = frozen_bytes
            figures.freeze = freeze_oldest(engine)
            version = engine.query("SELECT version() AS v")[0]["v"]
    print("\n".join(show(figures, shape, version)))
    found: Any = {"version": version, "shape": shape._asdict(), **vars(figures)}
    results.store(f"views-{given.engine}", found)


if __name__ == "__main__":
    main(sys.argv[1:])
