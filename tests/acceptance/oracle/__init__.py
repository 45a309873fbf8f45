"""The results that the contract requires, computed slowly and plainly from the records that were sent.

Nothing here is imported from the pipeline. Section numbers (§) are those of the contract. Instants are whole
microseconds since 1970. Where the contract leaves a case open, `Ambiguous` is raised, so that no test decides it
silently. These readings of the contract were needed nevertheless:

R1  On scans too, a token has the form of §5 (`[A-Za-z0-9]{1,16}.` and 32 lower-case hex digits). A token of another
    form is `schema_invalid` on a scan, and the line code `bad_token` on a pushed line.
R2  The path of a missing field is that of the field or of the object that lacks it. The path of an unknown field,
    whose name must not be repeated, is that of its object. `not_json` and `too_large` have the path null or "". Of
    several faults any one may be named.
R3  Nesting beyond any parser's limit, or an integer beyond 64 bits, may be `not_json` (RFC 8259 §9 lets a parser set
    limits) or `schema_invalid`.
R4  `temperature_implausible` counts as absent in the rows *below* it. `no_temperature` is above it, so it is decided
    by the values as sent.
R5  The key ids of a list are those of all tokens of all its entries. A list of any category counts.
R6  `lines_declared` of a held or rejected batch is what it declared ("count 0" is for the outcomes of lines).
R7  The clock bounds and `late` compare exact instants: "over" and "exceeds" are strict.
R8  A site that was never loaded is screened like any other: nothing in §4 names it a fault.

Readings of §5 (R9 to R16 are in test_acceptance.py):

R17 A batch is identified by (authority, batch_id): two authorities may use the same batch_id. A batch_id that was
    answered gets the same answer again, whatever the new record contains.
R18 "Now" is the Kafka timestamp of the record that completes the batch. Parts may arrive in any order, and their lines
    are applied in the order of the parts. A part that arrives again before the batch is complete changes nothing.
R19 `declared_lines` is the number of the whole batch, the same in every part.
R20 The codes of a batch have the order of the text: no_legal_basis, unknown_category, stale_sequence, sequence_ahead, then
    the codes that hold a batch. So a rejected batch is never held: a confirmation could not repair it.
R21 "Withdrawals are never held for these" applies to all four codes, including count_mismatch.
R22 The lines of a withdrawal have the codes no_token, bad_token and not_listed only ("need tokens only"). Their windows
    are not checked. `withdrawn` counts lines, as accepted and rejected do; for a full it counts entries. The category
    of the entry does not matter.
R23 A `full` applies its lines in order to the current list. Then it removes every entry that no line is equal to or
    replaces; these are what it "removed" (`withdrawn`, would_shrink). It replaces the list, whatever the categories of
    the entries.
R24 An expired entry is not live: it is not a duplicate, not replaced, not withdrawn (`not_listed`), not counted.
R25 Only an applied batch supersedes a held one. A confirmed batch is never reported as held again, whatever it was held
    for.
R26 A confirmation is decided at the time at which it arrives, its batch as of the time at which the batch arrived. A
    rejected confirmation changes nothing; of several grounds any one may be named. A confirmation that is delivered
    twice may be answered `not_held` the second time. The contract does not define the answer to a confirmation of an
    unknown batch.
R27 The audit has one row for each batch, whatever its status, and one for each confirmation that was not rejected.
    `lines` is `lines_declared`, `who` is pushed_by or confirmed_by.
R28 The view push_batches has one row for each batch, with its last receipt.
R29 A Correction belongs to an alert, not to an entry: there is one for each alert_id. An entry that a `full` removed,
    that a line replaced or that expired was not withdrawn.
R31 Lines are joined in their order. A line whose window leaves a gap to those of its entry waits for the lines after it,
    which may fill the gap; then it is tried again, and refused if the gap is still there. What was refused joins nothing.
R32 "No token's key id" (unknown_key_ids) is about the well-formed tokens of all lines, whatever their other codes. A
    batch without any is not held for it.
R33 An incomplete batch is answered when its first part is over 24 hours old. Here: by the first record of it after that.
R34 `sequence` of a receipt is null where no batch of the list was ever applied.
R30 The contract does not define the same tokens and window under another category in the same list. By its wording the
    line is a `duplicate`.

Readings of §3, "Policy":

R35 A policy of which a threshold is out of range or an outcome is below its floor is ignored like a second one, and so
    is its use. It was the first under its key nevertheless. The bounds of ranges are allowed.
R36 No record changes what holds earlier than 60 s after its Kafka timestamp (not in replay), since workers may have
    decided about such an event before they read it. An activation that begins within that time is not moved; an end
    that is earlier takes effect then; an end that is itself within that time is not changed. The end of a shadow is not
    before its Kafka timestamp. Times of uses count in whole milliseconds, rounded up.
R37 An interval holds its start and not its end. One that does not end after its start is empty, but its start counts as
    that of an active use. Where no interval holds, the built-in policy does.
R38 A new use under the same key replaces one that has not begun. After the end of one it begins a second interval.
R39 A use that is written before its policy is refused for good.
R40 The sites of the register do not change while events are sent.
R41 The approver and `effective_to` of a use are not compared: a record that only sets the end is signed by someone else.
R42 A policy that is active and a shadow at one time is evaluated once, and not counted as a shadow.
"""

from __future__ import annotations

from .decisions import Reason, decide, outcome_of
from .lists import Batch, Entry, Lists, line_code
from .policies import DEFAULT, DEFAULTS, NOTICE, POLICIES, REGISTER, Policies, Policy, Use, read_policy
from .records import Fault, read
from .run import Decided, Expected, expect
from .terms import (
    ARRIVALS,
    CATEGORIES,
    DAY,
    FIVE,
    FLAGS,
    MAX_TERM,
    MIB,
    MINUTE,
    PUSHES,
    SCANS,
    SECOND,
    SEVERITY,
    Ambiguous,
    Record,
    at,
    instant,
    normalise,
    token,
)
from .views import (
    COUNTED,
    Rows,
    arrivals_by_day,
    day_of,
    dead_letters_by_hour,
    difference,
    minute_of,
    policies_view,
    policy_shadow_by_day,
    push_batches,
    reasons_by_day,
    screening_by_day,
    screening_by_minute,
    watchlist_audit,
)

__all__ = [
    "ARRIVALS",
    "CATEGORIES",
    "COUNTED",
    "DAY",
    "DEFAULT",
    "DEFAULTS",
    "FIVE",
    "FLAGS",
    "MAX_TERM",
    "MIB",
    "MINUTE",
    "NOTICE",
    "POLICIES",
    "PUSHES",
    "REGISTER",
    "SCANS",
    "SECOND",
    "SEVERITY",
    "Ambiguous",
    "Batch",
    "Decided",
    "Entry",
    "Expected",
    "Fault",
    "Lists",
    "Policies",
    "Policy",
    "Reason",
    "Record",
    "Rows",
    "Use",
    "arrivals_by_day",
    "at",
    "day_of",
    "dead_letters_by_hour",
    "decide",
    "difference",
    "expect",
    "instant",
    "line_code",
    "minute_of",
    "normalise",
    "outcome_of",
    "policies_view",
    "policy_shadow_by_day",
    "push_batches",
    "read",
    "read_policy",
    "reasons_by_day",
    "screening_by_day",
    "screening_by_minute",
    "token",
    "watchlist_audit",
]
