"""Imports point in one direction, and facts that are stated in Python and in SQL agree."""

import subprocess
import sys
from pathlib import Path

from ninezero.agents.logic.policy.rules import RULES
from ninezero.schemas.rows import TABLES
from ninezero.streams.kafka import topics

ROOT = Path(__file__).resolve().parents[3]


def test_imports_point_one_way() -> None:
    done = subprocess.run([str(Path(sys.executable).parent / "lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_rule_has_a_column_in_the_rollup_and_a_row_in_the_view() -> None:
    sql, by_minute = (
        (ROOT / "schemas" / "sql" / name).read_text() for name in ("001_screening.sql", "005_reasons_by_minute.sql")
    )
    for rule in RULES:
        assert f"r_{rule} UInt32" in sql
        assert f"('{rule}', r_{rule})" in sql
        assert f"('{rule}', r_{rule})" in by_minute


def test_every_table_of_rows_is_created_by_a_migration() -> None:
    sql = "".join(path.read_text() for path in (ROOT / "schemas" / "sql").glob("*.sql"))
    for table in TABLES:
        assert f"ninezero_data.{table} (" in sql


def test_no_table_or_view_has_a_column_for_a_token() -> None:
    sql = "".join(path.read_text() for path in (ROOT / "schemas" / "sql").glob("*.sql"))
    assert not [word for word in ("token", "plate", "phone", "passport", "name String,") if f" {word}" in sql.lower()]


def test_topics_have_the_retention_of_the_contract() -> None:
    hours = {topic.name: topic.hours for topic in topics.ALL}
    assert hours["checkpoint-scans"] == hours["station-arrivals"] == hours["screening-outcomes"] == 24
    assert (
        hours["screening-alerts"] == 72 and hours["dead-letters"] == 7 * 24 and hours["screening-decisions"] == 14 * 24
    )
    assert hours["watchlist"] is None and topics.WATCHLIST.partitions == 1
    for topic in topics.ALL:
        assert topic.config()["message.timestamp.type"] == "LogAppendTime"
