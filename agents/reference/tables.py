"""The page of ClickHouse views and published tables, with the descriptions that ClickHouse does not keep."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping

from ninezero.agents.reference import markdown
from ninezero.streams import clickhouse

VIEWS: Mapping[str, str] = {
    "ninezero.arrivals_by_day": "One row for each local day, site, mode and stage.",
    "ninezero.care_alerts_by_day": "One row for each local day, site or district, and rule of the case alerts: how many were sent. Alerts"
    " count that were sent until 72 hours after the end of their day.",
    "ninezero.dead_letters_by_hour": "One row for each hour, source topic and reason.",
    "ninezero.device_completeness": "One row for each device, local day and site: which sequence numbers arrived.",
    "ninezero.devices_silent": "One row for each device that sent an event in the last 24 hours, but none in the last 30 minutes.",
    "ninezero.dispositions_by_day": "One row for each local day, site, kind of the scan and action.",
    "ninezero.followup_anomalies_by_day": "One row for each day and district with events of cases that are not open, or extensions without a valid term.",
    "ninezero.followup_closings_by_day": "One row for each day, district and way in which cases were closed.",
    "ninezero.followup_delay_by_day": "One row for each day of opening and district: the time from the push to the first visit, of visited cases.",
    "ninezero.followups_by_day": "One row for each local day and district with an open case, up to today.",
    "ninezero.policies": "One row for each use of a policy, and one for each policy without a use.",
    "ninezero.policy_shadow_by_day": "One row for each local day, shadow policy, outcome, and outcome that the shadow policy would have"
    " given. Passages and arrivals count.",
    "ninezero.push_batches": "One row for each pushed batch.",
    "ninezero.quarantine_anomalies_by_day": "One row for each day and site with events of cases that are not open, transfers without a destination, or extensions without a valid term.",
    "ninezero.quarantine_balance": "One row for each day and site where the number of people present is not that of the day before + admitted"
    " + transferred in - released - transferred out. Empty if all numbers agree.",
    "ninezero.quarantine_by_day": "One row for each local day and quarantine site with an open case, up to today.",
    "ninezero.quarantine_occupancy": "One row for each site that has a capacity or people in quarantine.",
    "ninezero.reasons_by_day": "One row for each local day, site and rule.",
    "ninezero.reasons_by_minute": "One row for each minute and rule, over all sites.",
    "ninezero.recording_freshness": "One row for each partition of each recorded topic: counts of its events are complete until"
    " `recorded_until`. While a lost table is recorded again, that is 1970-01-01.",
    "ninezero.screening_by_day": "One row for each local day, site, kind and direction.",
    "ninezero.screening_by_minute": "One row for each minute and site.",
    "ninezero.sites": "One row for each registered site.",
    "ninezero.transfers_by_day": "One row for each local day and site of the first boarding of a transfer. Its people count there, wherever"
    " and whenever they boarded or were delivered. A transfer of which only deliveries are known is in no row.",
    "ninezero.watchlist_audit": "One row for each push, withdrawal and confirmation.",
    "ninezero_published.arrivals_by_day": "One row for each published local day, division, mode and stage.",
    "ninezero_published.screening_by_day": "One row for each published local day and division.",
}

COLUMNS: Mapping[str, str] = {
    "day": "local day (NINEZERO_TIMEZONE)",
    "minute": "minute, UTC",
    "hour": "hour, UTC",
    "site_id": "site; in `device_completeness` the district of follow-up events; empty in `care_alerts_by_day` for follow-ups",
    "sites": "number of sites",
    "device_id": "device",
    "district": "district of the follow-up; empty in `care_alerts_by_day` for quarantine",
    "division": "six-digit division code; empty for sites that are not registered",
    "kind": "kind of the site, or of the passage (`vehicle` or `pedestrian`); empty while it is not known",
    "direction": "`in` or `out`",
    "mode": "`air`, `rail`, `coach` or `ferry`; of a batch `delta`, `full` or `withdraw`",
    "stage": "`registered`, `boarded` or `delivered`",
    "policy": "name of the policy",
    "version": "version of the policy",
    "effective_from": "from when the policy is used so, UTC; `NULL` if it is not used",
    "effective_to": "until when, UTC; `NULL` if no end is set",
    "author": "who wrote the policy",
    "approved_by": "who approved the use; empty if there is none",
    "active_outcome": "outcome that the events had",
    "shadow_outcome": "outcome that the shadow policy would have given them",
    "events": "number of passages and arrivals",
    "rule": "rule that applied",
    "topic": "topic; of a dead letter that of the rejected record",
    "partition": "partition of the topic",
    "recorded_until": "Kafka timestamp up to which the partition is recorded, UTC; for one that is recorded to its end, the time at which that was seen last",
    "lag_events": "records that were not recorded then",
    "reason": "why the record was rejected",
    "records": "number of records",
    "passages": "passages",
    "people": "people",
    "clear": "passages with this outcome",
    "refer": "passages with this outcome",
    "quarantine": "passages with this outcome",
    "turn_back": "passages with this outcome",
    "hold": "passages with this outcome",
    "fevers": "people with a confirmed fever",
    "count": "how often",
    "action": "what staff did; in the audit what was done to the list",
    "overrides": "those in which staff gave a reason to differ from the outcome",
    "first_seq": "lowest sequence number",
    "last_seq": "highest sequence number",
    "received": "different sequence numbers that arrived",
    "missing": "sequence numbers that are missing before those of this row; of transfers the people who boarded and were not"
    " delivered, those on the way included: for each transfer max(0, boarded - delivered)",
    "transfers": "transfers whose first boarding was here on this day",
    "boarded": "people who boarded them",
    "delivered": "people whom they delivered",
    "conflicts": "sequence numbers with two different contents",
    "late": "events that were more than ten minutes old on arrival",
    "last_heard": "time of the last event, UTC",
    "minutes": "minutes since the last event",
    "anomalies": "number of such events",
    "closed": "closed cases; in `followup_closings_by_day` how they were closed",
    "cases": "visited cases",
    "median_hours": "median, hours",
    "max_hours": "maximum, hours",
    "opened": "cases opened",
    "visits": "visits",
    "reached": "visits in which the person was seen",
    "overdue": "open cases without a visit on that day; 0 until the day is over",
    "open": "cases open at the end of the day",
    "batch_id": "batch",
    "authority": "health authority",
    "list": "list of that authority",
    "category": "health reason of the list",
    "status": "of a batch `applied`, `held` or `rejected`; of a policy `active`, `shadow` or `proposed`",
    "code": "why the batch was held or rejected",
    "lines_declared": "lines that the batch declares",
    "accepted": "lines applied",
    "duplicate": "lines that changed nothing",
    "rejected": "lines rejected",
    "withdrawn": "entries removed",
    "issued_at": "when the authority issued the batch, UTC",
    "present": "people present at the end of the day, or now",
    "expected": "people who should be present by the numbers of the day before",
    "difference": "present - expected",
    "misplaced": "transfers and releases that name this site while the case is elsewhere",
    "admitted": "admissions",
    "released": "releases",
    "transferred_in": "transfers to the site",
    "transferred_out": "transfers from the site",
    "readings_due": "temperature readings due",
    "readings_done": "temperature readings that arrived",
    "readings_missed": "readings that were due and had not arrived when their slot ended",
    "release_due": "cases that are present, or open, at 08:00 of the last day of their term",
    "term_exceeded": "cases that are present, or open, at the end of a day after the last day of their term, or now",
    "alerts": "number of alerts that were sent",
    "capacity": "places; 0 for a site without quarantine",
    "free": "free places; negative if there are more people than places",
    "at": "time, UTC",
    "who": "person who pushed or confirmed",
    "lines": "number of lines",
}


def page() -> str:
    """Returns `docs/reference/tables.md`: the columns as an embedded ClickHouse reports them after all migrations."""
    with tempfile.TemporaryDirectory() as folder:
        engine = clickhouse.connect(f"chdb://{folder}")
        clickhouse.migrate(engine)
        columns = engine.query(
            "SELECT concat(database, '.', table) AS view, name, type FROM system.columns "
            "WHERE database IN ('ninezero', 'ninezero_published') ORDER BY database, table, position"
        )
        engine.close()
    sections = []
    for view in dict.fromkeys(column["view"] for column in columns):
        rows = [
            (markdown.code(column["name"]), column["type"], COLUMNS[column["name"]])
            for column in columns
            if column["view"] == view
        ]
        sections += [f"## {view}", VIEWS[view], markdown.table(("column", "type", "meaning"), rows)]
    return markdown.page(
        "Tables",
        "The views of the database `ninezero` are for the health authority, the tables of `ninezero_published` for everybody."
        " Both are stable: a column is added, never renamed or removed. The database `ninezero_data` behind them is internal."
        " A published count is `NULL` where it was suppressed (1 to 10), and otherwise rounded to the nearest 5.",
        *sections,
    )
