"""`ninezero migrate`: the tables and views of ClickHouse."""

from __future__ import annotations

import os

from ninezero.streams import settings


def migrate() -> None:
    """Brings the ClickHouse schema up to date."""
    from ninezero.streams import clickhouse

    engine = clickhouse.connect(settings.clickhouse(os.environ))
    applied = clickhouse.migrate(engine, settings.timezone(os.environ))
    engine.close()
    print(f"applied: {', '.join(applied) or 'nothing, all migrations were applied before'}")
