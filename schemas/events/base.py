"""Wire types: every event and record on a topic, with its patterns and limits.

All values are JSON (UTF-8); times are RFC 3339 with an offset. A field that is not named here is refused, and so is a
required one left out. Decoding *is* validation: `decoder(Scan).decode(value)` either returns a complete event or raises.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

MAX_VALUE_BYTES = 1 << 20
"""A value over 1 MiB is dead-lettered as `too_large` before anything decodes it."""

# -- scalars ---------------------------------------------------------------------------------------------------------

# Eleven digits in a row could be a phone number, so no identifier may hold them.
Identifier = Annotated[str, Meta(pattern=r"\A(?!.*[0-9]{11})[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
PSEUDONYM_PATTERN = r"\A[A-Za-z0-9]{1,16}\.[0-9a-f]{32}\Z"
Token = Annotated[str, Meta(pattern=PSEUDONYM_PATTERN)]
CaseId = Annotated[str, Meta(pattern=r"\Ac\.[0-9a-f]{32}\Z")]
Division = Annotated[str, Meta(pattern=r"\A[0-9]{6}\Z")]
Origin = Annotated[str, Meta(pattern=r"\A([0-9]{6}|[A-Z]{2})\Z")]
Service = Annotated[str, Meta(pattern=r"\A[A-Z0-9]{2,8}\Z")]
Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Time = Annotated[datetime, Meta(tz=True)]
LOOSE_TIME = re.compile(rb':[0-9]{2}(?:\.[0-9]+)?[+-][0-9]{4}"')
"""In a value: ISO 8601 knows `+0800`, RFC 3339 does not; msgspec reads both. Every event is searched for it: the colon, which is
rare in them, makes that four times as fast as beginning with a digit."""
Millis = Annotated[int, Meta(ge=0, le=2**32 * 1000 - 1)]
"""Unix time in ms, as far as a DateTime of ClickHouse goes."""

QualityFlag = Literal[
    "empty", "bad_character", "bad_length", "checksum_failed", "bad_date", "birth_in_future", "unknown_division",
    "fifteen_digit", "mrz_number_failed", "mrz_birth_failed", "mrz_expiry_failed", "mrz_optional_failed",
    "mrz_composite_failed", "mrz_format", "document_expired", "no_issuing_state", "phone_invalid", "plate_unrecognised",
]  # fmt: skip

Outcome = Literal["clear", "refer", "quarantine", "turn_back", "hold", "order_ended"]
Category = Literal[
    "confirmed_case", "suspected_case", "close_contact", "risk_region_arrival", "quarantine_order", "health_pass"
]
CATEGORIES: frozenset[str] = frozenset(get_args(Category))
BatchStatus = Literal["applied", "held", "rejected"]
Matched = Literal["id", "passport", "pass", "phone", "plate"]
DeadReason = Literal["not_json", "schema_invalid", "too_large", "clock_out_of_range", "day_sealed", "internal"]
DEAD_REASONS: tuple[str, ...] = get_args(DeadReason)


class _Event(Struct, forbid_unknown_fields=True, gc=False):
    """Base of what comes from outside: strict, and invisible to the garbage collector (no cycles are possible)."""


# -- what devices send -----------------------------------------------------------------------------------------------


class Tokens(_Event):
    """Pseudonyms of one person, by domain; absent where the person showed no such document."""

    id: Token | UnsetType = UNSET
    passport: Token | UnsetType = UNSET
    phone: Token | UnsetType = UNSET
    pass_: Token | UnsetType = field(name="pass", default=UNSET)


class Person(_Event):
    """One person in a passage. Temperatures in °C; `origin` a six-digit division code or an ISO 3166 alpha-2 code."""

    role: Literal["driver", "passenger", "pedestrian", "traveller"]
    tokens: Tokens
    temperature_c: float | None
    temperature_confirmed_c: float | None = None
    health_code: Literal["green", "yellow", "red", "none"] = "none"
    origin: Origin | None = None
    quality: list[QualityFlag] = []


class Scan(_Event):
    """One passage at a checkpoint: a vehicle with 1 to 80 people, or a pedestrian."""

    device_id: Identifier
    seq: Seq
    site_id: Identifier
    observed_at: Time
    kind: Literal["vehicle", "pedestrian"]
    people: Annotated[list[Person], Meta(min_length=1, max_length=80)]
    direction: Literal["in", "out"] = "in"
    plate: Token | None = None


class Arrival(_Event):
    """One traveller at one stage of the way from a station to a destination."""

    device_id: Identifier
    seq: Seq
    site_id: Identifier
    observed_at: Time
    mode: Literal["air", "rail", "coach", "ferry"]
    service: Service
    stage: Literal["registered", "boarded", "delivered"]
    transfer_id: Identifier | None
    destination: Division | None
    person: Person


class EventRef(_Event):
    """Names an event: the device that made it and its sequence number there."""

    device_id: Identifier
    seq: Seq


class Disposition(_Event):
    """What the staff did about a passage."""

    device_id: Identifier
    seq: Seq
    site_id: Identifier
    observed_at: Time
    of: EventRef
    action: Literal["released", "turned_back", "referred", "sent_to_quarantine"]
    override: Literal["mistaken_identity", "remeasured", "document_shown", "other"] | None


class QuarantineEvent(_Event):
    """One event of a case in quarantine; `case_id` is a random number."""

    device_id: Identifier
    seq: Seq
    case_id: CaseId
    site_id: Identifier
    observed_at: Time
    type: Literal["admitted", "reading", "released", "transferred", "extended"]
    slot: Literal["am", "pm"] | None
    temperature_c: float | None
    symptoms: bool | None
    to_site_id: Identifier | None
    term_days: Count | None
    reason: Literal["completed", "negative", "hospital", "other"] | None


class FollowupEvent(_Event):
    """One event of a case under follow-up at home."""

    device_id: Identifier
    seq: Seq
    case_id: CaseId
    district: Identifier
    observed_at: Time
    type: Literal["opened", "visit", "closed"]
    source: Literal["push", "arrival", "checkpoint", "declared"] | None
    batch_id: Identifier | None
    visit: Literal["seen_well", "seen_symptomatic", "not_reached", "refused"] | None
    closed: Literal["completed", "quarantined", "lost", "withdrawn"] | None


# -- what health authorities push ------------------------------------------------------------------------------------


class PushTokens(_Event):
    """Pseudonyms of one line, one for every key in the authority's ring. Their shape is judged line by line."""

    id: list[str] | UnsetType = UNSET
    passport: list[str] | UnsetType = UNSET
    phone: list[str] | UnsetType = UNSET
    plate: list[str] | UnsetType = UNSET
    pass_: list[str] | UnsetType = field(name="pass", default=UNSET)


class PushLine(_Event):
    """One line of a batch. A missing time is the line's own fault (`no_window`), not the record's."""

    line: Count
    tokens: PushTokens
    valid_from: Time | None = None
    valid_to: Time | None = None


_Lines = list[PushLine]  # a field named `list` hides the builtin inside the class


# Empty is the batch's fault (`no_legal_basis`), not the record's.
OptionalBasis = Annotated[str, Meta(pattern=r"\A((?!.*[0-9]{11})[A-Za-z0-9][A-Za-z0-9._-]{0,63})?\Z")]


class PushBatch(_Event):
    """A batch of watchlist lines from a health authority, or one part of it."""

    batch_id: Identifier
    authority: Identifier
    pushed_by: Identifier
    list: Identifier
    category: str  # an unknown one is the batch's fault (`unknown_category`), not the record's
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
        if not re.fullmatch("[a-z_]{1,32}", self.category):  # receipts repeat it: no field holds free text
            self.category = ""


class PushConfirmation(_Event):
    """A second person's word for a held batch, on the topic of the pushes."""

    confirms: Identifier
    authority: Identifier
    confirmed_by: Identifier
    at: Time


LineCode = Literal["no_token", "bad_token", "no_window", "bad_window", "expired", "term_too_long", "not_listed"]
BatchCode = Literal["no_legal_basis", "unknown_category", "stale_sequence", "count_mismatch", "would_empty",
                    "would_shrink"]  # fmt: skip


ConfirmationCode = Literal["same_person", "overtaken", "not_held", "gone"]


class Reject(Struct):
    """One refused line of a batch, with its code."""

    line: Count
    code: LineCode


_Rejects = list[Reject]
_Offsets = list[int]


class PushReceipt(Struct):
    """What became of a batch. Held and rejected batches count 0 throughout.

    `by` pushed it, or confirmed it if `confirmed`. `confirmation` says why `by`'s confirmation changed nothing. `places` are the
    offsets of a held batch's parts: what is confirmed is what was held.
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


# -- the watchlist topic (compacted; key `authority|list|entry_id`) ----------------------------------------------------


class WatchlistEntry(Struct, tag="entry", tag_field="record"):
    """One entry as it stands; `sequence` is that of the batch that wrote it."""

    sequence: Seq
    category: Category
    tokens: dict[str, list[str]]
    valid_from: Time
    valid_to: Time


class Removal(Struct, tag="removal", tag_field="record"):
    """Takes an entry off its list from the manifest of `sequence` on; `expired`: not by that batch, but by its end."""

    sequence: Seq
    expired: bool = False


class Manifest(Struct, tag="manifest", tag_field="record"):
    """What complete means for a list (key `authority|list|`): records below `floor` are ignored.

    `lost`: receipts tell of the list, but its topic was emptied. No worker is ready until it is pushed in full.
    """

    sequence: Seq
    floor: Seq
    entries: Count
    key_ids: list[str]
    batch_id: str
    at: Time
    lost: bool = False


class Heartbeat(Struct, tag="heartbeat", tag_field="record"):
    """Written every ten seconds (key `||`): shows that the path from the authority lives."""

    at: Time


WatchlistRecord = WatchlistEntry | Removal | Manifest | Heartbeat

# -- what the pipeline answers ---------------------------------------------------------------------------------------


class Outcomes(Struct, gc=False):
    """Outcomes of one site's events: `[device_id, seq, outcome, [person index, …]]` each, and no reasons."""

    site_id: str
    at: datetime
    watchlist_version: int
    outcomes: list[tuple[str, int, str, list[int]]]


class MatchedEntry(Struct):
    """A watchlist entry that made a rule apply, so that a wrong one can be contested."""

    matched: Matched
    category: str
    authority: str
    list: str
    batch_id: str
    entry_id: str
    valid_to: datetime


class Reason(Struct):
    """Why: the rule, the person's index (null for the plate), and the entries, if the rule looks at lists."""

    person: int | None
    rule: str
    entries: list[MatchedEntry]


class Alert(Struct):
    """For health staff: every outcome but `clear`, with its reasons."""

    alert_id: str
    table: int
    site_id: str
    device_id: str
    seq: int
    observed_at: datetime
    decided_at: datetime
    outcome: str
    late: bool
    watchlist_version: int
    reasons: list[Reason]


class Correction(Struct):
    """Takes back an alert: an entry among its reasons was withdrawn as a mistake."""

    correction_of: str
    site_id: str
    at: datetime
    why: Literal["mistake"]


CareRule = Literal["reading_missed", "fever", "symptoms", "visit_overdue"]


class CareAlert(Struct):
    """For health staff, on the topic of the alerts: something about a case in quarantine or under follow-up.

    `reading_missed`: a slot has closed without a reading; `fever`: 37.3 °C or more; `symptoms`: reported, or seen on a visit;
    `visit_overdue`: a day has passed without a visit. `site_id` is set for quarantine, `district` for follow-up; `day` and
    `slot` are those that it is about, `at` when that slot or day ended, or what was found was observed. `alert_id` depends
    on case, rule, day and slot only: what comes twice is the same alert.
    """

    alert_id: str
    rule: CareRule
    case_id: str
    site_id: str | None
    district: str | None
    day: date
    slot: Literal["am", "pm"] | None
    at: datetime


class DecisionGroup(Struct, array_like=True, gc=False):
    """Events that were decided alike: what they have in common, then what each has, a list a field.

    `kind` is the scan's kind or the arrival's mode; `stage` is empty for scans; `people` counts persons; `reasons` names a rule
    once for every person (or plate) it applied to; `sites` are places in the record's list of sites; `observed_ms` is Unix time in ms; a digest is the CRC-32 of the value as it
    came, by which two contents under one number are told apart.
    """

    kind: str
    direction: str
    stage: str
    people: Annotated[int, Meta(ge=0, le=2**16 - 1)]
    outcome: str
    late: bool
    reasons: list[str]
    sites: list[Annotated[int, Meta(ge=0)]]
    device_ids: list[str]
    seqs: list[Seq]
    observed_ms: list[Millis]
    digests: list[Annotated[int, Meta(ge=0, le=2**32 - 1)]]

    def __post_init__(self) -> None:
        each: tuple[list[Any], ...] = (self.sites, self.device_ids, self.seqs, self.observed_ms, self.digests)
        if len(set(map(len, each))) > 1:
            raise ValueError("lists of one length are due")


class Decisions(Struct, gc=False):
    """Decisions about events of one partition that were decided together, at `decided_ms` (Unix time in ms): token-free, immutable,
    internal, and all that the counts need. The key of its record is the site of the first of them."""

    table: int
    decided_ms: Millis
    watchlist_version: int
    sites: list[str]
    decisions: list[DecisionGroup]

    def __post_init__(self) -> None:
        if any(max(alike.sites, default=-1) >= len(self.sites) for alike in self.decisions):
            raise ValueError("a site of the list is due")


class DeadLetter(Struct):
    """Where a record that could not be taken lies, and why. Never its value, its key, or a piece of either."""

    topic: Identifier
    partition: Count
    offset: Seq
    reason: DeadReason
    path: str
    size: Seq
    sha256: str
    at: Time


@cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """The decoder of a wire type; built once."""
    return msgspec.json.Decoder(kind)


encode = msgspec.json.Encoder().encode
"""Any wire type to JSON bytes."""
