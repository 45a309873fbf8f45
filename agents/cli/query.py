"""`ninezero query`: one read-only statement for ClickHouse."""

from __future__ import annotations

import csv
import json
import os
import sys
from typing import Annotated, Literal

import typer

from ninezero.agents.cli.console import csv_cell, print_table, query_url
from ninezero.streams import settings


def query(
    sql: Annotated[str, typer.Argument(help="One SELECT statement.")],
    format_: Annotated[
        Literal["table", "json", "csv"],
        typer.Option("--format", help="Output format: table, json (one object a row) or csv."),
    ] = "table",
) -> None:
    """Runs one read-only statement in ClickHouse (60 s, 2 GB, a million rows), also while a worker uses the embedded engine."""
    from ninezero.streams import clickhouse

    clickhouse.check_read_only(sql)
    engine = clickhouse.connect(settings.clickhouse_reader(os.environ) or query_url())
    try:
        rows = engine.read(sql)
    except clickhouse.ClickHouseError as error:
        raise clickhouse.with_remedy(error) from None
    finally:
        engine.close()
    if format_ == "json":
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    elif format_ == "csv":
        writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    else:
        print_table(rows)
