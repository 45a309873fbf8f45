"""Quarantine: two readings a day of everyone in a site, and what staff are told when one is missing or bad."""

from ninezero.agents.cases.monitor import Kind
from ninezero.agents.logic.cases.quarantine import outlook
from ninezero.agents.logic.policy.rules import FEVER_C
from ninezero.schemas.events import QuarantineEvent
from ninezero.schemas.rows import QuarantineFact, quarantine_fact
from ninezero.streams.kafka.topics import QUARANTINE, QUARANTINE_LEDGER

QUARANTINED = Kind(
    QUARANTINE,
    QUARANTINE_LEDGER,
    QuarantineEvent,
    QuarantineFact,
    lambda arrived: quarantine_fact(arrived, FEVER_C),
    outlook,
    "site_id",
)
