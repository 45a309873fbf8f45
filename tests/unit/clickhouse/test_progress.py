"""Progress and marks are stored and compared with the rows, in the real embedded engine."""

from __future__ import annotations

from collections import Counter
from datetime import date

from faust.types import TP

from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import FIRST_WINS, KEY_COLUMNS, ROW_TYPES, TABLES, TIME_COLUMN, DeadLetterRow, ScreeningFact
from ninezero.streams.clickhouse import Engine, progress
from ninezero.streams.clickhouse.progress import MAX_MARKS, Mark, Progress

MINUTE, DAY = 1_767_200_040, date(2026, 1, 1)
ONE = TP("decisions", 0)
FACTS = [
    ScreeningFact(
        DAY, MINUTE, "s", "d", n, "vehicle", "in", "", 1, "clear", 0, [], "default@1", [], [], FIRST_WINS - 1000 - n
    )
    for n in range(5)
]
HOSTILE = DeadLetterRow(0, "a'b\\", 0, 1, "\\'; DROP TABLE x", "not_json", 7)


def write(engine: Engine, reached: Progress) -> None:
    engine.insert(
        "ninezero_data.recorder_progress", TABLES["recorder_progress"]._fields, [progress.row(ONE, "id", reached)]
    )


def test_progress_is_stored_with_marks_of_rows_that_exist(engine: Engine) -> None:
    written = {name: Block(name, rows) for name, rows in (("screening_facts", FACTS), ("dead_letter_facts", [HOSTILE]))}
    for table, rows in written.items():
        engine.insert(f"ninezero_data.{table}", TABLES[table]._fields, rows)
    reached = Progress(7, 0, 1234, 5, progress.marks_after({}, written, {}, 5))
    write(engine, reached)
    assert progress.read(engine) == {(ONE, "id"): reached}
    assert {table: [mark.time_ms for mark in marks] for table, marks in reached.marks.items()} == {
        "screening_facts": [1004],
        "dead_letter_facts": [7],
    }
    for table, day in (("screening_facts", DAY), ("dead_letter_facts", progress.NO_DAY)):
        assert progress.existing_marks(engine, table, reached.marks[table]) == (Counter({day: 1}), Counter({day: 1}))
        engine.execute(f"TRUNCATE TABLE ninezero_data.{table}")
        assert progress.existing_marks(engine, table, reached.marks[table]) == (Counter({day: 1}), Counter())


def test_marks_that_a_tally_includes_are_left_out_except_the_newest() -> None:
    marks = {"screening_facts": [Mark(n, ["2026-01-01", MINUTE, "s", "d", n], 5) for n in (1, 2, 3)]}
    counted = {"screening_facts": 1004}
    assert progress.marks_after(marks, {"screening_facts": Block("screening_facts")}, {"screening_facts": 2}, 5) == {
        "screening_facts": marks["screening_facts"][2:]
    }
    for fact in FACTS:
        marks = progress.marks_after(marks, {"screening_facts": Block("screening_facts", [fact])}, counted, 5)
    assert [mark.time_ms for mark in marks["screening_facts"]] == [1004]


def test_the_number_of_marks_is_bounded_and_the_newest_are_kept() -> None:
    marks: progress.Marks = {}
    for n in range(1000):
        fact = FACTS[0]._replace(seq=n, version=FIRST_WINS - n)
        marks = progress.marks_after(marks, {"screening_facts": Block("screening_facts", [fact])}, {}, 5)
    times = [mark.time_ms for mark in marks["screening_facts"]]
    assert len(times) <= MAX_MARKS + 1
    assert times == sorted(times) and times[-20:] == list(range(980, 1000))


def test_progress_of_an_earlier_rebuild_no_longer_counts(engine: Engine) -> None:
    write(engine, Progress(9))
    write(engine, Progress(0, rebuild=5))
    write(engine, Progress(12))  # written late by a process that was suspended
    engine.execute("OPTIMIZE TABLE ninezero_data.recorder_progress FINAL")
    assert progress.read(engine) == {(ONE, "id"): Progress(0, rebuild=5)}


def test_key_columns_and_times_are_columns_of_their_table_and_never_a_case_number() -> None:
    for table, key in KEY_COLUMNS.items():
        assert {*key, TIME_COLUMN[table]} <= set(ROW_TYPES[table]._fields) - {"case_id"}


def test_the_view_shows_until_when_each_partition_is_recorded_also_in_a_rebuild_and_for_a_new_topic(
    engine: Engine,
) -> None:
    def freshness() -> dict[int, tuple[str, int]]:
        rows = engine.query(
            "SELECT partition, recorded_until, lag_events FROM ninezero.recording_freshness WHERE topic = 'fresh'"
        )
        return {int(row["partition"]): (row["recorded_until"], int(row["lag_events"])) for row in rows}

    def insert(topic_id: str, partition: int, some: Progress) -> None:
        rows = [progress.row(TP("fresh", partition), topic_id, some)]
        engine.insert("ninezero_data.recorder_progress", TABLES["recorder_progress"]._fields, rows)

    insert("old", 0, Progress(900, 0, 1_700_000_000_000, 3))
    insert("old", 1, Progress(5, 0, 1_700_000_001_999, 0))
    assert freshness() == {0: ("2023-11-14 22:13:20", 3), 1: ("2023-11-14 22:13:21", 0)}
    insert("old", 1, Progress(5, 0, 1_700_000_060_000, 0))  # nothing new, read to the end
    insert("new", 0, Progress(7, 0, 1_700_000_120_000, 1))  # the topic was deleted and created again
    assert freshness() == {0: ("2023-11-14 22:15:20", 1), 1: ("2023-11-14 22:14:20", 0)}
    insert("old", 1, Progress(0, 9, 0, 0))  # a rebuild
    assert freshness()[1] == ("1970-01-01 00:00:00", 0)
