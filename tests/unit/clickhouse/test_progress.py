"""What is lost is noticed, and what follows from facts is computed again: in the real embedded engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from faust.types import TP

from ninezero.agents.logic.days import Days
from ninezero.agents.recording.case_tables import mend_cases, roll_up_cases
from ninezero.agents.recording.recorder import mend_rollup, roll_up
from ninezero.schemas.rows import FIRST_WINS, KEYS, TABLES, Block, DeadLetterRow, QuarantineFactRow, ScreeningFact
from ninezero.streams.clickhouse import engines as clickhouse
from ninezero.streams.clickhouse import progress
from ninezero.streams.clickhouse.engines import SQL, Engine
from ninezero.streams.clickhouse.progress import Reached

MINUTE, DAY = 1_767_200_040, date(2026, 1, 1)
ONE, OTHER = TP("decisions", 0), TP("decisions", 1)
FACTS = [
    ScreeningFact(DAY, MINUTE, "s", "d", n, "vehicle", "in", "", 1, "clear", 0, [], FIRST_WINS - 1) for n in range(5)
]
HOSTILE = DeadLetterRow(0, "a'b\\", 0, 1, "\\'; DROP TABLE x", "not_json", 7)


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = clickhouse.connect(f"chdb://{tmp_path_factory.mktemp('chdb')}")
    clickhouse.migrate(made)
    yield made
    made.close()


def write(engine: Engine, tp: TP, reached: Reached) -> None:
    engine.insert(
        "ninezero_data.recorder_progress", TABLES["recorder_progress"]._fields, [progress.row(tp, "id", reached)]
    )


def test_progress_lasts_and_its_rows_prove_it(engine: Engine) -> None:
    written = {name: Block(name, rows) for name, rows in (("screening_facts", FACTS), ("dead_letter_facts", [HOSTILE]))}
    for table, rows in written.items():
        engine.insert(f"ninezero_data.{table}", TABLES[table]._fields, rows)
    reached = Reached(7, 0, progress.proof({}, written))
    write(engine, ONE, reached)
    assert progress.read(engine) == {(ONE, "id"): reached}
    assert progress.lost(engine, {ONE: reached}, frozenset(), DAY) == set()
    assert progress.proof(reached.held, {"screening_facts": Block("screening_facts")}) == reached.held

    engine.execute("TRUNCATE TABLE ninezero_data.screening_facts")
    assert progress.lost(engine, {ONE: reached, OTHER: Reached()}, frozenset(), DAY) == {"screening_facts"}
    assert progress.lost(engine, {ONE: reached}, {DAY}, DAY) == set(), "the facts of a sealed day may go"


def test_the_facts_of_a_case_may_go_with_it(engine: Engine) -> None:
    held = {"followup_facts": ["2026-01-01", "d", 1]}
    for days, missing in ((13, {"followup_facts"}), (14, set())):
        assert progress.lost(engine, {ONE: Reached(7, 0, held)}, {DAY}, DAY + timedelta(days=days)) == missing


def test_a_refill_begins_at_nothing_and_what_was_known_before_it_counts_no_more(engine: Engine) -> None:
    before = Reached(9, 0, {"screening_facts": ["2026-01-01", MINUTE, "s", "d", 4]})
    write(engine, ONE, before)
    begun = progress.anew({ONE: before, OTHER: Reached(3)}, {"screening_facts"})
    assert begun.keys() == {ONE}
    write(engine, ONE, begun[ONE])
    write(engine, ONE, before._replace(offset=12))  # of a process that was asleep
    engine.execute("OPTIMIZE TABLE ninezero_data.recorder_progress FINAL")
    assert progress.read(engine) == {(ONE, "id"): begun[ONE]}


def test_the_keys_that_prove_progress_are_columns_of_their_tables_and_no_case_number() -> None:
    for table, key in KEYS.items():
        assert set(key) <= set(TABLES[table]._fields) - {"case_id"}


def test_counts_that_were_lost_are_computed_from_their_facts(engine: Engine) -> None:
    engine.insert("ninezero_data.screening_facts", ScreeningFact._fields, FACTS)
    roll_up(engine, {"screening_facts": Block("screening_facts", FACTS)})
    assert mend_rollup(engine) == []
    engine.execute("TRUNCATE TABLE ninezero_data.screening_rollup")
    assert mend_rollup(engine) == [DAY.isoformat()]
    assert [int(row["passages"]) for row in engine.query("SELECT passages FROM ninezero.screening_by_minute")] == [5]
    assert mend_rollup(engine) == []


def test_counts_of_a_sealed_day_stand(engine: Engine) -> None:
    engine.insert("ninezero_data.screening_facts", ScreeningFact._fields, FACTS)
    engine.insert("ninezero_data.sealed_days", ("day", "attempt", "at"), [(DAY, 0, 1)])
    assert mend_rollup(engine) == []


def test_cases_that_were_lost_are_computed_from_their_facts(engine: Engine) -> None:
    days = Days("Asia/Shanghai")
    fact = QuarantineFactRow("c." + "0" * 32, MINUTE * 1_000_000, DAY, "d", 1, "q", "admitted", "", "", 0, 0, "", 1)
    engine.insert("ninezero_data.quarantine_facts", QuarantineFactRow._fields, [fact])
    roll_up_cases(engine, {"quarantine_facts": Block("quarantine_facts", [fact])}, days)
    before = engine.query("SELECT * FROM ninezero_data.quarantine_cases FINAL")
    engine.execute("TRUNCATE TABLE ninezero_data.quarantine_cases")
    mend_cases(engine, days)
    assert before and engine.query("SELECT * FROM ninezero_data.quarantine_cases FINAL") == before


def test_migrate_makes_again_what_is_missing_of_tables_and_views_and_touches_nothing_else(engine: Engine) -> None:
    columns = "SELECT table, name, type FROM system.columns WHERE database LIKE 'ninezero%' ORDER BY table, name"
    before = engine.query(columns)
    engine.insert("ninezero_data.screening_facts", ScreeningFact._fields, FACTS)
    gone = ["ninezero.sites", "ninezero_data.dead_letter_facts", "ninezero_data.recorder_progress"]
    for name in gone:
        engine.execute(f"DROP TABLE {name}")
    assert clickhouse.migrate(engine) == gone
    assert engine.query(columns) == before
    assert len(engine.query("SELECT * FROM ninezero_data.screening_facts")) == 5


def test_every_statement_of_a_migration_names_what_it_makes() -> None:
    for path in SQL.glob("*.sql"):
        for statement in clickhouse.statements(path, "UTC"):
            assert clickhouse.OBJECT.match(statement), f"{path.name}: {statement[:60]}"
