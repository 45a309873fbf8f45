"""What quarantine and follow-up must come to, by CONTRACT §6 alone: one clock for all cases, moved from instant to instant.

Nothing of the pipeline is used. Local noons and midnights are found by walking the world's clock in quarters of an hour.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

QUARTER = timedelta(minutes=15)
Event = dict[str, Any]
Counts = dict[tuple[date, str], Counter[str]]


def slot_ends(zone: ZoneInfo, since: datetime, last: date) -> Iterator[tuple[datetime, date, str]]:
    """Each instant at which a slot of a local day up to `last` ends."""
    at = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    before = at.astimezone(zone)
    while before.date() <= last:
        at += QUARTER
        local = at.astimezone(zone)
        if local.date() != before.date():
            yield at, before.date(), "pm"
        elif before.hour < 12 <= local.hour:
            yield at, local.date(), "am"
        before = local


def first_contents(events: Iterable[tuple[int, Event]]) -> list[Event]:
    """Of several events with one number, the one that reached Kafka first."""
    kept: dict[tuple[str, int], tuple[int, Event]] = {}
    for arrived, event in events:
        number = event["device_id"], event["seq"]
        if number not in kept or arrived < kept[number][0]:
            kept[number] = arrived, event
    return [event for _, event in kept.values()]


def _agenda(events: list[Event], zone: ZoneInfo, last: date) -> list[tuple[datetime, int, str, int, Any]]:
    """Everything that happens, in order; a slot ends before what is observed at that very instant."""
    times = [(datetime.fromisoformat(event["observed_at"]), event) for event in events]
    agenda: list[tuple[datetime, int, str, int, Any]] = [(at, 1, e["device_id"], e["seq"], e) for at, e in times]
    ends = slot_ends(zone, min(at for at, _ in times), last)
    agenda += [(at, 0, "", n, (day, slot)) for n, (at, day, slot) in enumerate(ends)]
    return sorted(agenda, key=lambda item: item[:4])


def quarantine(events: list[Event], zone: ZoneInfo, last: date, now: datetime) -> Counts:
    """Rows of quarantine_by_day up to the local day `last`, with `misplaced` and `anomalies` beside them."""
    rows: Counts = defaultdict(Counter)
    where: dict[str, str] = {}
    seen: set[str] = set()
    read: set[tuple[str, date, str]] = set()
    due: list[tuple[date, str, str, str, datetime]] = []
    for at, is_event, _, _, what in _agenda(events, zone, last):
        if not is_event:
            day, slot = what
            for case, site in where.items():
                due.append((day, site, case, slot, at))
                rows[day, site]["present"] += slot == "pm"
            continue
        local, case, site = at.astimezone(zone), what["case_id"], what["site_id"]
        row = rows[local.date(), site]
        if what["type"] == "admitted" and case not in seen:
            seen.add(case)
            where[case] = site
            row["admitted"] += 1
        elif case not in where or what["type"] == "admitted":
            row["anomalies"] += 1
        elif what["type"] == "reading":
            read.add((case, local.date(), what["slot"] or ("am" if local.hour < 12 else "pm")))
        elif what["type"] == "transferred" and what["to_site_id"] is None:
            row["anomalies"] += 1
        elif what["type"] == "transferred":
            row["transferred_out"] += 1
            row["misplaced"] += where[case] != site
            rows[local.date(), what["to_site_id"]]["transferred_in"] += 1
            where[case] = what["to_site_id"]
        elif what["type"] == "released":
            row["released"] += 1
            row["misplaced"] += where.pop(case) != site
    for day, site, case, slot, end in due:
        rows[day, site]["readings_due"] += 1
        rows[day, site]["readings_done"] += (case, day, slot) in read
        rows[day, site]["readings_missed"] += (case, day, slot) not in read and end <= now
    return {key: +row for key, row in rows.items() if +row}


def balance(rows: Counts, last: date) -> dict[tuple[date, str], tuple[int, int, int]]:
    """(present, expected, misplaced) of each day and site where the balance fails, up to the day `last`."""
    failing = {}
    for day, site in {(day + timedelta(days=n), site) for day, site in rows for n in (0, 1)}:
        row, yesterday = rows.get((day, site), Counter()), rows.get((day - timedelta(days=1), site), Counter())
        come, gone = row["admitted"] + row["transferred_in"], row["released"] + row["transferred_out"]
        expected = yesterday["present"] + come - gone
        if day <= last and (expected != row["present"] or row["misplaced"]):
            failing[day, site] = row["present"], expected, row["misplaced"]
    return failing


def followups(events: list[Event], zone: ZoneInfo, last: date, now: datetime) -> Counts:
    """Rows of followups_by_day up to the local day `last`, with `anomalies` beside them."""
    rows: Counts = defaultdict(Counter)
    going: dict[str, tuple[str, date]] = {}
    seen: set[str] = set()
    visited: set[tuple[str, date]] = set()
    for at, is_event, _, _, what in _agenda(events, zone, last):
        if not is_event:
            day, slot = what
            for case, (district, opened) in going.items():
                rows[day, district]["open"] += slot == "pm"
                neglected = slot == "pm" and opened < day and (case, day) not in visited
                rows[day, district]["overdue"] += neglected and at <= now
            continue
        day, case = at.astimezone(zone).date(), what["case_id"]
        row = rows[day, what["district"]]
        if what["type"] == "visit":
            row["visits"] += 1
            row["reached"] += what["visit"] in ("seen_well", "seen_symptomatic")
            row["anomalies"] += case not in going
            visited.add((case, day))
        elif what["type"] == "opened" and case not in seen:
            seen.add(case)
            going[case] = what["district"], day
            row["opened"] += 1
        elif what["type"] == "closed" and case in going:
            rows[day, going.pop(case)[0]]["closed"] += 1
        else:
            row["anomalies"] += 1
    return {key: +row for key, row in rows.items() if +row}


Told = set[tuple[str, str, date, str | None, str]]
"""(rule, case, day, slot, place) of each thing that staff must have been told."""


def quarantine_alerts(events: list[Event], zone: ZoneInfo, now: datetime) -> Told:
    """What is told of cases whose events all came before anything was asked."""
    where: dict[str, str] = {}
    seen: set[str] = set()
    read: set[tuple[str, date, str]] = set()
    ill: Told = set()
    known: set[tuple[str, str, date, str]] = set()
    due: Told = set()
    for at, is_event, _, _, what in _agenda(events, zone, now.astimezone(zone).date()):
        if not is_event:
            if at + timedelta(minutes=10) <= now:
                due |= {("reading_missed", case, *what, site) for case, site in where.items()}
            continue
        local, case, kind = at.astimezone(zone), what["case_id"], what["type"]
        slot = what["slot"] or ("am" if local.hour < 12 else "pm")
        if kind == "admitted" and case not in seen:
            seen.add(case)
            where[case] = what["site_id"]
        elif case not in where or kind == "admitted" or (kind == "transferred" and not what["to_site_id"]):
            continue
        if kind == "released":
            del where[case]
            continue
        if kind == "transferred":
            where[case] = what["to_site_id"]
        if kind == "reading":
            read.add((case, local.date(), slot))
        found = {"fever": (what["temperature_c"] or 0) >= 37.3, "symptoms": what["symptoms"]}
        for rule, is_so in found.items():
            if is_so and (told := (rule, case, local.date(), slot)) not in known:
                known.add(told)  # of two readings in a slot the first is told
                ill.add((*told, what["site_id"]))
    return ill | {one for one in due if one[1] in where and one[1:4] not in read}


def followup_alerts(events: list[Event], zone: ZoneInfo, now: datetime) -> Told:
    """Likewise of follow-ups."""
    going: dict[str, tuple[str, date]] = {}
    seen: set[str] = set()
    visited: set[tuple[str, date]] = set()
    ill: Told = set()
    known: set[tuple[str, str, date, None]] = set()
    due: Told = set()
    for at, is_event, _, _, what in _agenda(events, zone, now.astimezone(zone).date()):
        if not is_event:
            if what[1] == "pm" and at + timedelta(minutes=10) <= now:
                due |= {
                    ("visit_overdue", case, what[0], None, place)
                    for case, (place, begun) in going.items()
                    if begun < what[0]
                }
            continue
        day, case = at.astimezone(zone).date(), what["case_id"]
        if what["type"] == "visit":
            visited.add((case, day))
            told = ("symptoms", case, day, None)
            if case in going and what["visit"] == "seen_symptomatic" and told not in known:
                known.add(told)
                ill.add((*told, what["district"]))
        elif what["type"] == "opened" and case not in seen:
            seen.add(case)
            going[case] = what["district"], day
        elif what["type"] == "closed":
            going.pop(case, None)
    return ill | {one for one in due if one[1] in going and (one[1], one[2]) not in visited}
