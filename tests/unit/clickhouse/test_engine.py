"""Errors of an engine have one line, only statements that read pass the check, and an insert waits for the quorum of another one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import ScreeningFact
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import ClickHouseError, Engine, inserts
from ninezero.streams.clickhouse.embedded import without_cgroup_trace


def test_a_rejected_statement_is_reported_in_one_line(engine: Engine) -> None:
    with pytest.raises(ClickHouseError) as error:
        engine.query("SELECT nothing FROM nowhere")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sql", ["DROP TABLE x", "insert into x values (1)", ";", ""])
def test_only_statements_that_read_are_accepted(sql: str) -> None:
    with pytest.raises(ClickHouseError):
        clickhouse.check_read_only(sql)


class Busy:
    """An engine on which the insert of another process has not reached its quorum yet, for a number of attempts."""

    def __init__(self, attempts: int, code: int) -> None:
        self.left, self.code, self.inserted = attempts, code, 0

    def insert(self, table: str, columns: object, rows: Sequence[object]) -> None:
        if self.left:
            self.left -= 1
            raise ClickHouseError(
                f"Code: {self.code}. DB::Exception: Quorum for previous write has not been satisfied yet"
            )
        self.inserted += len(rows)


def test_an_insert_waits_for_the_quorum_of_another_one_but_for_no_other_error(monkeypatch: pytest.MonkeyPatch) -> None:
    busy: Any = Busy(2, 286)
    inserts.insert(busy, "site_register", [("s", "gate", "370115", 0, 1)])
    assert busy.inserted == 1
    with pytest.raises(ClickHouseError):
        inserts.insert(Busy(1, 242), "site_register", [])  # type: ignore[arg-type]
    monkeypatch.setattr(inserts, "QUORUM_SECONDS", 0)
    with pytest.raises(ClickHouseError):
        inserts.insert(Busy(5, 286), "site_register", [])  # type: ignore[arg-type]


def test_groups_of_rows_are_inserted_as_the_rows_that_they_stand_for(engine: Engine) -> None:
    common = ScreeningFact(date(2026, 1, 1), 0, "", "", 0, "vehicle", "in", "", 2, "refer", 0, ["it's", "a\\b"],
                           "p@1", ["p@2", "q@1"], ["hold", "clear"], 7)  # fmt: skip
    rows = [common._replace(minute=60 * n, site_id=f"s'{n}", device_id="d\\n", seq=2**63 - n) for n in range(20)]
    block = Block("screening_facts")
    varying = {name: [getattr(row, name) for row in rows] for name in block.varying}
    block.extend_groups([tuple((common._asdict() | varying).values())])
    assert block.rows_per_group == 20 and list(block) == rows
    engine.insert("ninezero_data.screening_facts", block.names, block)
    found = engine.query(
        "SELECT * REPLACE (toUInt32(minute) AS minute, toString(seq) AS seq) FROM ninezero_data.screening_facts ORDER BY minute"
    )
    assert [ScreeningFact(**row | {"day": date.fromisoformat(row["day"]), "seq": int(row["seq"]), "version": int(row["version"])}) for row in found] == rows  # fmt: skip


def test_only_the_trace_of_missing_cgroups_is_left_out_of_what_is_written_while_chdb_is_imported(
    capfd: pytest.CaptureFixture[str],
) -> None:
    trace = (
        "Cannot use cgroups reader: Code: 107. DB::Exception: Cannot find cgroups v1 or v2 current memory file. (FILE_DOESNT_EXIST),"
        " Stack trace (when copying this message, always include the lines below):\n\n0. ? @ 0x00000000027d6292\n (version 26.5.1.1)\n"
    )
    for before, written, after in (
        ("", trace, ""),
        ("a\n", trace, "b\n"),
        ("a\n", "", "b\n"),
        (" (version 1)\n", trace, "c\n"),
    ):
        with without_cgroup_trace():
            os.write(2, f"{before}{written}{after}".encode())
        assert capfd.readouterr().err == before + after


@pytest.mark.parametrize("existing", [False, True])
def test_no_other_user_may_read_an_embedded_database(tmp_path: Path, existing: bool) -> None:
    """Also one of an earlier release, beside other files in a folder whose rights are not its own to change."""
    folder = tmp_path / "state"
    if existing:
        folder.mkdir(0o755)
        (folder / "data").mkdir(0o755)
    engine = clickhouse.connect(f"chdb://{folder}")
    engine.execute("CREATE TABLE t (x String) ENGINE = MergeTree ORDER BY x")
    engine.close()
    assert list((folder / "data").iterdir())
    assert (folder / "data").stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o777 == (0o755 if existing else 0o700)
