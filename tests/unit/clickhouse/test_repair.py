"""Cases that were lost are recomputed from their facts, in the real embedded engine."""

from __future__ import annotations

from datetime import date

from ninezero.agents.logic.days import Days
from ninezero.agents.recording.case_tables import repair_cases, roll_up_cases
from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import QuarantineFactRow
from ninezero.streams.clickhouse import Engine

MINUTE, DAY = 1_767_200_040, date(2026, 1, 1)


def test_lost_cases_are_recomputed_from_their_facts(engine: Engine) -> None:
    days = Days("Asia/Shanghai")
    fact = QuarantineFactRow("c." + "0" * 32, MINUTE * 1_000_000, DAY, "d", 1, "q", "admitted", "", "", 0, 0, "", 1)
    engine.insert("ninezero_data.quarantine_facts", QuarantineFactRow._fields, [fact])
    roll_up_cases(engine, {"quarantine_facts": Block("quarantine_facts", [fact])}, days)
    before = engine.query("SELECT * FROM ninezero_data.quarantine_cases FINAL")
    engine.execute("TRUNCATE TABLE ninezero_data.quarantine_cases")
    repair_cases(engine, days)
    assert before and engine.query("SELECT * FROM ninezero_data.quarantine_cases FINAL") == before
