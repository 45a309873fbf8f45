"""The register of sites: which sites exist, of what kind, in which division and with what capacity."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from ninezero.schemas.rows import SiteRow
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import Engine


class Site(NamedTuple):
    """One site. `division` is its six-digit division code, `capacity` its number of places (0: unlimited or unknown)."""

    site_id: str
    kind: str
    division: str
    capacity: int


def load_sites(engine: Engine, sites: Iterable[Site], timezone: str) -> None:
    """Inserts sites into the register. A site that is in the register already takes the new values.

    Args:
        engine: the database; an empty one gets its schema first.
        sites: the sites.
        timezone: the time zone of local days in the views.

    Raises:
        ClickHouseError: the database rejects the rows.
    """
    clickhouse.ensure_schema(engine, timezone)
    version = time.time_ns() // 1_000_000
    engine.insert("ninezero_data.site_register", SiteRow._fields, [SiteRow(*site, version) for site in sites])
