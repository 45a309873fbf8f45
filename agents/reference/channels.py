"""The wire types on each topic."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from ninezero.schemas.events import (
    Alert,
    Arrival,
    CareAlert,
    Correction,
    DeadLetter,
    Decisions,
    Disposition,
    FollowupEvent,
    Heartbeat,
    Manifest,
    Outcomes,
    PushBatch,
    PushConfirmation,
    PushReceipt,
    QuarantineEvent,
    Removal,
    Scan,
    TransferEvent,
    WatchlistEntry,
)
from ninezero.schemas.policies import PolicyRecord, PolicyUse
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.topics import Topic

CHANNELS: Mapping[Topic, tuple[type[Struct], ...]] = {
    topics.SCANS: (Scan,),
    topics.ARRIVALS: (Arrival,),
    topics.DISPOSITIONS: (Disposition,),
    topics.PUSHES: (PushBatch, PushConfirmation),
    topics.QUARANTINE: (QuarantineEvent,),
    topics.FOLLOWUPS: (FollowupEvent,),
    topics.WATCHLIST: (WatchlistEntry, Removal, Manifest, Heartbeat),
    topics.TRANSFERS: (TransferEvent,),
    topics.OUTCOMES: (Outcomes,),
    topics.ALERTS: (Alert, Correction, CareAlert),
    topics.DECISIONS: (Decisions,),
    topics.RECEIPTS: (PushReceipt,),
    topics.DEAD_LETTERS: (DeadLetter,),
    topics.POLICIES: (PolicyRecord, PolicyUse),
}
"""The message types of each topic. The ledger topics and the registers are left out: no program outside reads them."""
