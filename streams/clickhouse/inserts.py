"""Inserts of the recorder, measured by table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import TABLES
from ninezero.streams import metrics
from ninezero.streams.clickhouse.engine import ClickHouseError, Engine

QUORUM_SECONDS = 5.0
"""Time for which an insert waits for the quorum of another process's insert into the same table."""

_PREVIOUS_QUORUM = 286
"""Error code of ClickHouse: the insert before this one has not reached its quorum yet."""


def insert(engine: Engine, table: str, rows: Block | Sequence[tuple[Any, ...]]) -> None:
    """Inserts rows into a table of `ninezero_data`; returns when ClickHouse has acknowledged them.

    Raises:
        ClickHouseError: the insert failed. The rows may be durable all the same, because the answer may be lost.
    """
    started = time.perf_counter()
    while True:
        try:
            engine.insert(f"ninezero_data.{table}", TABLES[table]._fields, rows)
            break
        except ClickHouseError as error:  # on a cluster, a table takes one insert after the other
            if error.code != _PREVIOUS_QUORUM or time.perf_counter() - started > QUORUM_SECONDS:
                raise
            time.sleep(0.05)
    metrics.sink_insert.labels(table).observe(time.perf_counter() - started)
    metrics.sink_rows.labels(table).inc(len(rows))
