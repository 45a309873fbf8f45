"""Every metric, once. No label holds an identity, a token, a device or a batch."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from ninezero.schemas.events import DEAD_REASONS
from ninezero.streams.kafka import topics

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)

events = Counter("ninezero_events_total", "Events screened, by outcome", ["topic", "outcome"])
dead_letters = Counter("ninezero_dead_letters_total", "Records that could not be taken", ["topic", "reason"])
duplicates = Counter("ninezero_duplicates_total", "Events seen again (resent or replayed) and not counted", ["topic"])
late_events = Counter("ninezero_late_events_total", "Events more than ten minutes old on arrival", ["topic"])
alert_latency = Histogram(
    "ninezero_alert_latency_seconds", "Kafka timestamp of the event to its alert acknowledged", buckets=_SECONDS
)
chunk = Histogram(
    "ninezero_chunk_seconds", "Time of the chunks that are taken together, by step", ["step"], buckets=_SECONDS
)
sink_rows = Counter("ninezero_sink_rows_total", "Rows durable in ClickHouse", ["table"])
sink_insert = Histogram("ninezero_sink_insert_seconds", "Time of one insert", ["table"], buckets=_SECONDS)
sink_retries = Counter("ninezero_sink_retries_total", "Writes that failed and were tried again", ["table"])
sink_buffered = Gauge("ninezero_sink_buffered_rows", "Rows read from Kafka and not yet durable in ClickHouse")
lag = Gauge(
    "ninezero_lag_events", "Records between the commit watermark and the end of the topic", ["topic", "partition"]
)
watchlist_entries = Gauge("ninezero_watchlist_entries", "Live watchlist entries", ["category"])
watchlist_age = Gauge("ninezero_watchlist_age_seconds", "Time since the last applied batch of a list", ["list"])
watchlist_heartbeat = Gauge(
    "ninezero_watchlist_heartbeat_seconds",
    "Time since the last watchlist heartbeat (screening role); -1 before the first",
)
watchlist_ready = Gauge("ninezero_watchlist_ready", "1 when every list equals its manifest")
devices_silent = Gauge(
    "ninezero_devices_silent", "Devices heard in the last 24 hours, but not in the last 30 minutes (recording role)"
)
sunset = Gauge("ninezero_sunset_seconds", "Time until the emergency order ends; negative past it")

# A counter that first appears at 3 has not increased, for Prometheus: what is alerted on begins at 0.
for _topic in topics.SOURCES:
    for _reason in DEAD_REASONS:
        dead_letters.labels(_topic.name, _reason)
for _status in ("applied", "held", "rejected"):
    events.labels(topics.PUSHES.name, _status)
for _topic in (topics.SCANS, topics.ARRIVALS):
    events.labels(_topic.name, "clear")
sink_retries.labels("all")


def quantile(steps: list[tuple[float, float]], q: float) -> float:
    """Quantile of a cumulative histogram, linear within a bucket (as PromQL's histogram_quantile)."""
    total = steps[-1][1] if steps else 0.0
    low, below = 0.0, 0.0
    for bound, count in steps:
        if total and count >= q * total:
            return low if bound == float("inf") else low + (bound - low) * (q * total - below) / max(count - below, 1)
        low, below = bound, count
    return 0.0
