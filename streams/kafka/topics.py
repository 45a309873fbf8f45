"""Every topic, once: name, partitions, how long it is kept."""

from __future__ import annotations

from dataclasses import dataclass

HOUR_MS = 3_600_000
MAX_MESSAGE_BYTES = 2 << 20
"""`max.message.bytes` of every topic: 2 MiB. What is over 1 MiB is read, and dead-lettered as `too_large`."""


@dataclass(frozen=True)
class Topic:
    """A topic as CONTRACT §2 has it. `partitions` None: the number asked for at creation; `hours` None: compacted."""

    name: str
    hours: int | None
    partitions: int | None = None

    def config(self) -> dict[str, str]:
        """Topic configuration for the broker. Segments roll hourly, so what is due is gone within two hours more."""
        config = {
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(MAX_MESSAGE_BYTES),
            "segment.ms": str(HOUR_MS),
            "max.compaction.lag.ms": str(HOUR_MS),
        }
        if self.hours is None:
            config |= {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
        else:
            config |= {"cleanup.policy": "delete", "retention.ms": str(self.hours * HOUR_MS)}
        return config


SCANS = Topic("checkpoint-scans", 24)
ARRIVALS = Topic("station-arrivals", 24)
DISPOSITIONS = Topic("dispositions", 24)
PUSHES = Topic("watchlist-pushes", 7 * 24, partitions=1)
WATCHLIST = Topic("watchlist", None, partitions=1)
QUARANTINE = Topic("quarantine-events", 7 * 24)
FOLLOWUPS = Topic("followup-events", 7 * 24)
QUARANTINE_LEDGER = Topic("quarantine-ledger", None)
"""What the ledgers role knows of each case, by partition of the source topic; internal (streams/kafka/compacted.py)."""
FOLLOWUP_LEDGER = Topic("followup-ledger", None)
OUTCOMES = Topic("screening-outcomes", 24)
ALERTS = Topic("screening-alerts", 72)
DECISIONS = Topic("screening-decisions", 14 * 24)
RECEIPTS = Topic("push-receipts", 7 * 24, partitions=1)
DEAD_LETTERS = Topic("dead-letters", 7 * 24, partitions=1)

ALL = (
    SCANS, ARRIVALS, DISPOSITIONS, PUSHES, WATCHLIST, QUARANTINE, FOLLOWUPS, QUARANTINE_LEDGER, FOLLOWUP_LEDGER,
    OUTCOMES, ALERTS, DECISIONS, RECEIPTS, DEAD_LETTERS,
)  # fmt: skip

SOURCES = (SCANS, ARRIVALS, DISPOSITIONS, PUSHES, QUARANTINE, FOLLOWUPS)
"""What comes from outside, and may be dead-lettered."""

DEFAULT_PARTITIONS = 12
