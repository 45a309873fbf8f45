"""`ninezero publish`: the counts that may leave the health authority, one day at a time."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from ninezero.agents.cli.target import open_to_change
from ninezero.streams import settings


def publish() -> None:
    """Publishes, once, each day that ended 48 hours ago: by division, with small counts suppressed and the rest rounded."""
    from ninezero.agents.recording import publishing
    from ninezero.streams import clickhouse

    until = publishing.last_publishable_day(datetime.now(UTC), settings.timezone(os.environ))
    k = settings.k(os.environ)
    engine = open_to_change(settings.clickhouse(os.environ))
    clickhouse.ensure_schema(engine, settings.timezone(os.environ))
    published = publishing.publish(engine, until, k)
    engine.close()
    for day in published:
        print(day)
    if not published:
        print(f"nothing to publish: all days with counts up to {until} are published")
