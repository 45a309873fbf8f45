"""Records of the ledger topics (`quarantine-ledger`, `followup-ledger`, `transfer-ledger`): a JSON array per fact, a JSON string per
alert.

The order of the fields is the order of the array. Keys are `case_id|device_id|seq` for a fact, and `case_id|!|alert_id` for an alert
that was raised; in the ledger of the transfers the transfer id takes the place of the case number.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.structs import asdict

from ninezero.schemas.case_facts import FollowupFact, QuarantineFact, TransferFact

ALERT_MARK = "!"
"""The second part of the key of an alert."""

AlertId = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
"""The id of an alert that was raised."""


class QuarantineLedgerRecord(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A fact of a case in quarantine. `day` is the local day of `observed_us`; `fever` and `symptoms` are 0 or 1."""

    case_id: str
    observed_us: int
    day: date
    device_id: str
    seq: int
    site_id: str
    type: str
    slot: str
    to_site_id: str
    fever: int
    symptoms: int
    reason: str
    term_days: int
    version: int

    @classmethod
    def of(cls, fact: QuarantineFact, day: date) -> QuarantineLedgerRecord:
        """Returns the record of a fact that was observed on the local day `day`."""
        flags = {"fever": int(fact.fever), "symptoms": int(fact.symptoms)}
        return cls(**asdict(fact) | flags, day=day)

    def fact(self) -> QuarantineFact:
        """Returns the fact that the record holds."""
        flags = {"fever": bool(self.fever), "symptoms": bool(self.symptoms)}
        return QuarantineFact(**_without_day(asdict(self)) | flags)


class FollowupLedgerRecord(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A fact of a case under follow-up. `day` is the local day of `observed_us`."""

    case_id: str
    observed_us: int
    day: date
    device_id: str
    seq: int
    district: str
    type: str
    source: str
    batch_id: str
    visit: str
    closed: str
    term_days: int
    version: int

    @classmethod
    def of(cls, fact: FollowupFact, day: date) -> FollowupLedgerRecord:
        """Returns the record of a fact that was observed on the local day `day`."""
        return cls(**asdict(fact), day=day)

    def fact(self) -> FollowupFact:
        """Returns the fact that the record holds."""
        return FollowupFact(**_without_day(asdict(self)))


class TransferLedgerRecord(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A person who boarded a transfer or was delivered by it. `day` is the local day of `observed_us`."""

    transfer_id: str
    observed_us: int
    day: date
    device_id: str
    seq: int
    site_id: str
    stage: str
    version: int

    @classmethod
    def of(cls, fact: TransferFact, day: date) -> TransferLedgerRecord:
        """Returns the record of a fact that was observed on the local day `day`."""
        return cls(**asdict(fact), day=day)

    def fact(self) -> TransferFact:
        """Returns the fact that the record holds."""
        return TransferFact(**_without_day(asdict(self)))


def _without_day(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields that a record shares with its fact: all but `day`, which follows from the time and the time
    zone."""
    return {name: value for name, value in fields.items() if name != "day"}
