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
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
MIB = 1 << 20
MAX_TERM = 2_419_200 * SECOND

SCANS, ARRIVALS, PUSHES = "checkpoint-scans", "station-arrivals", "watchlist-pushes"
REFERRED = ("confirmed_case", "suspected_case", "quarantine_order")
QUARANTINED = ("close_contact", "risk_region_arrival")
FIVE = REFERRED + QUARANTINED
CATEGORIES = (*FIVE, "health_pass")
SEVERITY = ("clear", "hold", "turn_back", "quarantine", "refer")
STRONG = ("id", "passport", "pass")
FLAGS = (
    "empty",
    "bad_character",
    "bad_length",
    "checksum_failed",
    "bad_date",
    "birth_in_future",
    "unknown_division",
    "fifteen_digit",
    "mrz_number_failed",
    "mrz_birth_failed",
    "mrz_expiry_failed",
    "mrz_optional_failed",
    "mrz_composite_failed",
    "mrz_format",
    "document_expired",
    "no_issuing_state",
    "phone_invalid",
    "plate_unrecognised",
)


class Ambiguous(Exception):
    """The contract does not define this case. A client must not send it."""


@dataclass(frozen=True)
class Record:
    """One record as it is in Kafka. The topic has no prefix, the timestamp is the broker's."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes

    @property
    def at(self) -> int:
        return self.timestamp_ms * 1000


# --- §1: pseudonyms ---------------------------------------------------------------------------------------------

_DROPPED = set("\u00b7\u2022\u2027\u2212\u2219\u22c5\u25cf\u30fb\uff0e._/'")


def normalise(text: str) -> str:
    """Returns the normal form of §1: NFKC, upper case, without white space, controls, formats, dashes and dots."""
    upper = unicodedata.normalize("NFKC", text).upper()
    return "".join(
        c
        for c in upper
        if c not in _DROPPED
        and not unicodedata.category(c).startswith("Z")
        and unicodedata.category(c) not in ("Cc", "Cf", "Pd")
    )


def token(key_id: str, key: bytes, domain: str, normalised: str) -> str:
    """Returns a token (§1): key id, a dot, and the first 32 hex digits of HMAC-SHA256 over domain, NUL and the normalised text."""
    digest = hmac.new(key, f"{domain}\0{normalised}".encode(), hashlib.sha256).hexdigest()
    return f"{key_id}.{digest[:32]}"


# --- times ------------------------------------------------------------------------------------------------------

_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(Z|[+-][0-9]{2}:[0-9]{2})"
)


@cache
def instant(text: str) -> int | None:
    """Returns an RFC 3339 time with an offset in microseconds since 1970; None for anything else."""
    match = _TIME.fullmatch(text)
    if match is None:
        if _TIME.fullmatch(text.upper().replace(" ", "T")):
            raise Ambiguous("RFC 3339 allows lower case and a space; the contract does not say")
        return None
    year, month, day, hour, minute, second = (int(g) for g in match.groups()[:6])
    fraction, offset = match[7] or "", match[8]
    if second == 60 or year == 0 or len(fraction) > 6:
        raise Ambiguous("leap second, year 0 or finer than a microsecond")
    try:
        moment = datetime(year, month, day, hour, minute, second, int(fraction.ljust(6, "0")), tzinfo=UTC)
    except ValueError:
        return None
    since = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if offset == "Z":
        return since
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:
        return None
    shift = (hours * 60 + minutes) * MINUTE
    return since - shift if offset[0] == "+" else since + shift


# --- §2 and §4: malformed records and their paths ----------------------------------------------------------------

Paths = set[str | None]
Check = Callable[[Any, str, Paths], None]

_PERSON_NAMES = ("role", "tokens", "temperature_c", "temperature_confirmed_c", "health_code", "origin", "quality")
_SCAN_NAMES = ("device_id", "seq", "site_id", "observed_at", "kind", "direction", "plate", "people")
_ARRIVAL_NAMES = ("mode", "service", "stage", "transfer_id", "destination", "person")
_CONFIRMATION_NAMES = ("confirms", "authority", "confirmed_by", "at")
NAMES = {*_PERSON_NAMES, *_SCAN_NAMES, *_ARRIVAL_NAMES, "id", "passport", "phone", "pass"}
"""Field names of the contract that a path may repeat even where the field does not belong."""

IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TOKEN = re.compile(r"[A-Za-z0-9]{1,16}\.[0-9a-f]{32}")


def _fault(path: str, out: Paths) -> None:
    out.add(path)
    if path == "":
        out.add(None)


def _matches(pattern: re.Pattern[str]) -> Check:
    def check(value: Any, path: str, out: Paths) -> None:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            _fault(path, out)

    return check


def _identifier(value: Any, path: str, out: Paths) -> None:
    if not isinstance(value, str) or IDENTIFIER.fullmatch(value) is None or re.search("[0-9]{11}", value):
        _fault(path, out)


def _one_of(*allowed: str) -> Check:
    def check(value: Any, path: str, out: Paths) -> None:
        if not isinstance(value, str) or value not in allowed:
            _fault(path, out)

    return check


def _integer(minimum: int) -> Check:
    def check(value: Any, path: str, out: Paths) -> None:
        if isinstance(value, float) and value.is_integer():
            raise Ambiguous("1.0 for an integer")
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            _fault(path, out)
        elif value >= 1 << 53:
            raise Ambiguous("no upper bound is stated")

    return check


def _number(value: Any, path: str, out: Paths) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        _fault(path, out)
    elif abs(value) == float("inf"):
        raise Ambiguous("a number beyond a double")


def _text(value: Any, path: str, out: Paths) -> None:
    if not isinstance(value, str):
        _fault(path, out)


def _time(value: Any, path: str, out: Paths) -> None:
    if not isinstance(value, str) or instant(value) is None:
        _fault(path, out)


def _nullable(check: Check) -> Check:
    return lambda value, path, out: None if value is None else check(value, path, out)


def _list(check: Check, low: int = 0, high: int | None = None) -> Check:
    def checked(value: Any, path: str, out: Paths) -> None:
        if not isinstance(value, list) or len(value) < low or (high is not None and len(value) > high):
            _fault(path, out)
            return
        for index, item in enumerate(value):
            check(item, f"{path}/{index}", out)

    return checked


def _object(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    def check(value: Any, path: str, out: Paths) -> None:
        if not isinstance(value, dict):
            _fault(path, out)
            return
        for name in required:
            if name not in value:
                _fault(path, out)
                _fault(f"{path}/{name}", out)
        for name, item in value.items():
            if name in required:
                required[name](item, f"{path}/{name}", out)
            elif name in optional:
                optional[name](item, f"{path}/{name}", out)
            else:
                _fault(path, out)
                if name in NAMES:
                    _fault(f"{path}/{name}", out)

    return check


def _optional_token(value: Any, path: str, out: Paths) -> None:
    if value is None:
        raise Ambiguous("a token that is null instead of left out")
    _matches(TOKEN)(value, path, out)


def _origin(value: Any, path: str, out: Paths) -> None:
    if isinstance(value, str) and re.fullmatch("[A-Za-z]{2}", value) and not value.isupper():
        raise Ambiguous("a country code in lower case")
    _matches(re.compile("[0-9]{6}|[A-Z]{2}"))(value, path, out)


_DIVISION = _matches(re.compile("[0-9]{6}"))
_PERSON = _object(
    {
        "role": _one_of("driver", "passenger", "pedestrian", "traveller"),
        "tokens": _object({}, dict.fromkeys(("id", "passport", "phone", "pass"), _optional_token)),
        "temperature_c": _nullable(_number),
    },
    {
        "temperature_confirmed_c": _nullable(_number),
        "health_code": _one_of("green", "yellow", "red", "none"),
        "origin": _nullable(_origin),
        "quality": _list(_one_of(*FLAGS)),
    },
)
_EVENT: dict[str, Check] = {
    "device_id": _identifier,
    "seq": _integer(0),
    "site_id": _identifier,
    "observed_at": _time,
}
_PUSHED_TOKENS = _object({}, dict.fromkeys(("id", "passport", "phone", "plate", "pass"), _list(_text)))
_SCHEMAS: dict[str, Check] = {
    SCANS: _object(
        {**_EVENT, "kind": _one_of("vehicle", "pedestrian"), "people": _list(_PERSON, 1, 80)},
        {"direction": _one_of("in", "out"), "plate": _nullable(_matches(TOKEN))},
    ),
    ARRIVALS: _object(
        {
            **_EVENT,
            "mode": _one_of("air", "rail", "coach", "ferry"),
            "service": _matches(re.compile("[A-Z0-9]{2,8}")),
            "stage": _one_of("registered", "boarded", "delivered"),
            "transfer_id": _nullable(_identifier),
            "destination": _nullable(_DIVISION),
            "person": _PERSON,
        },
        {},
    ),
    PUSHES: _object(
        {
            **dict.fromkeys(("batch_id", "authority", "pushed_by", "list"), _identifier),
            "category": _text,
            "mode": _one_of("delta", "full", "withdraw"),
            "sequence": _integer(0),
            "issued_at": _time,
            "purpose": _one_of("epidemic_control"),
            "declared_lines": _integer(0),
            "lines": _list(
                _object(
                    {"line": _integer(0), "tokens": _PUSHED_TOKENS}, {"valid_from": _nullable(_time), "valid_to": _time}
                )
            ),
        },
        {
            # Missing, null or empty is a batch code (§5), not a fault of the record.
            "legal_basis": lambda value, path, out: None if value in (None, "") else _identifier(value, path, out),
            "part": _integer(1),
            "parts": _integer(1),
            "withdraw_reason": _nullable(_one_of("expired", "cleared", "mistake")),
        },
    ),
}


_CONFIRMATION = _object(
    {**dict.fromkeys(("confirms", "authority", "confirmed_by"), _identifier), "at": _time},
    {},
)


@dataclass(frozen=True)
class Fault:
    """The reasons and paths that the contract allows for the dead letter of a record."""

    reasons: frozenset[str]
    paths: frozenset[str | None]


_DEEP: frozenset[str | None] = frozenset({None, "", "/people", "/people/0"})
_NOWHERE: frozenset[str | None] = frozenset({None, ""})


def _only(reason: str, paths: Iterable[str | None] = _NOWHERE) -> Fault:
    return Fault(frozenset({reason}), frozenset(paths))


class _Constant(ValueError):
    """Rejects NaN and infinities, which Python reads and JSON does not allow."""


def _refuse(name: str) -> Any:
    raise _Constant(name)


_MANY_LEVELS = 900
"""Depth of nesting from which parsers may reject a value. Python 3.11 rejects about a thousand levels; 3.13 reads them."""


def _levels(value: Any) -> Iterator[list[Any]]:
    """Yields the values of each level of nesting."""
    level = [value]
    while level:
        yield level
        lists = (list(v.values()) if isinstance(v, dict) else v for v in level if isinstance(v, dict | list))
        level = [inner for some in lists for inner in some]


def _has_huge_integer(value: Any) -> bool:
    return any(isinstance(v, int) and abs(v) >= 1 << 63 for level in _levels(value) for v in level)


def read(record: Record) -> dict[str, Any] | Fault:
    """Returns the record's value as an event, or the fault for which it is dead-lettered (§4)."""
    if len(record.value) > MIB:
        return _only("too_large")
    try:
        value = json.loads(record.value.decode("utf-8"), parse_constant=_refuse)
    except RecursionError:
        return Fault(frozenset({"not_json", "schema_invalid"}), _DEEP)  # R3
    except ValueError:
        return _only("not_json")
    if sum(1 for _ in _levels(value)) > _MANY_LEVELS:
        return Fault(frozenset({"not_json", "schema_invalid"}), _DEEP)  # R3
    paths: Paths = set()
    is_confirmation = record.topic == PUSHES and isinstance(value, dict) and "confirms" in value
    (_CONFIRMATION if is_confirmation else _SCHEMAS[record.topic])(value, "", paths)
    if paths and _has_huge_integer(value):
        return Fault(frozenset({"not_json", "schema_invalid"}), frozenset(paths | {None, ""}))  # R3
    if paths:
        return _only("schema_invalid", paths)
    assert isinstance(value, dict)
    if record.topic in (SCANS, ARRIVALS):
        ahead = _at(value["observed_at"]) - record.at
        if ahead > 10 * MINUTE or -ahead > 13 * DAY:
            return _only("clock_out_of_range", ["/observed_at"])
    return value


def _at(text: str) -> int:
    moment = instant(text)
    assert moment is not None, "checked before"
    return moment


# --- §5: lists and batches --------------------------------------------------------------------------------------

Tokens = Mapping[str, frozenset[str]]
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Entry:
    """One entry of a list. The window is half open; without a start it holds whenever something was observed."""

    authority: str
    list: str
    category: str
    batch_id: str
    """The batch that last changed it."""
    line: int
    """The line that first listed it."""
    tokens: dict[str, frozenset[str]]
    valid_from: int | None
    valid_to: int
    first_batch: str = ""
    first_sequence: int = 0
    merged: frozenset[str] = frozenset()
    """The ids of the entries that were merged into it."""

    @property
    def entry_id(self) -> str:
        return f"{self.first_batch}:{self.line}"

    @property
    def ids(self) -> frozenset[str]:
        """Every id that it had."""
        return self.merged | {self.entry_id}

    def has(self, kind: str, token_: str | None) -> bool:
        return token_ is not None and token_ in self.tokens.get(kind, _NONE)

    def is_same_subject(self, tokens: Tokens) -> bool:
        """Returns whether both share an id, passport or pass token; or, where neither has any of these, a phone or plate (§5)."""
        if any(self.tokens.get(kind, _NONE) & tokens.get(kind, _NONE) for kind in STRONG):
            return True
        if any(self.tokens.get(kind) or tokens.get(kind) for kind in STRONG):
            return False
        return any(self.tokens.get(kind, _NONE) & tokens.get(kind, _NONE) for kind in ("phone", "plate"))


def line_code(line: Mapping[str, Any], category: str, now: int, mode: str = "delta") -> str | None:
    """Returns the first code of §5 that applies to a line, or None for a valid line."""
    tokens = [text for texts in line["tokens"].values() for text in texts]
    if not tokens:
        return "no_token"
    if any(TOKEN.fullmatch(text) is None for text in tokens):
        return "bad_token"
    if mode == "withdraw":
        return None  # R22
    if "valid_to" not in line:
        return "no_window"
    start, end = _start(line), _at(line["valid_to"])
    if start is not None and start >= end:
        return "bad_window"
    if end <= now:
        return "expired"
    return "term_too_long" if _too_long(start, end, category, now) else None


def _start(line: Mapping[str, Any]) -> int | None:
    return None if line.get("valid_from") is None else _at(line["valid_from"])


def _too_long(start: int | None, end: int, category: str, now: int) -> bool:
    return category != "health_pass" and end - (now if start is None else start) > MAX_TERM


def _earliest(entries: Iterable[Entry]) -> int | None:
    starts = [entry.valid_from for entry in entries]
    return None if None in starts else min(start for start in starts if start is not None)


def _has_gap(entries: Sequence[Entry]) -> bool:
    """Returns whether some instant between the first start and the last end is in no window and touches none."""
    ordered = sorted(entries, key=lambda entry: -1 if entry.valid_from is None else entry.valid_from)
    return any(
        later.valid_from is not None and later.valid_from > max(entry.valid_to for entry in ordered[:n])
        for n, later in enumerate(ordered)
        if n
    )


@dataclass
class Joined:
    """What the lines of one batch become before they are compared with the list (R31)."""

    groups: list[list[Entry]] = field(default_factory=list)
    """The lines of each entry, in their order, as entries."""
    refused: dict[int, str] = field(default_factory=dict)
    """Code by line number."""


def join(lines: Sequence[Entry], category: str, now: int) -> Joined:
    """Joins lines that have no code of their own. Each is given as the entry that it would be alone."""
    joined, waiting = Joined(), list(lines)
    place = {entry.line: n for n, entry in enumerate(lines)}
    while True:
        left: list[Entry] = []
        for line in waiting:
            same = [group for group in joined.groups if any(one.is_same_subject(line.tokens) for one in group)]
            everyone = [*(one for group in same for one in group), line]
            if same and _has_gap(everyone):
                left.append(line)
            elif same and _too_long(_earliest(everyone), max(one.valid_to for one in everyone), category, now):
                joined.refused[line.line] = "term_too_long"
            else:
                others = [group for group in joined.groups if group not in same]
                together = sorted(everyone, key=lambda one: place[one.line])
                joined.groups = sorted([*others, together], key=lambda group: place[group[0].line])
        if len(left) == len(waiting):
            joined.refused |= {line.line: "bad_window" for line in left}
            return joined
        waiting = left


@dataclass
class Trial:
    """The effect of a batch on a list: the entries after it, and the counts of its receipt."""

    after: list[Entry]
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("accepted", "duplicate", "rejected", "withdrawn"), 0)
    )
    rejects: list[dict[str, Any]] = field(default_factory=list)
    withdrawn: list[Entry] = field(default_factory=list)
    meant: set[str] = field(default_factory=set)
    """The ids of the entries that a line of the batch matches."""
    kept: int = 0
    """Number of entries that a line matched, among those that were there before."""

    def reject(self, line: int, code: str) -> None:
        self.counts["rejected"] += 1
        self.rejects.append({"line": line, "code": code})

    def withdraw(self, line: int, tokens: Tokens) -> None:
        same = [entry for entry in self.after if entry.is_same_subject(tokens)]
        if not same:
            self.reject(line, "not_listed")
            return
        self.counts["withdrawn"] += 1
        self.withdrawn += same
        self.after = [entry for entry in self.after if entry not in same]

    def put(self, group: Sequence[Entry], sequence: int) -> None:
        """Applies the lines of one entry, which are joined."""
        tokens: dict[str, frozenset[str]] = {}
        for one in group:
            tokens |= {kind: tokens.get(kind, _NONE) | some for kind, some in one.tokens.items()}
        start, end = _earliest(group), max(one.valid_to for one in group)
        new = replace(group[0], tokens=tokens, valid_from=start, valid_to=end, first_sequence=sequence)
        same = [entry for entry in self.after if entry.is_same_subject(tokens) and entry.entry_id not in self.meant]
        self.counts["duplicate"] += len(group) - 1
        self.kept += len(same)
        shape = (new.tokens, new.valid_from, new.valid_to)
        if any((e.tokens, e.valid_from, e.valid_to) == shape for e in same):
            assert len(same) == 1, "what is equal to an entry and fits another would mean that these two fit"
            if same[0].category != new.category:
                raise Ambiguous("the same tokens and window in one list under two categories")
            self.counts["duplicate"] += 1
            self.meant.add(same[0].entry_id)
            return
        self.counts["accepted"] += 1
        self.after = [entry for entry in self.after if entry not in same]
        if same:
            senior = min(same, key=lambda entry: (entry.first_sequence, entry.line))
            merged = frozenset(name for entry in same for name in entry.ids) - {senior.entry_id}
            first = {"first_batch": senior.first_batch, "line": senior.line, "first_sequence": senior.first_sequence}
            new = replace(new, merged=merged, **first)
        if any(entry.entry_id == new.entry_id for entry in self.after):
            raise Ambiguous("a batch_id that is used again")
        self.after.append(new)
        self.meant.add(new.entry_id)

    def drop_the_rest(self, before: int) -> None:
        """The end of a `full` (R23), for a list of `before` entries."""
        self.after = [entry for entry in self.after if entry.entry_id in self.meant]
        self.counts["withdrawn"] = before - self.kept


@dataclass
class Batch:
    """A batch so far: the first head, the parts by number, and its last receipt."""

    head: dict[str, Any]
    parts: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    receipt: dict[str, Any] | None = None
    at: int = 0
    """The Kafka timestamp of the record that completed it."""
    first_at: int = 0
    """The Kafka timestamp of its first record."""

    def add(self, record: dict[str, Any]) -> None:
        if _head(record) != _head(self.head):
            raise Ambiguous("parts that differ in what they have in common")
        number = record.get("part", 1)
        if self.parts.setdefault(number, record["lines"]) != record["lines"]:
            raise Ambiguous("a part that comes twice with different lines")

    @property
    def complete(self) -> bool:
        return len(self.parts) == int(self.head.get("parts", 1))

    @property
    def lines(self) -> list[dict[str, Any]]:
        lines = [line for number in sorted(self.parts) for line in self.parts[number]]
        if len({line["line"] for line in lines}) != len(lines):
            raise Ambiguous("a line number used twice")
        return lines


def _head(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ("part", "lines")}


@dataclass
class Lists:
    """Every list as it is now, and the state of the batches."""

    entries: dict[tuple[str, str], list[Entry]] = field(default_factory=dict)
    applied: dict[tuple[str, str], int] = field(default_factory=dict)
    batches: dict[tuple[str, str], Batch] = field(default_factory=dict)
    audit: list[tuple[str, str, str, str, str, int]] = field(default_factory=list)
    expired: dict[tuple[str, str], list[Entry]] = field(default_factory=dict)
    """Entries that had expired when their list was changed. Only `decide` uses them, where the contract does not define whether they are still there."""
    mistakes: list[Entry] = field(default_factory=list)
    """Entries that a withdrawal for `mistake` removed, in order."""

    def process(self, record: Record, value: dict[str, Any]) -> dict[str, Any] | None:
        """Processes one record of the topic of pushes. Returns its receipt, or None."""
        return self.confirm(record, value) if "confirms" in value else self.push(record, value)

    def push(self, record: Record, value: dict[str, Any]) -> dict[str, Any] | None:
        """Processes a batch or a part of one. Returns the receipt after the last part, else None."""
        batch = self.batches.setdefault((value["authority"], value["batch_id"]), Batch(value, first_at=record.at))
        if batch.receipt is not None:
            return batch.receipt  # R17
        batch.add(value)
        late = record.at - batch.first_at > DAY
        if not batch.complete and not late:
            return None
        batch.at = record.at
        status, code = ("rejected", "incomplete") if late else self.verdict(batch, record.at)
        action = "withdraw" if batch.head["mode"] == "withdraw" else "push"
        self._keep(batch.head["pushed_by"], action, batch.head)
        return self._answer(batch, status, code)

    def confirm(self, record: Record, word: dict[str, Any]) -> dict[str, Any]:
        """Processes the confirmation of a held batch. Returns the receipt that answers it.

        Its `confirmation` is the set of codes that may be named (R26), empty where the batch is applied.
        """
        batch = self.batches.get((word["authority"], word["confirms"]))
        if batch is None or batch.receipt is None:
            raise Ambiguous("a confirmation of what is not known")
        sequence, where = batch.head["sequence"], (batch.head["authority"], batch.head["list"])
        grounds = {
            ground
            for ground, applies in (
                ("not_held", batch.receipt["status"] != "held"),
                ("same_person", word["confirmed_by"] == batch.head["pushed_by"]),
                ("overtaken", where in self.applied and sequence <= self.applied[where]),
            )
            if applies
        }
        if grounds:
            return batch.receipt | {"confirmed": False, "confirmation": grounds}
        if self.trial(batch, batch.at) != self.trial(batch, record.at):
            raise Ambiguous("a window ended between a batch and its confirmation")
        self._keep(word["confirmed_by"], "confirm", batch.head)
        return self._answer(batch, "applied", None, confirmed=True)

    def verdict(self, batch: Batch, now: int) -> tuple[str, str | None]:
        """Returns the status and the code of a complete batch (R20)."""
        head = batch.head
        where = (head["authority"], head["list"])
        if not head.get("legal_basis"):
            return "rejected", "no_legal_basis"
        if head["category"] not in CATEGORIES:
            return "rejected", "unknown_category"
        if where in self.applied and head["sequence"] <= self.applied[where]:
            return "rejected", "stale_sequence"
        if head["sequence"] > now // 1000 + 86_400_000:
            return "rejected", "sequence_ahead"
        if head["mode"] == "withdraw":
            return "applied", None  # R21
        if head["declared_lines"] != len(batch.lines):
            return "held", "count_mismatch"
        if head["mode"] == "full":
            live, trial = len(self.live(where, now)), self.trial(batch, now)
            if live > 0 and not trial.after:
                return "held", "would_empty"
            leaving = trial.counts["withdrawn"]
            if (live >= 10 and 2 * leaving > live) or (leaving > 1000 and 5 * leaving > live):
                return "held", "would_shrink"
        if self.has_unknown_keys(batch, now):
            return "held", "unknown_key_ids"
        return "applied", None

    def has_unknown_keys(self, batch: Batch, now: int) -> bool:
        """Returns whether no token of a batch has a key that another list has, while there is one (R32)."""
        where = (batch.head["authority"], batch.head["list"])
        used = {
            text.partition(".")[0]
            for line in batch.lines
            if (texts := [text for some in line["tokens"].values() for text in some])
            and all(TOKEN.fullmatch(text) for text in texts)
            for text in texts
        }
        others = [e for name, entries in self.entries.items() if name != where for e in entries]
        expired = [e for name, entries in self.expired.items() if name != where for e in entries]
        answers = set()
        for some in ([e for e in others if e.valid_to > now], others, others + expired):
            known = {key_id for entry in some for key_id in key_ids(entry)}
            answers.add(bool(used) and bool(some) and not used & known)
        if len(answers) > 1:
            raise Ambiguous("whether what has expired still counts for the keys of a list")
        return answers.pop()

    def live(self, where: tuple[str, str], now: int) -> list[Entry]:
        return [entry for entry in self.entries.get(where, []) if entry.valid_to > now]

    def trial(self, batch: Batch, now: int) -> Trial:
        """Returns the effect that the batch would have now. Changes nothing."""
        head = batch.head
        where = (head["authority"], head["list"])
        live = self.live(where, now)
        trial, good = Trial(live), dict[int, Entry]()
        codes = {line["line"]: line_code(line, head["category"], now, head["mode"]) for line in batch.lines}
        for line in batch.lines:
            number, tokens = line["line"], {kind: frozenset(texts) for kind, texts in line["tokens"].items() if texts}
            if codes[number] is None and head["mode"] != "withdraw":
                about = (head["category"], head["batch_id"], number, tokens, _start(line), _at(line["valid_to"]))
                good[number] = Entry(*where, *about, first_batch=head["batch_id"])
        joined = join(list(good.values()), head["category"], now)
        for line in batch.lines:
            number, tokens = line["line"], {kind: frozenset(texts) for kind, texts in line["tokens"].items() if texts}
            if (code := codes[number] or joined.refused.get(number)) is not None:
                trial.reject(number, code)
            elif head["mode"] == "withdraw":
                trial.withdraw(number, tokens)
        for group in joined.groups:
            trial.put(group, head["sequence"])
        if head["mode"] == "full":
            trial.drop_the_rest(len(live))
        return trial

    def _answer(self, batch: Batch, status: str, code: str | None, *, confirmed: bool = False) -> dict[str, Any]:
        head = batch.head
        trial = Trial([])
        if status == "applied":
            trial = self.trial(batch, batch.at)
            where = (head["authority"], head["list"])
            expired = self.expired.get(where, []) if head["mode"] != "full" else []
            expired += [entry for entry in self.entries.get(where, []) if entry.valid_to <= batch.at]
            self.expired[where], self.entries[where] = expired, trial.after
            self.applied[where] = head["sequence"]
            if head["mode"] == "withdraw" and head.get("withdraw_reason") == "mistake":
                self.mistakes += trial.withdrawn
        batch.receipt = {name: head[name] for name in ("batch_id", "authority", "list", "category", "mode")} | {
            "status": status,
            "code": code,
            "lines_declared": head["declared_lines"],
            **trial.counts,
            "rejects": trial.rejects[:1000],
            "sequence": self.applied.get((head["authority"], head["list"])),
            "confirmed": confirmed,
            "confirmation": set(),
        }
        return batch.receipt

    def _keep(self, who: str, action: str, head: dict[str, Any]) -> None:
        names = ("batch_id", "authority", "list", "declared_lines")
        self.audit.append((who, action, *(head[name] for name in names)))

    def all(self) -> list[Entry]:
        return [entry for entries in self.entries.values() for entry in entries]

    def lacks_key(self, token_: str, decided_at: int) -> bool:
        """Returns whether some non-empty list has no token of this token's key (R5)."""
        key_id = token_.partition(".")[0]

        every = [entries + self.expired.get(where, []) for where, entries in self.entries.items()]
        answers = {_lacks(entries, key_id, decided_at) for entries in every}
        if True in answers:
            return True
        if None in answers:
            raise Ambiguous("whether what has expired still counts for the keys of a list")
        return False


def _lacks(entries: list[Entry], key_id: str, now: int) -> bool | None:
    """Returns whether a list is not empty and lacks a key; None where this depends on which of its expired entries remain."""
    live = [entry for entry in entries if entry.valid_to > now]
    if any(key_id in key_ids(entry) for entry in live) or all(key_id in key_ids(entry) for entry in entries):
        return False
    return True if live and not any(key_id in key_ids(entry) for entry in entries) else None


def key_ids(entry: Entry) -> set[str]:
    """The key ids of an entry's tokens."""
    return {text.partition(".")[0] for texts in entry.tokens.values() for text in texts}


# --- §3: the decision table, version 1 --------------------------------------------------------------------------


@dataclass(frozen=True)
class Reason:
    person: int | None
    rule: str
    outcome: str
    entries: tuple[tuple[str, str, str, str, str, str, int], ...] = ()
    """(matched, category, authority, list, batch_id, entry_id, valid_to), sorted by (authority, list, entry_id)."""


def _listed(entries: Iterable[Entry], tokens: Mapping[str, str], kinds: tuple[str, ...]) -> tuple[Any, ...]:
    """The entries that have a token of one of these kinds, each with the first kind that matches."""
    found = []
    for entry in entries:
        matched = next((kind for kind in kinds if entry.has(kind, tokens.get(kind))), None)
        if matched is not None:
            found.append(
                (matched, entry.category, entry.authority, entry.list, entry.batch_id, entry.entry_id, entry.valid_to)
            )
    return tuple(sorted(found, key=lambda one: (one[2], one[3], one[5])))


def _temperature_rules(first: float | None, confirmed: float | None, is_scan: bool) -> Iterable[tuple[str, str]]:
    if is_scan and first is None and confirmed is None:
        yield "no_temperature", "hold"
    if any(value is not None and not 30.0 <= value <= 45.0 for value in (first, confirmed)):
        yield "temperature_implausible", "hold"
    first, confirmed = (v if v is not None and 30.0 <= v <= 45.0 else None for v in (first, confirmed))  # R4
    if confirmed is not None:
        if confirmed >= 37.3:
            yield "fever", "refer"
    elif first is not None and first >= 37.3:
        yield "fever_unconfirmed", "hold"


def _origin_rules(origin: str | None, home: str) -> Iterable[tuple[str, str]]:
    if origin is None or origin == "CN" or origin == home:
        return
    if origin[:2] == home[:2]:
        yield "outside_district_without_pass", "turn_back"
    else:
        yield "outside_province_without_pass", "quarantine"


def _person(index: int, person: Mapping[str, Any], event: _Event, lists: Lists, home: str) -> list[Reason]:
    tokens: dict[str, str] = person["tokens"]
    valid = event.valid(lists)
    plain: list[tuple[str, str]] = []
    reasons: list[Reason] = []
    if "id" not in tokens and "passport" not in tokens:
        plain.append(("no_identity", "hold"))
    if any(lists.lacks_key(text, event.decided_at) for text in tokens.values()):
        plain.append(("unknown_key", "hold"))
    for category in FIVE:
        found = _listed((e for e in valid if e.category == category), tokens, ("id", "passport"))
        if found:
            outcome = "refer" if category in REFERRED else "quarantine"
            reasons.append(Reason(index, category, outcome, found))
    weak = _listed((e for e in valid if e.category in FIVE), tokens, ("phone",))
    if weak and not reasons:
        reasons.append(Reason(index, "weak_match", "hold", weak))
    code = person.get("health_code", "none")
    if code in ("red", "yellow"):
        plain.append((f"health_code_{code}", "refer" if code == "red" else "quarantine"))
    confirmed = person.get("temperature_confirmed_c")
    plain.extend(_temperature_rules(person["temperature_c"], confirmed, event.is_scan))
    has_pass = _listed((e for e in valid if e.category == "health_pass"), tokens, ("pass", "id"))
    if event.direction == "in" and not has_pass:
        plain.extend(_origin_rules(person.get("origin"), home))
    return reasons + [Reason(index, rule, outcome) for rule, outcome in plain]


@dataclass(frozen=True)
class _Event:
    is_scan: bool
    direction: str
    observed_at: int
    decided_at: int

    def valid(self, lists: Lists) -> list[Entry]:
        expired = [entry for entries in lists.expired.values() for entry in entries]
        valid = [
            e
            for e in lists.all() + expired
            if (e.valid_from is None or e.valid_from <= self.observed_at) and self.observed_at < e.valid_to
        ]
        if any(e.valid_to <= self.decided_at for e in valid):
            raise Ambiguous("an entry that was valid when observed and has expired by the worker's clock")
        return valid


def decide(event: Mapping[str, Any], lists: Lists, decided_at: int, home: str = "370115") -> tuple[Reason, ...]:
    """Returns every reason for one scan or arrival, sorted by person (null last) and rule."""
    is_scan = "people" in event
    direction = event.get("direction", "in") if is_scan else "in"
    frame = _Event(is_scan, direction, _at(event["observed_at"]), decided_at)
    people = event["people"] if is_scan else [event["person"]]
    reasons = [r for index, person in enumerate(people) for r in _person(index, person, frame, lists, home)]
    plate = event.get("plate") if is_scan else None
    if plate is not None:
        if lists.lacks_key(plate, decided_at):
            reasons.append(Reason(None, "unknown_key", "hold"))
        found = _listed((e for e in frame.valid(lists) if e.category in FIVE), {"plate": plate}, ("plate",))
        if found:
            reasons.append(Reason(None, "weak_match", "hold", found))
    return tuple(sorted(reasons, key=lambda r: (r.person is None, r.person or 0, r.rule)))


# --- the whole run ----------------------------------------------------------------------------------------------


@dataclass
class Decided:
    """A screened event: the expected outcome, alert and facts."""

    topic: str
    event: dict[str, Any]
    value: bytes
    reasons: tuple[Reason, ...]
    late: set[bool]
    """One value for each of its records: a resend may be late although the first was not."""

    @property
    def outcome(self) -> str:
        return max((r.outcome for r in self.reasons), key=SEVERITY.index, default="clear")

    @property
    def people(self) -> list[int]:
        return sorted({r.person for r in self.reasons if r.person is not None})

    @property
    def site_id(self) -> str:
        return str(self.event["site_id"])


@dataclass(frozen=True)
class Dead:
    fault: Fault
    size: int
    sha256: str


@dataclass
class Expected:
    """All results that must follow from the records that were sent."""

    lists: Lists = field(default_factory=Lists)
    events: dict[tuple[str, int], Decided] = field(default_factory=dict)
    dead: dict[tuple[str, int, int], Dead] = field(default_factory=dict)
    receipts: list[dict[str, Any]] = field(default_factory=list)

    def process(self, record: Record) -> None:
        """Processes one record, in the order of sending. Lists must not change any more when scans are sent."""
        event = read(record)
        if isinstance(event, Fault):
            where = (record.topic, record.partition, record.offset)
            self.dead[where] = Dead(event, len(record.value), hashlib.sha256(record.value).hexdigest())
            return
        if record.topic == PUSHES:
            receipt = self.lists.process(record, event)
            if receipt is not None:
                self.receipts.append(receipt)
            return
        late = record.at - _at(event["observed_at"]) > 10 * MINUTE
        identity = (event["device_id"], event["seq"])
        known = self.events.get(identity)
        if known is None:
            reasons = decide(event, self.lists, record.at)
            self.events[identity] = Decided(record.topic, event, record.value, reasons, {late})
        elif known.value != record.value or known.topic != record.topic:
            raise Ambiguous("one identity with two contents")
        else:
            known.late.add(late)


def expect(records: Iterable[Record]) -> Expected:
    """Returns the results that must follow from these records, sent in this order."""
    expected = Expected()
    for record in records:
        expected.process(record)
    return expected


# --- §6: the views ----------------------------------------------------------------------------------------------

COUNTED = ("passages", "people", "clear", "refer", "quarantine", "turn_back", "hold", "fevers")
Rows = dict[tuple[Any, ...], Any]


def minute_of(moment: int) -> int:
    """The start of the UTC minute, in seconds since 1970."""
    return moment // MINUTE * 60


def day_of(moment: int, timezone: str) -> str:
    return datetime.fromtimestamp(moment // SECOND, ZoneInfo(timezone)).strftime("%Y-%m-%d")


def _passages(events: Iterable[Decided], key: Callable[[dict[str, Any]], tuple[Any, ...]]) -> Rows:
    rows: dict[tuple[Any, ...], Counter[str]] = {}
    for decided in events:
        if decided.topic != SCANS:
            continue
        row = rows.setdefault(key(decided.event), Counter())
        row["passages"] += 1
        row["people"] += len(decided.event["people"])
        row[decided.outcome] += 1
        row["fevers"] += sum(r.rule == "fever" for r in decided.reasons)
    return {where: tuple(row[name] for name in COUNTED) for where, row in rows.items()}


def screening_by_minute(events: Iterable[Decided]) -> Rows:
    return _passages(events, lambda e: (minute_of(_at(e["observed_at"])), e["site_id"]))


def screening_by_day(events: Iterable[Decided], timezone: str = "Asia/Shanghai") -> Rows:
    def key(event: dict[str, Any]) -> tuple[Any, ...]:
        day = day_of(_at(event["observed_at"]), timezone)
        return day, event["site_id"], event["kind"], event.get("direction", "in")

    return _passages(events, key)


def reasons_by_day(events: Iterable[Decided], timezone: str = "Asia/Shanghai") -> Rows:
    rows: Counter[tuple[Any, ...]] = Counter()
    for decided in events:
        day = day_of(_at(decided.event["observed_at"]), timezone)
        for person, rule in {(r.person, r.rule) for r in decided.reasons}:
            del person
            rows[day, decided.site_id, rule] += 1
    return dict(rows)


def arrivals_by_day(events: Iterable[Decided], timezone: str = "Asia/Shanghai") -> Rows:
    rows: Counter[tuple[Any, ...]] = Counter()
    for decided in events:
        if decided.topic == ARRIVALS:
            event = decided.event
            rows[day_of(_at(event["observed_at"]), timezone), event["site_id"], event["mode"], event["stage"]] += 1
    return dict(rows)


def dead_letters_by_hour(letters: Iterable[tuple[int, str, str]]) -> Rows:
    """Counts dead letters that were checked before, as (at, topic, reason): some records may have several reasons (R3)."""
    rows: Counter[tuple[Any, ...]] = Counter()
    for moment, topic, reason in letters:
        rows[moment // (60 * MINUTE) * 3600, topic, reason] += 1
    return dict(rows)


def push_batches(lists: Lists) -> Rows:
    """Returns the expected rows of the view push_batches (R28)."""
    names = ("list", "category", "mode", "status", "code")
    counts = ("lines_declared", "accepted", "duplicate", "rejected", "withdrawn")
    return {
        (batch.head["batch_id"], batch.head["authority"]): (
            *(batch.receipt[name] or "" for name in names),
            *(batch.receipt[name] for name in counts),
            _at(batch.head["issued_at"]) // SECOND,
        )
        for batch in lists.batches.values()
        if batch.receipt is not None
    }


def watchlist_audit(lists: Lists) -> Rows:
    """Returns how often each (who, action, batch_id, authority, list, lines) was recorded (R27)."""
    return dict(Counter(lists.audit))


# --- comparing --------------------------------------------------------------------------------------------------


def difference(expected: Mapping[Any, Any], actual: Mapping[Any, Any], most: int = 10) -> list[str]:
    """Returns the first differences in a few lines and the number of the others, or an empty text if there are none."""
    lines = []
    for key in [*expected, *(k for k in actual if k not in expected)]:
        if key not in actual:
            lines.append(f"  {key}: missing, expected {expected[key]}")
        elif key not in expected:
            lines.append(f"  {key}: unexpected {actual[key]}")
        elif expected[key] != actual[key]:
            lines.append(f"  {key}:\n    expected {expected[key]}\n    actual   {actual[key]}")
    return lines if len(lines) <= most else [*lines[:most], f"  (and {len(lines) - most} more)"]
