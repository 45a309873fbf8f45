"""The kinds of cases: quarantine at a site, follow-up at home, and transfers, which are monitored in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ninezero.agents.cases.acceptance import AcceptedEvent
from ninezero.agents.logic.cases import followups, quarantine, transfers
from ninezero.agents.logic.cases.alarms import CaseStatus
from ninezero.agents.logic.days import Days
from ninezero.agents.policies.policies import Policies
from ninezero.schemas.case_facts import QuarantineFact, followup_fact, quarantine_fact, transfer_fact
from ninezero.schemas.events import FollowupEvent, QuarantineEvent, TransferEvent
from ninezero.schemas.ledger_records import FollowupLedgerRecord, QuarantineLedgerRecord, TransferLedgerRecord
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
    fact_of: Callable[[AcceptedEvent], Any]
    """Returns the fact of an event."""
    status: Callable[[list[Any], Days, int], CaseStatus]
    """Returns the status of a case at an instant (Unix time in µs), given its facts."""
    place_field: str
    """The field of an alert that names the place of the case: `site_id` or `district`."""
    number_field: str = "case_id"
    """The field of its facts and alerts that identifies the case: `case_id`, or `transfer_id` of a transfer."""
    policies: Policies | None = None
    """The policies by which its facts are made; None if they need none."""


def quarantine_kind(term_days: int, policies: Policies) -> CaseKind:
    """Returns the kind of the cases in quarantine. One whose admission states no term lasts for `term_days` days.

    What counts as fever is in the policy that is in force when an event arrives.
    """

    def fact_of(one: AcceptedEvent) -> QuarantineFact:
        fever_c = policies.at(policies.time_of(one.kafka_ms, one.observed_us)).active.fever_c
        return quarantine_fact(one.event, one.version, fever_c, term_days)

    return CaseKind(
        topic=topics.QUARANTINE,
        ledger=topics.QUARANTINE_LEDGER,
        event=QuarantineEvent,
        record=QuarantineLedgerRecord,
        fact_of=fact_of,
        status=quarantine.status,
        place_field="site_id",
        policies=policies,
    )


def follow_up_kind(term_days: int) -> CaseKind:
    """Returns the kind of the cases under follow-up. One whose opening states no term lasts for `term_days` days."""
    return CaseKind(
        topic=topics.FOLLOWUPS,
        ledger=topics.FOLLOWUP_LEDGER,
        event=FollowupEvent,
        record=FollowupLedgerRecord,
        fact_of=lambda one: followup_fact(one.event, one.version, term_days),
        status=followups.status,
        place_field="district",
    )


def transfer_kind(hours: float) -> CaseKind:
    """Returns the kind of the transfers that must deliver everyone within `hours` hours."""
    return CaseKind(
        topic=topics.TRANSFERS,
        ledger=topics.TRANSFER_LEDGER,
        event=TransferEvent,
        record=TransferLedgerRecord,
        fact_of=lambda one: transfer_fact(one.event, one.version),
        status=transfers.status_after(hours),
        place_field="site_id",
        number_field="transfer_id",
    )
