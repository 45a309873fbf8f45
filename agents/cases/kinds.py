"""The two kinds of cases: quarantine at a site, and follow-up at home."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ninezero.agents.logic.cases import followups, quarantine
from ninezero.agents.logic.cases.alarms import CaseStatus
from ninezero.agents.logic.days import Days
from ninezero.agents.logic.policy.thresholds import FEVER_C
from ninezero.schemas.case_facts import followup_fact, quarantine_fact
from ninezero.schemas.events import FollowupEvent, QuarantineEvent
from ninezero.schemas.ledger_records import FollowupLedgerRecord, QuarantineLedgerRecord
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.topics import Topic


@dataclass(frozen=True)
class CaseKind:
    """A kind of case: its topics, its types, and the rules that it follows."""

    topic: Topic
    """The topic on which its events arrive."""
    ledger: Topic
    """The compacted topic that keeps its facts."""
    event: Any
    """Wire type of its events."""
    record: Any
    """Type of its ledger records: `record.of(fact, day)` builds one, `record.fact()` returns its fact."""
    fact_of: Callable[[Any, int], Any]
    """Returns the fact of an event, given the fact's version."""
    status: Callable[[list[Any], Days, int], CaseStatus]
    """Returns the status of a case at an instant (Unix time in µs), given its facts."""
    place_field: str
    """The field of an alert that names the place of the case: `site_id` or `district`."""


QUARANTINE = CaseKind(
    topic=topics.QUARANTINE,
    ledger=topics.QUARANTINE_LEDGER,
    event=QuarantineEvent,
    record=QuarantineLedgerRecord,
    fact_of=lambda event, version: quarantine_fact(event, version, FEVER_C),
    status=quarantine.status,
    place_field="site_id",
)

FOLLOW_UP = CaseKind(
    topic=topics.FOLLOWUPS,
    ledger=topics.FOLLOWUP_LEDGER,
    event=FollowupEvent,
    record=FollowupLedgerRecord,
    fact_of=followup_fact,
    status=followups.status,
    place_field="district",
)
