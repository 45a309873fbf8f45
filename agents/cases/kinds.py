"""Quarantine at a site: two readings a day of each case, and an alert if one is missing or shows fever or symptoms."""

from ninezero.agents.cases.monitor import CaseKind
from ninezero.agents.logic.cases.quarantine import outlook
from ninezero.agents.logic.policy.rules import FEVER_C
from ninezero.schemas.case_facts import quarantine_fact
from ninezero.schemas.events import QuarantineEvent
from ninezero.schemas.ledger_records import QuarantineLedgerRecord
from ninezero.streams.kafka.topics import QUARANTINE as QUARANTINE_EVENTS
from ninezero.streams.kafka.topics import QUARANTINE_LEDGER

QUARANTINE = CaseKind(
    topic=QUARANTINE_EVENTS,
    ledger=QUARANTINE_LEDGER,
    event=QuarantineEvent,
    record=QuarantineLedgerRecord,
    fact_of=lambda event, version: quarantine_fact(event, version, FEVER_C),
    outlook=outlook,
    place="site_id",
)
