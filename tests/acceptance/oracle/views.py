"""The rows of the views (§6), and how they are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from .lists import Lists
from .policies import Policies
from .run import Decided
from .terms import ARRIVALS, MINUTE, SCANS, SECOND, at

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
    return _passages(events, lambda e: (minute_of(at(e["observed_at"])), e["site_id"]))


def screening_by_day(events: Iterable[Decided], timezone: str = "Asia/Shanghai") -> Rows:
    def key(event: dict[str, Any]) -> tuple[Any, ...]:
        day = day_of(at(event["observed_at"]), timezone)
        return day, event["site_id"], event["kind"], event.get("direction", "in")

    return _passages(events, key)


def reasons_by_day(events: Iterable[Decided], timezone: str = "Asia/Shanghai") -> Rows:
    rows: Counter[tuple[Any, ...]] = Counter()
    for decided in events:
        day = day_of(at(decided.event["observed_at"]), timezone)
        for person, rule in {(r.person, r.rule) for r in decided.reasons}:
            del person
            rows[day, decided.site_id, rule] += 1
    return dict(rows)


def arrivals_by_day(events: Iterable[Decided], timezone: str = "Asia/Shanghai") -> Rows:
    rows: Counter[tuple[Any, ...]] = Counter()
    for decided in events:
        if decided.topic == ARRIVALS:
            event = decided.event
            rows[day_of(at(event["observed_at"]), timezone), event["site_id"], event["mode"], event["stage"]] += 1
    return dict(rows)


def policy_shadow_by_day(events: Iterable[Decided], timezone: str = "Asia/Shanghai") -> Rows:
    """Counts scans and arrivals, each by its first decision."""
    rows: Counter[tuple[Any, ...]] = Counter()
    for decided in events:
        day = day_of(at(decided.event["observed_at"]), timezone)
        for label, outcome in decided.shadows.items():
            name, _, version = label.rpartition("@")
            rows[day, name, int(version), decided.outcome, outcome] += 1
    return dict(rows)


def policies_view(policies: Policies) -> Rows:
    """Returns how often each (policy, version, status, effective_from in seconds, author) is used. The view may also have
    policies without a use, which the contract does not mention."""
    rows: Counter[tuple[Any, ...]] = Counter()
    for use in policies.uses:
        name, _, version = use.label.rpartition("@")
        rows[name, int(version), use.status, use.begins // SECOND, policies.policies[use.label].author] += 1
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
            at(batch.head["issued_at"]) // SECOND,
        )
        for batch in lists.batches.values()
        if batch.receipt is not None
    }


def watchlist_audit(lists: Lists) -> Rows:
    """Returns how often each (who, action, batch_id, authority, list, lines) was recorded (R27)."""
    return dict(Counter(lists.audit))


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
