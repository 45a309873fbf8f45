"""Progress: the offset up to which each Kafka partition is recorded, and the rows that prove that it still is.

Progress is stored in a table of its own, so facts can be lost while the progress remains: a table is dropped and created
again, truncated, or restored from an older backup. Therefore each offset is stored with a *proof*: for every table, the
key of the last row that was inserted on the way to that offset. Rows are replaced by newer versions but never deleted,
except by retention (days that are sealed) and with their case (14 days after its closure). If the row of a proof is gone,
other rows are gone too, and the partition is recorded again from the oldest record that Kafka has. This starts a new
*rebuild*; offsets of earlier rebuilds no longer count.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Set
from datetime import date, timedelta
from typing import Any, NamedTuple

import msgspec
from faust.types import TP

from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import KEY_COLUMNS, ProgressRow
from ninezero.streams.clickhouse.engine import Engine

CASE_PROOF_DAYS = 13
"""Age in days up to which a row of a case proves progress. Cases are deleted 14 days after they closed, so every event of
a deleted case is older."""

CASE_TABLES = ("quarantine_facts", "followup_facts")

Key = list[Any]
"""The values of a row in the key columns of its table; dates as text."""

Proof = dict[str, Key]
"""Table → key of a row that must exist in it."""


class Progress(NamedTuple):
    """The offset up to which a partition is recorded, and its proof.

    `next_offset` is the first offset that is not recorded. `rebuild` is 0, or the time at which the rebuild began, Unix
    time in ns. `proof` names the rows that must exist.
    """

    next_offset: int = 0
    rebuild: int = 0
    proof: Proof = {}  # noqa: RUF012  # read only: `proof_after` returns a new dictionary


PartitionProgress = dict[TP, Progress]


def read(engine: Engine) -> dict[tuple[TP, str], Progress]:
    """Returns the progress of each (partition, topic id). A topic that was deleted and created again has another id."""
    rows = engine.query(
        "SELECT topic, partition, topic_id, max((refill, next_offset)) AS latest, argMax(held, (refill, next_offset)) AS proof "
        "FROM ninezero_data.recorder_progress GROUP BY topic, topic_id, partition"
    )
    found = {}
    for row in rows:
        rebuild, next_offset = row["latest"]
        proof = msgspec.json.decode(row["proof"] or "{}", type=Proof)
        tp = TP(row["topic"], int(row["partition"]))
        found[tp, row["topic_id"]] = Progress(int(next_offset), int(rebuild), proof)
    return found


def row(tp: TP, topic_id: str, progress: Progress) -> ProgressRow:
    """Returns the row of `recorder_progress` that stores the progress of a partition."""
    return ProgressRow(
        topic=tp.topic,
        topic_id=topic_id,
        partition=tp.partition,
        next_offset=progress.next_offset,
        refill=progress.rebuild,
        held=msgspec.json.encode(progress.proof).decode(),
    )


def tables_with_lost_rows(engine: Engine, recorded: PartitionProgress, sealed_days: Set[date], today: date) -> set[str]:
    """Returns the tables in which the row of a proof does not exist.

    Rows that retention may have deleted are not checked: rows of sealed days, and rows of cases that are older than
    `CASE_PROOF_DAYS` before `today`.
    """
    oldest_case_day = today - timedelta(days=CASE_PROOF_DAYS)

    def may_be_deleted(table: str, key: Key) -> bool:
        values = dict(zip(KEY_COLUMNS[table], key, strict=True))
        if "day" not in values:
            return False
        day = date.fromisoformat(values["day"])
        return day < oldest_case_day if table in CASE_TABLES else day in sealed_days

    checked = {
        _from_where(table, key): table
        for progress in recorded.values()
        for table, key in progress.proof.items()
        if not may_be_deleted(table, key)
    }
    if not checked:
        return set()
    selects = (f"SELECT {n} AS n FROM {from_where} LIMIT 1" for n, from_where in enumerate(checked))
    existing = {int(row["n"]) for row in engine.query(" UNION ALL ".join(selects))}
    return {table for n, table in enumerate(checked.values()) if n not in existing}


def proof_after(before: Proof, written: Mapping[str, Block]) -> Proof:
    """Returns the proof after an insert: the last row of each table that got rows, and the earlier rows of the others."""
    last = {table: block for table, block in written.items() if len(block) and table in KEY_COLUMNS}
    keys = {table: [_plain(block.last_value(name)) for name in KEY_COLUMNS[table]] for table, block in last.items()}
    return before | keys


def restarted(recorded: PartitionProgress, tables: Set[str]) -> PartitionProgress:
    """Returns the beginning of a rebuild for each partition that has inserted rows into one of the tables."""
    return {tp: Progress(0, time.time_ns()) for tp, progress in recorded.items() if tables & progress.proof.keys()}


def _from_where(table: str, key: Key) -> str:
    where = " AND ".join(
        f"{name} = {_literal(value)}" for name, value in zip(KEY_COLUMNS[table], key, strict=True)
    )  # values are quoted; table and columns come from KEY_COLUMNS
    return f"ninezero_data.{table} WHERE {where}"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _literal(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
