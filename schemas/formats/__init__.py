"""Numbered formats of the internal topics. `table.py` lists them; the folders hold golden records of every released number."""

from ninezero.schemas.formats.format import (
    HEADER,
    Format,
    FormatsRejected,
    Headers,
    NeedsUpgradeFinish,
    UnknownFormat,
    Version,
    adopt,
    stated_format,
    unsupported,
)
from ninezero.schemas.formats.table import (
    DECISIONS,
    FOLLOWUP_LEDGER,
    FORMATS,
    LIST_REGISTER,
    POLICIES,
    QUARANTINE_LEDGER,
    REGISTER,
    TRANSFER_EVENTS,
    TRANSFER_LEDGER,
    WATCHLIST,
)

__all__ = [
    "DECISIONS",
    "FOLLOWUP_LEDGER",
    "FORMATS",
    "HEADER",
    "LIST_REGISTER",
    "POLICIES",
    "QUARANTINE_LEDGER",
    "REGISTER",
    "TRANSFER_EVENTS",
    "TRANSFER_LEDGER",
    "WATCHLIST",
    "Format",
    "FormatsRejected",
    "Headers",
    "NeedsUpgradeFinish",
    "UnknownFormat",
    "Version",
    "adopt",
    "stated_format",
    "unsupported",
]
