"""Lost rows are noticed, and lost counts are recomputed from their facts, in the real embedded engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from faust.types import TP

from ninezero.agents.logic.days import Days
from ninezero.agents.recording.case_tables import repair_cases, roll_up_cases
from ninezero.agents.recording.rollups import repair_rollups, roll_up
from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import FIRST_WINS, KEY_COLUMNS, TABLES, DeadLetterRow, QuarantineFactRow, ScreeningFact
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import Engine, migrations, progress
from ninezero.streams.clickhouse.progress import Progress

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


def write(engine: Engine, tp: TP, reached: Progress) -> None:
    engine.insert(
        "ninezero_data.recorder_progress", TABLES["recorder_progress"]._fields, [progress.row(tp, "id", reached)]
    )


def test_progress_is_stored_with_the_rows_that_prove_it(engine: Engine) -> None:
    written = {name: Block(name, rows) for name, rows in (("screening_facts", FACTS), ("dead_letter_facts", [HOSTILE]))}
    for table, rows in written.items():
        engine.insert(f"ninezero_data.{table}", TABLES[table]._fields, rows)
    reached = Progress(7, 0, progress.proof_after({}, written))
    write(engine, ONE, reached)
    assert progress.read(engine) == {(ONE, "id"): reached}
    assert progress.tables_with_lost_rows(engine, {ONE: reached}, frozenset(), DAY) == set()
    assert progress.proof_after(reached.proof, {"screening_facts": Block("screening_facts")}) == reached.proof

    engine.execute("TRUNCATE TABLE ninezero_data.screening_facts")
    assert progress.tables_with_lost_rows(engine, {ONE: reached, OTHER: Progress()}, frozenset(), DAY) == {
        "screening_facts"
    }
    assert progress.tables_with_lost_rows(engine, {ONE: reached}, {DAY}, DAY) == set(), (
        "retention may drop the facts of a sealed day"
    )


def test_the_facts_of_a_deleted_case_prove_nothing_after_thirteen_days(engine: Engine) -> None:
    proof = {"followup_facts": ["2026-01-01", "d", 1]}
    for age_days, missing in ((13, {"followup_facts"}), (14, set())):
        assert (
            progress.tables_with_lost_rows(engine, {ONE: Progress(7, 0, proof)}, {DAY}, DAY + timedelta(days=age_days))
            == missing
        )


def test_a_rebuild_starts_from_nothing_and_earlier_progress_no_longer_counts(engine: Engine) -> None:
    before = Progress(9, 0, {"screening_facts": ["2026-01-01", MINUTE, "s", "d", 4]})
    write(engine, ONE, before)
    restarted = progress.restarted({ONE: before, OTHER: Progress(3)}, {"screening_facts"})
    assert restarted.keys() == {ONE}
    write(engine, ONE, restarted[ONE])
    write(engine, ONE, before._replace(next_offset=12))  # written late by a process that was suspended
    engine.execute("OPTIMIZE TABLE ninezero_data.recorder_progress FINAL")
    assert progress.read(engine) == {(ONE, "id"): restarted[ONE]}


def test_key_columns_are_columns_of_their_table_and_never_a_case_number() -> None:
    for table, key in KEY_COLUMNS.items():
        assert set(key) <= set(TABLES[table]._fields) - {"case_id"}


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


def test_migrate_creates_missing_tables_and_views_again_and_changes_nothing_else(engine: Engine) -> None:
    columns = "SELECT table, name, type FROM system.columns WHERE database LIKE 'ninezero%' ORDER BY table, name"
    before = engine.query(columns)
    engine.insert("ninezero_data.screening_facts", ScreeningFact._fields, FACTS)
    dropped = ["ninezero.sites", "ninezero_data.dead_letter_facts", "ninezero_data.recorder_progress"]
    for name in dropped:
        engine.execute(f"DROP TABLE {name}")
    assert clickhouse.migrate(engine) == dropped
    assert engine.query(columns) == before
    assert len(engine.query("SELECT * FROM ninezero_data.screening_facts")) == 5


def test_every_statement_of_a_migration_creates_one_named_object() -> None:
    for path in migrations.SQL_FOLDER.glob("*.sql"):
        for statement in migrations.statements(path, "UTC"):
            assert migrations.CREATED_OBJECT.match(statement), f"{path.name}: {statement[:60]}"
