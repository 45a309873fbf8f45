"""Batches that health authorities push, their confirmations, and the receipts that answer them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from ninezero.schemas.events.base import Count, Identifier, Seq, StrictMessage, Time

BatchStatus = Literal["applied", "held", "rejected"]
LineCode = Literal["no_token", "bad_token", "no_window", "bad_window", "expired", "term_too_long", "not_listed"]
"""Why a line of a batch is rejected."""
HoldCode = Literal["count_mismatch", "would_empty", "would_shrink", "unknown_key_ids"]
"""Why a batch is held."""
BatchCode = Literal[
    HoldCode,
    "no_legal_basis",
    "unknown_category",
    "stale_sequence",
    "sequence_ahead",
    "incomplete",
    "needs_upgrade_finish",
]
"""Why a batch is held or rejected."""
ConfirmationCode = Literal["same_person", "overtaken", "not_held", "gone"]
"""Why a confirmation changed nothing."""

# An empty legal basis is an error of the batch (`no_legal_basis`), not of the record.
OptionalBasis = Annotated[str, Meta(pattern=r"\A((?!.*[0-9]{11})[A-Za-z0-9][A-Za-z0-9._-]{0,63})?\Z")]


class PushTokens(StrictMessage):
    """Pseudonyms of one line: for each domain, one per key in the authority's key ring.

    The form of a token is checked line by line, so that one bad token does not reject the whole batch.
    """

    id: list[str] | UnsetType = UNSET
    passport: list[str] | UnsetType = UNSET
    phone: list[str] | UnsetType = UNSET
    plate: list[str] | UnsetType = UNSET
    pass_: list[str] | UnsetType = field(name="pass", default=UNSET)


class PushLine(StrictMessage):
    """One line of a batch. Without `valid_from` it holds whenever something was observed.

    A missing `valid_to` is an error of the line (`no_window`), not of the record.
    """

    line: Count
    tokens: PushTokens
    valid_from: Time | None = None
    valid_to: Time | None = None


class Reject(Struct):
    """One rejected line of a batch, with the reason."""

    line: Count
    code: LineCode


# Inside a class with a field named `list`, the name `list` is that field.
_Lines = list[PushLine]
_Rejects = list[Reject]
_Offsets = list[int]


class PushBatch(StrictMessage):
    """A batch of watchlist lines from a health authority, or one part of it."""

    batch_id: Identifier
    authority: Identifier
    pushed_by: Identifier
    list: Identifier
    category: str  # an unknown category is an error of the batch (`unknown_category`), not of the record
    mode: Literal["delta", "full", "withdraw"]
    sequence: Seq
    issued_at: Time
    purpose: Literal["epidemic_control"]
    declared_lines: Count
    lines: _Lines
    legal_basis: OptionalBasis | None = None
    part: Annotated[int, Meta(ge=1, le=100_000)] = 1
    parts: Annotated[int, Meta(ge=1, le=100_000)] = 1
    withdraw_reason: Literal["expired", "cleared", "mistake"] | None = None

    def __post_init__(self) -> None:
        if self.part > self.parts:
            raise ValueError("part is greater than parts")
        if not re.fullmatch(
            "[a-z_]{1,32}", self.category
        ):  # receipts repeat the category, and no field may hold free text
            self.category = ""


class PushConfirmation(StrictMessage):
    """The confirmation of a held batch by a second person, on the topic of the pushes."""

    confirms: Identifier
    authority: Identifier
    confirmed_by: Identifier
    at: Time


class PushReceipt(Struct):
    """The result of a batch. All counts of a held or rejected batch are 0.

    `by` is the person who pushed the batch, or who confirmed it if `confirmed` is set. `confirmation` is the reason why a
    confirmation changed nothing. `places` holds the offsets of the parts of a held batch, so that the confirmation applies
    exactly those parts. `sequence` is the last one applied to the list, this batch included; null if none was. `leaving` of
    `listed` entries leave the list; of a held `full` they would leave it.
    """

    batch_id: Identifier
    authority: Identifier
    list: Identifier
    category: str
    mode: str
    status: BatchStatus
    code: BatchCode | None
    lines_declared: Count
    accepted: Count
    duplicate: Count
    rejected: Count
    withdrawn: Count
    rejects: _Rejects
    issued_at: Time
    at: Time
    by: str = ""
    confirmed: bool = False
    confirmation: ConfirmationCode | None = None
    places: _Offsets = []
    sequence: Seq | None = None
    leaving: Count = 0
    listed: Count = 0
