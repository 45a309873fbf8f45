"""Deleted cases do not return after a restart, in the real embedded engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ninezero.agents.logic.days import Days
from ninezero.agents.recording.case_deletion import delete_closed_cases
from ninezero.agents.recording.case_tables import record_cases
from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import FIRST_WINS, QuarantineFactRow
from ninezero.streams import clickhouse

ZONE = "Asia/Shanghai"


def test_a_deleted_case_does_not_return_after_a_restart(tmp_path: Path) -> None:
    """Its older rows, which say that it is open, must not return either."""
    url, released = f"chdb://{tmp_path}", datetime.now(UTC) - timedelta(days=20)
    engine = clickhouse.connect(url)
    clickhouse.migrate(engine, ZONE)
    for n, kind in enumerate(("admitted", "reading", "released")):
        at_us = int((released - timedelta(days=2 - n)).timestamp()) * 1_000_000
        fact = QuarantineFactRow(
            "c." + "0" * 32, at_us, "d", n, "q", kind, "", "", False, False, "", 14, FIRST_WINS - n
        )
        record_cases(engine, {"quarantine_facts": Block("quarantine_facts", [fact])}, Days(ZONE))
    days = "SELECT * FROM ninezero.quarantine_by_day ORDER BY day"
    kept = engine.query(days)
    assert [int(row["admitted"]) for row in kept] == [1, 0, 0] and [int(row["released"]) for row in kept] == [0, 0, 1]

    assert delete_closed_cases(engine, datetime.now(UTC).date() - timedelta(days=14)) == 1
    for _ in range(2):
        assert engine.query(days) == kept
        assert engine.query("SELECT 1 FROM ninezero_data.quarantine_cases") == []
        engine.close()
        engine = clickhouse.connect(url)
    engine.close()
