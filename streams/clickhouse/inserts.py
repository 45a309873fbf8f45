"""Inserts of the recorder, measured by table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import TABLES
from ninezero.streams import metrics
from ninezero.streams.clickhouse.engine import Engine


def insert(engine: Engine, table: str, rows: Block | Sequence[tuple[Any, ...]]) -> None:
    """Inserts rows into a table of `ninezero_data`; returns when ClickHouse has acknowledged them.

    Raises:
        ClickHouseError: the insert failed. The rows may be durable all the same, because the answer may be lost.
    """
    started = time.perf_counter()
    engine.insert(f"ninezero_data.{table}", TABLES[table]._fields, rows)
    metrics.sink_insert.labels(table).observe(time.perf_counter() - started)
    metrics.sink_rows.labels(table).inc(len(rows))
