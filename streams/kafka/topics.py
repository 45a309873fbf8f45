"""Every topic: name, content, key, partitions and retention."""

from __future__ import annotations

from dataclasses import dataclass

from ninezero.schemas import formats
from ninezero.schemas.formats import Format

HOUR_MS = 3_600_000
MIN_INSYNC_REPLICAS = {"min.insync.replicas": "2"}
"""Added to the configuration of a topic with `DURABLE_REPLICATION` replicas or more. A write is acknowledged when two replicas have it, so
the loss of one broker loses nothing, and writing continues while one broker is down."""
DURABLE_REPLICATION = 3

MAX_MESSAGE_BYTES = 2 << 20
"""`max.message.bytes` of every topic: 2 MiB. Records over 1 MiB are dead-lettered as `too_large`."""


@dataclass(frozen=True)
class Topic:
    """A topic of the pipeline."""

    name: str
    """Name without NINEZERO_TOPIC_PREFIX."""
    hours: int | None
    """Retention in hours; None for a compacted topic."""
    partitions: int | None = None
    """Fixed number of partitions; None: chosen when the topic is created."""
    key: str = ""
    """The content of the record key."""
    content: str = ""
    """The content of a record."""
    format: Format | None = None
    """The format of its records; None for messages from or for others, which evolve by optional fields."""
    every_record: bool = False
    """Whether the broker never removes a record, because the meaning of one depends on those before it. The topic is compacted in name,
    so a record without a key is rejected."""

    @property
    def compacted(self) -> bool:
        """True if the topic keeps the latest record of each key."""
        return self.hours is None

    def config(self, replication: int = 1) -> dict[str, str]:
        """Returns the topic configuration for the broker.

        Segments roll hourly, so a record is deleted at most two hours after its retention ends.

        Args:
            replication: number of replicas of each partition.
        """
        config = {
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(MAX_MESSAGE_BYTES),
            "segment.ms": str(HOUR_MS),
            "max.compaction.lag.ms": str(HOUR_MS),
        }
        if self.every_record:
            never = str(2**63 - 1)
            config |= {"cleanup.policy": "compact", "min.compaction.lag.ms": never, "max.compaction.lag.ms": never}
        elif self.compacted:
            config |= {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
        else:
            config |= {"cleanup.policy": "delete", "retention.ms": str((self.hours or 0) * HOUR_MS)}
        return config | (MIN_INSYNC_REPLICAS if replication >= DURABLE_REPLICATION else {})


SCANS = Topic("checkpoint-scans", 24, key="site_id", content="passages at checkpoints, from devices")
ARRIVALS = Topic("station-arrivals", 24, key="site_id", content="travellers at stations, from devices")
DISPOSITIONS = Topic(
    "dispositions", 24, key="site_id", content="actions that staff took after a screening, from devices"
)
PUSHES = Topic(
    "watchlist-pushes",
    7 * 24,
    partitions=1,
    key="authority",
    content="watchlist batches and confirmations, from health authorities",
)
WATCHLIST = Topic(
    "watchlist",
    None,
    partitions=1,
    key="authority|list|entry_id",
    content="the current entries and manifests of all lists",
    format=formats.WATCHLIST,
)
LIST_REGISTER = Topic(
    "list-register",
    None,
    partitions=1,
    key="authority|list",
    content="every list that a batch was applied to, with the last one, so that a list which the topic watchlist lacks is noticed",
    format=formats.LIST_REGISTER,
)
QUARANTINE = Topic(
    "quarantine-events",
    7 * 24,
    key="case_id",
    content="admissions, readings, transfers, extensions and releases, from devices",
)
FOLLOWUPS = Topic(
    "followup-events", 7 * 24, key="case_id", content="home visits of cases under follow-up, from devices"
)
QUARANTINE_LEDGER = Topic(
    "quarantine-ledger",
    None,
    key="case_id|device_id|seq",
    content="accepted facts of quarantine cases; internal to the ledgers role, partitioned as its source",
    format=formats.QUARANTINE_LEDGER,
)
FOLLOWUP_LEDGER = Topic(
    "followup-ledger",
    None,
    key="case_id|device_id|seq",
    content="accepted facts of follow-up cases; internal to the ledgers role, partitioned as its source",
    format=formats.FOLLOWUP_LEDGER,
)
TRANSFERS = Topic(
    "transfer-events",
    7 * 24,
    key="transfer_id",
    content="boardings and deliveries of transfers without tokens, for the ledgers and recording roles",
    format=formats.TRANSFER_EVENTS,
)
TRANSFER_LEDGER = Topic(
    "transfer-ledger",
    None,
    key="transfer_id|device_id|seq",
    content="transfers of the last 14 days; internal to the ledgers role, partitioned as its source",
    format=formats.TRANSFER_LEDGER,
)
OUTCOMES = Topic("screening-outcomes", 24, key="site_id", content="outcomes without reasons, for devices")
ALERTS = Topic(
    "screening-alerts", 72, key="site_id", content="alerts with reasons, corrections and case alerts, for health staff"
)
DECISIONS = Topic(
    "screening-decisions",
    14 * 24,
    key="site_id",
    content="decisions without tokens, for the recording role",
    format=formats.DECISIONS,
)
RECEIPTS = Topic(
    "push-receipts", 7 * 24, partitions=1, key="authority", content="results of pushed batches, for health authorities"
)
DEAD_LETTERS = Topic(
    "dead-letters",
    7 * 24,
    partitions=1,
    key="topic of the record",
    content="position and reason of each rejected record, without its content",
)
REGISTER = Topic(
    "register",
    None,
    partitions=1,
    key="kind|id",
    content="what operators state: formats that are written, records that are passed over, sites, and the policy that was activated last",
    format=formats.REGISTER,
)
POLICIES = Topic(
    "policies",
    None,
    partitions=1,
    key="policy|version, policy|version|use",
    content="screening policies, and when each one is active or evaluated as a shadow, from operators",
    format=formats.POLICIES,
    every_record=True,
)

ALL = (
    SCANS, ARRIVALS, DISPOSITIONS, PUSHES, WATCHLIST, LIST_REGISTER, QUARANTINE, FOLLOWUPS, QUARANTINE_LEDGER,
    FOLLOWUP_LEDGER, TRANSFERS, TRANSFER_LEDGER, OUTCOMES, ALERTS, DECISIONS, RECEIPTS, DEAD_LETTERS, REGISTER, POLICIES,
)  # fmt: skip

SOURCES = (SCANS, ARRIVALS, DISPOSITIONS, PUSHES, QUARANTINE, FOLLOWUPS)
"""Topics that are written by devices and authorities. Their records may be dead-lettered."""

DEFAULT_PARTITIONS = 12
