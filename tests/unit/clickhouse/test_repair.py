"""Counts and cases that were lost are recomputed from their facts, in the real embedded engine."""

from __future__ import annotations

from datetime import date

from ninezero.agents.logic.days import Days
from ninezero.agents.recording.case_tables import repair_cases, roll_up_cases
from ninezero.agents.recording.rollups import repair_rollups, roll_up
from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import FIRST_WINS, QuarantineFactRow, ScreeningFact
from ninezero.streams.clickhouse import Engine

MINUTE, DAY = 1_767_200_040, date(2026, 1, 1)
FACTS = [
    ScreeningFact(DAY, MINUTE, "s", "d", n, "vehicle", "in", "", 1, "clear", 0, [], FIRST_WINS - 1) for n in range(5)
]


def test_lost_counts_are_recomputed_from_their_facts(engine: Engine) -> None:
    engine.insert("ninezero_data.screening_facts", ScreeningFact._fields, FACTS)
    roll_up(engine, {"screening_facts": Block("screening_facts", FACTS)})
    assert repair_rollups(engine) == []
    engine.execute("TRUNCATE TABLE ninezero_data.screening_rollup")
    assert repair_rollups(engine) == [DAY.isoformat()]
    assert [int(row["passages"]) for row in engine.query("SELECT passages FROM ninezero.screening_by_minute")] == [5]
    assert repair_rollups(engine) == []


def test_counts_of_a_sealed_day_are_not_recomputed(engine: Engine) -> None:
    engine.insert("ninezero_data.screening_facts", ScreeningFact._fields, FACTS)
    engine.insert("ninezero_data.sealed_days", ("day", "attempt", "at"), [(DAY, 0, 1)])
    assert repair_rollups(engine) == []


def test_lost_cases_are_recomputed_from_their_facts(engine: Engine) -> None:
    days = Days("Asia/Shanghai")
    fact = QuarantineFactRow("c." + "0" * 32, MINUTE * 1_000_000, DAY, "d", 1, "q", "admitted", "", "", 0, 0, "", 1)
    engine.insert("ninezero_data.quarantine_facts", QuarantineFactRow._fields, [fact])
    roll_up_cases(engine, {"quarantine_facts": Block("quarantine_facts", [fact])}, days)
    before = engine.query("SELECT * FROM ninezero_data.quarantine_cases FINAL")
    engine.execute("TRUNCATE TABLE ninezero_data.quarantine_cases")
    repair_cases(engine, days)
    assert before and engine.query("SELECT * FROM ninezero_data.quarantine_cases FINAL") == before
