"""The tables of ClickHouse that mirror topics: the sites of the register, and the uses of the policies.

What the topic states and the table lacks is inserted. Nothing is deleted, because counts refer to former sites and policies.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from ninezero.agents.logic.policy.timeline import Timeline
from ninezero.schemas.register import Site
from ninezero.schemas.rows import TABLES, PolicyUseRow, SiteRow
from ninezero.streams.clickhouse import Engine, inserts

PROPOSED = "proposed"
"""The status of a policy without a use."""

_MirrorRow = TypeVar("_MirrorRow", SiteRow, PolicyUseRow)


def site_rows(sites: Iterable[Site]) -> list[SiteRow]:
    """Returns the rows of `site_register` that sites must have, with the version 0."""
    return [SiteRow(site.site_id, site.kind, site.division, site.capacity, 0) for site in sites]


def policy_rows(timeline: Timeline) -> list[PolicyUseRow]:
    """Returns the rows of `policy_uses` that policies must have, with the version 0."""
    rows: list[PolicyUseRow] = []
    uses: Counter[str] = Counter()
    for use in timeline.uses:
        policy, begins = use.policy, _shown_ms(use.from_us)
        ends = None if use.to_us is None else _shown_ms(use.to_us)
        uses[policy.label] += 1
        number = uses[policy.label]
        rows.append(
            PolicyUseRow(policy.name, policy.version, number, use.status, begins, ends, use.author, use.approved_by, 0)
        )
    for label, record in timeline.policies.items():
        if label not in uses:
            rows.append(PolicyUseRow(record.policy, record.version, 1, PROPOSED, None, None, record.author, "", 0))
    return rows


def _shown_ms(us: int) -> int:
    """Returns a Unix time in µs as the nearest in ms that a DateTime can show: from 1970 to 2106."""
    return min(max(us // 1000, 0), 2**32 * 1000 - 1)


def mirror(engine: Engine, table: str, wanted: Sequence[_MirrorRow]) -> int:
    """Inserts the wanted rows that a table lacks, in place of those with the same key. Returns their number.

    Args:
        engine: the database.
        table: `site_register` or `policy_uses`.
        wanted: the rows, with the version 0.

    Raises:
        ClickHouseError: the table cannot be read or written.
    """
    if not wanted:
        return 0
    row_type = type(wanted[0])
    names = TABLES[table]._fields
    found: list[_MirrorRow] = [
        msgspec.convert([row[name] for name in names], row_type, strict=False)
        for row in engine.query(f"SELECT {', '.join(names)} FROM ninezero_data.{table} FINAL")
    ]
    present = {row._replace(version=0) for row in found}
    version = max([time.time_ns() // 1_000_000, *(row.version + 1 for row in found)])
    lacking = [row._replace(version=version) for row in wanted if row not in present]
    if lacking:
        inserts.insert(engine, table, lacking)
    return len(lacking)
