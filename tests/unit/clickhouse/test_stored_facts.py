"""How long facts are stored: dropped facts stay away after a restart, hashes are cleared, and a back-fill is not limited."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from ninezero.agents.recording import retention
from ninezero.schemas.rows import FIRST_WINS, DeadLetterRow, ScreeningFact
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import Engine
from tests.engines.clickhouse_server import ClickHouseServer
from tests.support import stored_files

FIRST = date(2026, 3, 1)
MINUTE = 1_772_300_040
SITE = "a-site-of-the-dropped-day"


def facts(days: int, site: str) -> list[ScreeningFact]:
    """Returns a fact of each day."""
    return [
        ScreeningFact(
            FIRST + timedelta(days=n), MINUTE + n * 86_400, site, "d", n, "vehicle", "in", "", 1, "clear", 0, [],
            "default@1", [], [], FIRST_WINS
        )
        for n in range(days)
    ]  # fmt: skip


def write(engine: Engine, rows: list[ScreeningFact]) -> None:
    engine.insert("ninezero_data.screening_facts", ScreeningFact._fields, rows)


def stored_bytes(folder: Path) -> int:
    """Returns the size of the columns of the first day, in all parts on disk."""
    return sum(len(content) for path, content in stored_files(folder) if path.match("20260301_*/*.bin"))


def drop_and_restart(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, restart: Callable[[], Engine], folder: Path
) -> None:
    """Drops the first of two days, restarts the database, and checks what is there, in the tables and on disk."""
    monkeypatch.setattr(retention, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(retention, "READ_SECONDS", 0)
    clickhouse.migrate(engine)
    for _ in range(3):
        write(engine, [*facts(1, SITE), *facts(2, "s")])
    engine.execute("OPTIMIZE TABLE ninezero_data.screening_facts FINAL")  # the merged parts are not active any more
    before = engine.query("SELECT * FROM ninezero.screening_by_day ORDER BY day, site_id")
    assert stored_bytes(folder) > 0
    assert [day.day for day in retention.retain(engine, *(FIRST + timedelta(days=1),) * 2)] == [FIRST]

    engine = restart()
    left = engine.query("SELECT DISTINCT toString(day) AS day FROM ninezero_data.screening_facts")
    assert left == [{"day": str(FIRST + timedelta(days=1))}]
    assert engine.query("SELECT * FROM ninezero.screening_by_day ORDER BY day, site_id") == before
    deadline = time.monotonic() + 10
    while stored_bytes(folder):
        assert time.monotonic() < deadline, "files of the dropped day are still there"
        time.sleep(0.2)
    engine.close()


def test_dropped_facts_stay_away_after_the_embedded_database_is_opened_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = clickhouse.connect(f"chdb://{tmp_path}/db")

    def restart() -> Engine:
        engine.close()
        return clickhouse.connect(f"chdb://{tmp_path}/db")

    drop_and_restart(monkeypatch, engine, restart, tmp_path)


@pytest.mark.server
def test_dropped_facts_stay_away_after_the_server_is_killed_and_started(
    monkeypatch: pytest.MonkeyPatch, clickhouse_server: ClickHouseServer
) -> None:
    engine = clickhouse.connect(clickhouse_server.url)

    def restart() -> Engine:
        engine.close()
        clickhouse_server.kill()
        clickhouse_server.start()
        return clickhouse.connect(clickhouse_server.url)

    drop_and_restart(monkeypatch, engine, restart, clickhouse_server.folder)


def test_a_back_fill_of_more_than_a_hundred_days_is_one_insert(engine: Engine) -> None:
    write(engine, facts(250, "s"))
    assert engine.query("SELECT toUInt32(count()) AS n FROM ninezero.screening_by_day") == [{"n": 250}]


def test_the_hash_of_a_dead_letter_is_cleared_after_seven_days_and_the_letter_still_counts(engine: Engine) -> None:
    now = int(time.time())
    letters = [
        DeadLetterRow((now - age * 86_400) // 3600 * 3600, "t", 0, age, "f" * 64, "bad_json", (now - age * 86_400) * 1000)
        for age in (0, 6, 8, 30)
    ]  # fmt: skip
    engine.insert("ninezero_data.dead_letter_facts", DeadLetterRow._fields, letters)
    engine.execute("OPTIMIZE TABLE ninezero_data.dead_letter_facts FINAL")
    rows = engine.query("SELECT offset, sha256 FROM ninezero_data.dead_letter_facts FINAL ORDER BY offset")
    assert [(int(row["offset"]), row["sha256"]) for row in rows] == [(0, "f" * 64), (6, "f" * 64), (8, ""), (30, "")]
    assert engine.query("SELECT toUInt32(sum(records)) AS n FROM ninezero.dead_letters_by_hour") == [{"n": 4}]
