"""Every metric of the workers. No label holds an identity, a token, a device or a batch."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)

events = Counter(
    "ninezero_events_total",
    "Events handled: scans and arrivals by outcome, pushed batches by status, case events and dispositions as `recorded`",
    ["topic", "outcome"],
)
dead_letters = Counter(
    "ninezero_dead_letters_total", "Records that were dead-lettered, by source topic", ["topic", "reason"]
)
duplicates = Counter(
    "ninezero_duplicates_total", "Events that were received before (sent again or replayed) and not counted", ["topic"]
)
late_events = Counter("ninezero_late_events_total", "Events that were more than ten minutes old on arrival", ["topic"])
late_alerts = Counter(
    "ninezero_late_alerts_total",
    "Alerts about cases and transfers that were sent more than 72 hours after the end of their day: staff have them, and no count does",
)
alert_latency = Histogram(
    "ninezero_alert_latency_seconds",
    "Time from the Kafka timestamp of an event until its alert is acknowledged",
    buckets=_SECONDS,
)
chunk = Histogram(
    "ninezero_chunk_seconds",
    "Time to process the chunks of one batch, by step: `lists` (wait for the watchlist), `decide`, `write`",
    ["step"],
    buckets=_SECONDS,
)
sink_rows = Counter("ninezero_sink_rows_total", "Rows that ClickHouse acknowledged", ["table"])
sink_insert = Histogram("ninezero_sink_insert_seconds", "Time of one insert", ["table"], buckets=_SECONDS)
sink_retries = Counter("ninezero_sink_retries_total", "Writes to ClickHouse that failed and were retried", ["table"])
sink_buffered = Gauge(
    "ninezero_sink_buffered_rows", "Rows that were read from Kafka and are not yet durable in ClickHouse"
)
suppressed_errors = Counter(
    "ninezero_suppressed_errors_total",
    "Errors of background tasks that go on and try again, by task (streams/suppressed_errors.py)",
    ["task"],
)
recorded_until = Gauge(
    "ninezero_recorded_until_seconds",
    "Kafka timestamp (Unix time) up to which every partition is recorded: the oldest of the view recording_freshness; NaN while unknown",
)
recorded_until.set(float("nan"))
overdue_days = Gauge(
    "ninezero_overdue_days",
    "Days since work was due: facts to drop (`retention`), closed cases to delete (`case_deletion`), days to publish (`publishing`); 0 if none is",
    ["task"],
)
lag = Gauge(
    "ninezero_lag_events", "Records between the commit watermark and the end of the partition", ["topic", "partition"]
)
watchlist_entries = Gauge("ninezero_watchlist_entries", "Live watchlist entries", ["category"])
watchlist_age = Gauge("ninezero_watchlist_age_seconds", "Time since a batch was last applied to the list", ["list"])
watchlist_heartbeat = Gauge(
    "ninezero_watchlist_heartbeat_seconds", "Time since the last watchlist heartbeat; -1 before the first"
)
watchlist_heartbeat_ahead = Gauge(
    "ninezero_watchlist_heartbeat_ahead_seconds",
    "Seconds by which the last watchlist heartbeat is in the future of the worker's clock; above 60 the worker holds everyone",
)
watchlist_ready = Gauge("ninezero_watchlist_ready", "1 when every list is complete by its manifest, otherwise 0")
watchlist_missing = Gauge(
    "ninezero_watchlist_missing",
    "1 for each registered list that the topic watchlist lacks as last applied; nobody is screened until it is pushed in full",
    ["authority", "list"],
)
devices_silent = Gauge(
    "ninezero_devices_silent", "Devices that sent an event in the last 24 hours, but none in the last 30 minutes"
)
unreadable_records = Counter(
    "ninezero_unreadable_records_total",
    "Records of internal topics that this release cannot read; the first one ends the role",
    ["topic"],
)
build_info = Gauge(
    "ninezero_build_info", "1, with the release of the role and the formats that it reads", ["version", "formats"]
)
policy_info = Gauge(
    "ninezero_policy_info",
    "1, with the policy that is in force; absent while the process does not know it or cannot apply it",
    ["policy", "version"],
)
sunset = Gauge("ninezero_sunset_seconds", "Time until the end of the emergency order; negative after it")

SET_BY: dict[MetricWrapperBase, str] = {
    events: "screening, lists, ledgers",
    dead_letters: "all",
    duplicates: "screening",
    late_events: "screening, ledgers",
    late_alerts: "recording",
    alert_latency: "screening",
    chunk: "screening",
    sink_rows: "recording",
    sink_insert: "recording",
    sink_retries: "recording",
    sink_buffered: "recording",
    suppressed_errors: "recording",
    overdue_days: "recording",
    recorded_until: "recording",
    lag: "all",
    watchlist_entries: "screening, lists",
    watchlist_age: "screening",
    watchlist_heartbeat: "screening",
    watchlist_heartbeat_ahead: "screening",
    watchlist_ready: "screening, lists",
    watchlist_missing: "screening",
    devices_silent: "recording",
    unreadable_records: "all",
    build_info: "all",
    policy_info: "all",
    sunset: "all",
}
"""The roles that set each metric. Every role exposes every metric, so a query must name the role."""


def quantile(steps: list[tuple[float, float]], q: float) -> float:
    """Returns a quantile of a cumulative histogram, linear within a bucket, as PromQL's `histogram_quantile` does.

    Args:
        steps: (upper bound, cumulative count) of each bucket.
        q: the quantile, 0 to 1.
    """
    total = steps[-1][1] if steps else 0.0
    low, below = 0.0, 0.0
    for bound, count in steps:
        if total and count >= q * total:
            return low if bound == float("inf") else low + (bound - low) * (q * total - below) / max(count - below, 1)
        low, below = bound, count
    return 0.0
