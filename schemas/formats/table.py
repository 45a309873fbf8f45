"""Every format: its name, its numbers, and how a value of one number becomes a value of the next. The only source of these facts.

A release that changes the records of a format gives it a new number:

1. Keep the type of the present number under another name (`DecisionsV1`), and change the type itself.
2. Add a `Version` with the next number, the changed type, `upgrade` (old value → new value) and `downgrade` (new → old, or
   NeedsUpgradeFinish). Drop the version before the old one: a release reads two numbers.
3. `python -m ninezero.schemas.formats.golden --write` stores the description of the type. Put at least one encoded record of the
   new number beside it. `make lint` fails until both are there.

A number may follow another one only when no topic holds records of the number before that: after the retention of the topic, and for
a compacted topic when every record was written again. A downgrade of decisions must be total, because everyone who was
screened is counted. A pushed batch whose entries have no downgrade is rejected, and a case event whose fact has none is dead-lettered, both
as `needs_upgrade_finish`.
"""

from __future__ import annotations

from typing import Any

from ninezero.schemas.case_facts import FollowupFact, QuarantineFact, TransferFact
from ninezero.schemas.events import Decisions, Scan, TransferEvent, WatchlistRecord
from ninezero.schemas.fast_decode import PatternCache, string_patterns
from ninezero.schemas.formats.format import Format, KindByKey, Version
from ninezero.schemas.ledger_records import (
    ALERT_MARK,
    AlertId,
    FollowupLedgerRecord,
    QuarantineLedgerRecord,
    TransferLedgerRecord,
)
from ninezero.schemas.list_register import ListEntry, list_key
from ninezero.schemas.policies import PoliciesRecord, PolicyRecord, PolicyUse, kind_at, policy_key
from ninezero.schemas.register import RegisterRecord, register_key
from ninezero.schemas.times import FOREVER_US, unix_micros

_devices, _sites = (PatternCache(string_patterns(Scan)[field]) for field in ("device_id", "site_id"))


def _check_decisions(key: bytes, record: Decisions) -> None:
    """Checks that every device and site has the name of one."""
    if _sites.mismatches(record.sites) or any(_devices.mismatches(group.device_ids) for group in record.decisions):
        raise ValueError("a device or a site has no valid name")


def _check_ledger(key: bytes, record: Any) -> None:
    """Checks that the key of a ledger record is that of its fact or alert."""
    subject, what, which = key.decode().split("|", 2)
    if isinstance(record, str):
        if (what, which) != (ALERT_MARK, record):
            raise ValueError("the key is not that of the alert")
        return
    fact: QuarantineFact | FollowupFact | TransferFact = record.fact()
    of = fact.transfer_id if isinstance(fact, TransferFact) else fact.case_id
    if (subject, what, which) != (of, fact.device_id, str(fact.seq)):
        raise ValueError("the key is not that of the fact")
    if not 0 <= fact.observed_us <= FOREVER_US:
        raise ValueError("the time of the fact is out of range")


def _check_transfer(key: bytes, record: TransferEvent) -> None:
    """Checks that the key of a transfer event is its transfer, and that its time can be stored."""
    if key != record.transfer_id.encode():
        raise ValueError("the key is not that of the transfer")
    if not 0 <= unix_micros(record.observed_at) <= FOREVER_US:
        raise ValueError("the time of the event is out of range")


def _check_list(key: bytes, record: ListEntry) -> None:
    """Checks that the key of a list is the one that its content has."""
    if key != list_key(record):
        raise ValueError("the key is not that of the list")


def _check_register(key: bytes, record: RegisterRecord) -> None:
    """Checks that the key of a register record is the one that its content has."""
    if key != register_key(record):
        raise ValueError("the key is not that of the record")


def _check_policies(key: bytes, record: PoliciesRecord) -> None:
    """Checks that the key of a policy is the one that its content has. A use does not name its policy."""
    if isinstance(record, PolicyRecord) and key != policy_key(record.policy, record.version):
        raise ValueError("the key is not that of the policy")


DECISIONS = Format("decisions", Version(1, Decisions, _check_decisions))
WATCHLIST = Format("watchlist", Version(1, WatchlistRecord))
LIST_REGISTER = Format("list-register", Version(1, ListEntry, _check_list))
QUARANTINE_LEDGER = Format("quarantine-ledger", Version(1, QuarantineLedgerRecord | AlertId, _check_ledger))
FOLLOWUP_LEDGER = Format("followup-ledger", Version(1, FollowupLedgerRecord | AlertId, _check_ledger))
TRANSFER_EVENTS = Format("transfer-events", Version(1, TransferEvent, _check_transfer))
TRANSFER_LEDGER = Format("transfer-ledger", Version(1, TransferLedgerRecord | AlertId, _check_ledger))
REGISTER = Format("register", Version(1, RegisterRecord, _check_register))
POLICIES = Format("policies", Version(1, KindByKey((PolicyRecord, PolicyUse), kind_at), _check_policies))

FORMATS = (
    DECISIONS,
    WATCHLIST,
    LIST_REGISTER,
    QUARANTINE_LEDGER,
    FOLLOWUP_LEDGER,
    TRANSFER_EVENTS,
    TRANSFER_LEDGER,
    REGISTER,
    POLICIES,
)
"""Every format."""
