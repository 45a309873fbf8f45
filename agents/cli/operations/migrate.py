"""`ninezero migrate`: the tables and views of ClickHouse."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ninezero.agents.cli.target import open_to_change
from ninezero.streams import settings


def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Print what would run, and change nothing.")] = False,
) -> None:
    """Installs or upgrades the ClickHouse schema, and creates missing tables and views again. It may be interrupted and repeated."""
    from ninezero.streams import clickhouse

    url, timezone = settings.clickhouse(os.environ), settings.timezone(os.environ)
    if plan:
        _print_plan(url, timezone)
        return
    engine = open_to_change(url)
    applied = clickhouse.migrate(engine, timezone)
    engine.close()
    print(f"applied: {', '.join(applied) or 'nothing, all migrations were applied before'}")


def _print_plan(url: str, timezone: str) -> None:
    from ninezero.streams import clickhouse
    from ninezero.streams.clickhouse.migrations import in_cluster
    from ninezero.streams.clickhouse.upgrade import plan

    folder = clickhouse.embedded_folder(url)
    engine = clickhouse.connect(url) if folder is None or folder.exists() else None  # connecting creates the folder
    cluster = engine.cluster if engine else ""
    found = plan(engine, timezone)
    if engine:
        engine.close()
    for step in found.steps:
        left = step.migration.statements[step.first :]
        print(f"-- {step.migration.name}: {len(left)} of {len(step.migration.statements)} statements")
        for statement in left:
            print(f"{in_cluster(statement.sql, cluster)};")
    if found.restored:
        print("-- created again, empty")
    for statement in found.restored:
        print(f"{in_cluster(statement.sql, cluster)};")
    if not found.steps and not found.restored:
        print("-- nothing to run: all migrations are applied")
