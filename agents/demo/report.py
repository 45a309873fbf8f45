"""The report of the demo: the counts in ClickHouse beside what was published and what was sent."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from ninezero.agents.demo.replay import ReplaySummary
from ninezero.agents.demo.scenario_file import Spec
from ninezero.agents.recording.case_tables import quarantine_warnings
from ninezero.streams import clickhouse
from ninezero.streams.errors import UserError


class _Row(NamedTuple):
    """One published total. `sql` counts it as `n`; `{last_day}` stands for the last local day."""

    field: str
    """The field of `Published` in the scenario file."""
    name: str
    """Its name in the report."""
    sql: str


_ROWS = (
    _Row(
        "vehicle_checks",
        "vehicle checks",
        "SELECT toUInt64(sum(passages)) AS n FROM ninezero.screening_by_day WHERE kind = 'vehicle'",
    ),
    _Row(
        "turned_back",
        "vehicles turned back, decided",
        "SELECT toUInt64(sum(turn_back)) AS n FROM ninezero.screening_by_day WHERE kind = 'vehicle'",
    ),
    _Row(
        "turned_back",
        "vehicles turned back, done",
        "SELECT toUInt64(sum(count)) AS n FROM ninezero.dispositions_by_day WHERE action = 'turned_back'",
    ),
    _Row(
        "delivered",
        "station passengers delivered",
        "SELECT toUInt64(sum(people)) AS n FROM ninezero.arrivals_by_day WHERE stage = 'delivered'",
    ),
    _Row(
        "push_batches",
        "push batches",
        "SELECT count() AS n FROM ninezero.push_batches WHERE status = 'applied' AND category != 'health_pass'",
    ),
    _Row(
        "person_times",
        "person-times pushed",
        "SELECT toUInt64(sum(accepted)) AS n FROM ninezero.push_batches WHERE category != 'health_pass'",
    ),
    _Row(
        "health_passes",
        "health passes",
        "SELECT toUInt64(sum(accepted)) AS n FROM ninezero.push_batches WHERE category = 'health_pass'",
    ),
    _Row(
        "quarantined", "admitted to quarantine", "SELECT toUInt64(sum(admitted)) AS n FROM ninezero.quarantine_by_day"
    ),
    _Row(
        "quarantine_released",
        "released from quarantine",
        "SELECT toUInt64(sum(released)) AS n FROM ninezero.quarantine_by_day",
    ),
    _Row(
        "quarantine_remaining",
        "in quarantine on the last day",
        "SELECT toUInt64(sum(present)) AS n FROM ninezero.quarantine_by_day WHERE day = '{last_day}'",
    ),
    _Row(
        "quarantine_sites",
        "quarantine sites",
        "SELECT uniqExact(site_id) AS n FROM ninezero.quarantine_by_day WHERE admitted > 0",
    ),
    _Row("followed_up", "followed up at home", "SELECT toUInt64(sum(opened)) AS n FROM ninezero.followups_by_day"),
    _Row("road_checkpoints", "road checkpoints", "SELECT count() AS n FROM ninezero.sites WHERE site_id LIKE 'road-%'"),
    _Row(
        "village_checkpoints", "village checkpoints", "SELECT count() AS n FROM ninezero.sites WHERE kind = 'village'"
    ),
)

_LISTS = """
SELECT authority, list, argMax(batch_id, issued_at) AS batch_id, toString(max(issued_at)) AS applied_at,
    toInt64(now()) - toInt64(max(issued_at)) AS age_seconds
FROM ninezero.push_batches WHERE status = 'applied' GROUP BY authority, list ORDER BY authority, list
"""
"""The last applied batch of each list, and its age."""

_PASSAGES = "SELECT sum(passages) AS n FROM ninezero.screening_by_day WHERE day BETWEEN '{first_day}' AND '{last_day}'"
_EVENTS = "SELECT (SELECT sum(passages) FROM ninezero.screening_by_day) + (SELECT sum(people) FROM ninezero.arrivals_by_day) AS n"
_DEAD_LETTERS = "SELECT reason, sum(records) AS n FROM ninezero.dead_letters_by_hour GROUP BY reason ORDER BY reason"


_TRANSFERS = "SELECT toUInt64(sum(transfers)) AS n FROM ninezero.transfers_by_day"
_MISSING = "SELECT toUInt64(sum(missing)) AS n FROM ninezero.transfers_by_day"

_TERMS = (
    "SELECT toUInt64((SELECT sum({column}) FROM ninezero.quarantine_by_day WHERE day <= '{last_day}')"
    " + (SELECT sum({column}) FROM ninezero.followups_by_day WHERE day <= '{last_day}')) AS n"
)
_ALERTED = "SELECT toUInt64(sum(alerts)) AS n FROM ninezero.care_alerts_by_day WHERE rule = '{rule}'"

_FRESHNESS = "SELECT min(recorded_until) AS until, sum(lag_events) AS lag FROM ninezero.recording_freshness"


class NotTheDemo(UserError):
    """The database holds no counts of the scenario."""


def check_database(url: str, spec: Spec) -> None:
    """Checks that a database has passages on the days of a scenario.

    Raises:
        NotTheDemo: it has none.
    """
    engine = clickhouse.connect(url)
    counted = _number(engine, _PASSAGES.format(first_day=spec.first_day, last_day=spec.last_day))
    engine.close()
    if not counted:
        raise NotTheDemo(
            f"the database of NINEZERO_CLICKHOUSE did not run the scenario {spec.title}: unset NINEZERO_CLICKHOUSE to report on"
            " the demo of this folder, or use ninezero query"
        )


def make_report(url: str, summary: ReplaySummary, spec: Spec) -> dict[str, Any]:
    """Counts in ClickHouse and compares the counts with the published totals and with what was sent.

    Args:
        url: the database, as in `NINEZERO_CLICKHOUSE`.
        summary: what the replay sent.
        spec: the scenario that was replayed.

    Returns:
        The report as `ninezero report --json` prints it.
    """
    engine = clickhouse.connect(url)
    rows = _published_rows(engine, spec)
    counted = _number(engine, _EVENTS)
    dead_letters = {row["reason"]: int(row["n"]) for row in engine.query(_DEAD_LETTERS)}
    lists = engine.query(_LISTS)
    (freshness,) = engine.query(_FRESHNESS)
    case_warnings = quarantine_warnings(engine.query)
    rows.append(_sent_row("events counted once", summary.events, counted) | {"sql": _EVENTS})
    rows.append(_sent_row("transfers", summary.transfers, _number(engine, _TRANSFERS)) | {"sql": _TRANSFERS})
    rows.append(_sent_row("boarded, not delivered", summary.left_behind, _number(engine, _MISSING)) | {"sql": _MISSING})
    for name, sent, sql in (
        ("alerts: not delivered", summary.left_behind, _ALERTED.format(rule="not_delivered")),
        ("last days of terms", summary.release_due, _TERMS.format(column="release_due", last_day=spec.last_day)),
        ("alerts: release due", summary.release_due, _ALERTED.format(rule="release_due")),
        ("open after the term", summary.overnight, _TERMS.format(column="term_exceeded", last_day=spec.last_day)),
        ("alerts: term exceeded", summary.term_exceeded, _ALERTED.format(rule="term_exceeded")),
    ):
        rows.append(_sent_row(name, sent, _number(engine, sql)) | {"sql": sql})
    rows.append(_sent_row("malformed, dead-lettered", summary.malformed, sum(dead_letters.values())))
    engine.close()
    return {
        "title": spec.title,
        "rows": rows,
        "agrees": all(row["agrees"] for row in rows),
        "events_per_second": round((summary.events + summary.resent) / summary.seconds) if summary.seconds else 0,
        "seconds": round(summary.seconds, 1),
        "alert_latency_ms": summary.latency_ms,
        "duplicates": summary.screened - counted,
        "resent": summary.resent,
        "dead_letters": dead_letters,
        "worker_restarts": summary.restarts,
        "warnings": case_warnings,
        "recorded_until": freshness["until"],
        "lag_events": int(freshness["lag"]),
        "lists": [row | {"age_seconds": int(row["age_seconds"])} for row in lists],
    }


def _published_rows(engine: clickhouse.Engine, spec: Spec) -> list[dict[str, Any]]:
    rows = []
    for row in _ROWS:
        published = getattr(spec.published, row.field)
        counted = _number(engine, row.sql.format(last_day=spec.last_day))
        rows.append(
            {
                "what": row.name,
                "published": published,
                "clickhouse": counted,
                "agrees": published == counted,
                "sql": row.sql,
            }
        )
    return rows


def _sent_row(name: str, sent: int, counted: int) -> dict[str, Any]:
    return {"what": name, "sent": sent, "clickhouse": counted, "agrees": counted == sent}


def _number(engine: clickhouse.Engine, sql: str) -> int:
    """Returns the only number of a query, 0 for NULL."""
    return int(engine.query(sql)[0]["n"] or 0)


def show(report: dict[str, Any]) -> None:
    """Prints the report as a table, followed by throughput, latency and warnings."""
    table = Table("", "published", "sent", "ClickHouse", "", title=report["title"])
    for row in report["rows"]:
        table.add_row(
            row["what"],
            _text(row.get("published")),
            _text(row.get("sent")),
            _text(row["clickhouse"]),
            "✓" if row["agrees"] else "✗ differs",
        )
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    latency = report["alert_latency_ms"]
    console.print(
        f"{report['events_per_second']:,} events/s over {report['seconds']} s, recorded; alert latency "
        f"p50 {latency.get('p50', 0):,.0f} ms, p99 {latency.get('p99', 0):,.0f} ms\n"
        f"duplicates {report['duplicates']:,} (resent {report['resent']:,}); dead letters: "
        + (", ".join(f"{reason} {n:,}" for reason, n in report["dead_letters"].items()) or "none")
        + _lists_text(report["lists"])
        + f"\ncounts are complete until {report['recorded_until']} UTC, {report['lag_events']:,} records wait",
        highlight=False,
        soft_wrap=True,
    )
    for line in report["warnings"]:
        console.print(f"! {line}", highlight=False, soft_wrap=True)


def _lists_text(lists: list[dict[str, Any]]) -> str:
    if not lists:
        return ""
    oldest = max(lists, key=lambda row: int(row["age_seconds"]))
    return f"\n{len(lists)} lists; the oldest, {oldest['list']} of {oldest['authority']}, was last applied {oldest['applied_at']} UTC"


def _text(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
