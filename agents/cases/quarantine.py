"""Quarantine: two readings a day of everyone in a site, and what staff are told when one is missing or bad."""

from agents.care import Kind
from agents.logic.quarantine import outlook
from agents.logic.rules import FEVER_C
from schemas.events import QuarantineEvent
from schemas.rows import QuarantineFact, quarantine_fact
from streams.topics import QUARANTINE, QUARANTINE_LEDGER

QUARANTINED = Kind(
    QUARANTINE,
    QUARANTINE_LEDGER,
    QuarantineEvent,
    QuarantineFact,
    lambda arrived: quarantine_fact(arrived, FEVER_C),
    outlook,
    "site_id",
)
