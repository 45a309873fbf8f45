"""Progress is stored with its proof, and lost rows are noticed, in the real embedded engine."""

from __future__ import annotations

from datetime import date, timedelta

from faust.types import TP

from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import FIRST_WINS, KEY_COLUMNS, TABLES, DeadLetterRow, ScreeningFact
from ninezero.streams.clickhouse import Engine, progress
from ninezero.streams.clickhouse.progress import Progress

MINUTE, DAY = 1_767_200_040, date(2026, 1, 1)
ONE, OTHER = TP("decisions", 0), TP("decisions", 1)
FACTS = [
    ScreeningFact(DAY, MINUTE, "s", "d", n, "vehicle", "in", "", 1, "clear", 0, [], FIRST_WINS - 1) for n in range(5)
]
HOSTILE = DeadLetterRow(0, "a'b\\", 0, 1, "\\'; DROP TABLE x", "not_json", 7)


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
