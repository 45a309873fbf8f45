"""`ninezero publish`: what may leave the health authority, a day at a time."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from ninezero.agents.cli.console import query_url
from ninezero.streams import settings


def publish() -> None:
    """Publishes each day that ended 48 hours ago, once: by division, small counts suppressed, the rest rounded."""
    from ninezero.agents.recording import publishing
    from ninezero.streams.clickhouse import engines as clickhouse

    until = publishing.last_day(datetime.now(UTC), settings.timezone(os.environ))
    k = settings.k(os.environ)
    engine = clickhouse.connect(query_url())
    clickhouse.migrate(engine, settings.timezone(os.environ))
    done = publishing.publish(engine, until, k)
    engine.close()
    for day in done:
        print(day)
    if not done:
        print(f"nothing to publish: all days with counts up to {until} are published")
