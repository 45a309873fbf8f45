"""The expected counts and alerts of quarantine and follow-up, by CONTRACT §6 alone: one clock moves all cases from event to event.

It shares no code with the pipeline. It finds local noons and midnights by moving the clock in steps of 15 minutes.
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
    """Yields the end of each slot up to the local day `last`, with the day and the slot."""
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
    """Returns the events. Of several with the same number the one that reached Kafka first counts."""
    kept: dict[tuple[str, int], tuple[int, Event]] = {}
    for arrived, event in events:
        number = event["device_id"], event["seq"]
        if number not in kept or arrived < kept[number][0]:
            kept[number] = arrived, event
    return [event for _, event in kept.values()]


def _agenda(events: list[Event], zone: ZoneInfo, last: date) -> list[tuple[datetime, int, str, int, Any]]:
    """Returns all events and ends of slots in order. A slot ends before an event at the same instant."""
    times = [(datetime.fromisoformat(event["observed_at"]), event) for event in events]
    agenda: list[tuple[datetime, int, str, int, Any]] = [(at, 1, e["device_id"], e["seq"], e) for at, e in times]
    ends = slot_ends(zone, min(at for at, _ in times), last)
    agenda += [(at, 0, "", n, (day, slot)) for n, (at, day, slot) in enumerate(ends)]
    return sorted(agenda, key=lambda item: item[:4])


def quarantine(events: list[Event], zone: ZoneInfo, last: date, now: datetime) -> Counts:
    """Returns the rows of quarantine_by_day up to the local day `last`, with the counts `misplaced` and `anomalies`."""
    rows: Counts = defaultdict(Counter)
    where: dict[str, str] = {}
    seen: set[str] = set()
    read: set[tuple[str, date, str]] = set()
    due: list[tuple[date, str, str, str, datetime]] = []
    for at, is_event, _, _, event in _agenda(events, zone, last):
        if not is_event:
            day, slot = event
            for case, site in where.items():
                due.append((day, site, case, slot, at))
                rows[day, site]["present"] += slot == "pm"
            continue
        local, case, site = at.astimezone(zone), event["case_id"], event["site_id"]
        row = rows[local.date(), site]
        if event["type"] == "admitted" and case not in seen:
            seen.add(case)
            where[case] = site
            row["admitted"] += 1
        elif case not in where or event["type"] == "admitted":
            row["anomalies"] += 1
        elif event["type"] == "reading":
            read.add((case, local.date(), event["slot"] or ("am" if local.hour < 12 else "pm")))
        elif event["type"] == "transferred" and event["to_site_id"] is None:
            row["anomalies"] += 1
        elif event["type"] == "transferred":
            row["transferred_out"] += 1
            row["misplaced"] += where[case] != site
            rows[local.date(), event["to_site_id"]]["transferred_in"] += 1
            where[case] = event["to_site_id"]
        elif event["type"] == "released":
            row["released"] += 1
            row["misplaced"] += where.pop(case) != site
    for day, site, case, slot, end in due:
        rows[day, site]["readings_due"] += 1
        rows[day, site]["readings_done"] += (case, day, slot) in read
        rows[day, site]["readings_missed"] += (case, day, slot) not in read and end <= now
    return {key: +row for key, row in rows.items() if +row}


def balance(rows: Counts, last: date) -> dict[tuple[date, str], tuple[int, int, int]]:
    """Returns (present, expected, misplaced) of each day and site where the balance fails, up to the day `last`."""
    failing = {}
    for day, site in {(day + timedelta(days=n), site) for day, site in rows for n in (0, 1)}:
        row, yesterday = rows.get((day, site), Counter()), rows.get((day - timedelta(days=1), site), Counter())
        entered, left = row["admitted"] + row["transferred_in"], row["released"] + row["transferred_out"]
        expected = yesterday["present"] + entered - left
        if day <= last and (expected != row["present"] or row["misplaced"]):
            failing[day, site] = row["present"], expected, row["misplaced"]
    return failing


def followups(events: list[Event], zone: ZoneInfo, last: date, now: datetime) -> Counts:
    """Returns the rows of followups_by_day up to the local day `last`, with the count `anomalies`."""
    rows: Counts = defaultdict(Counter)
    open_cases: dict[str, tuple[str, date]] = {}
    seen: set[str] = set()
    visited: set[tuple[str, date]] = set()
    for at, is_event, _, _, event in _agenda(events, zone, last):
        if not is_event:
            day, slot = event
            for case, (district, opened) in open_cases.items():
                rows[day, district]["open"] += slot == "pm"
                overdue = slot == "pm" and opened < day and (case, day) not in visited
                rows[day, district]["overdue"] += overdue and at <= now
            continue
        day, case = at.astimezone(zone).date(), event["case_id"]
        row = rows[day, event["district"]]
        if event["type"] == "visit":
            row["visits"] += 1
            row["reached"] += event["visit"] in ("seen_well", "seen_symptomatic")
            row["anomalies"] += case not in open_cases
            visited.add((case, day))
        elif event["type"] == "opened" and case not in seen:
            seen.add(case)
            open_cases[case] = event["district"], day
            row["opened"] += 1
        elif event["type"] == "closed" and case in open_cases:
            rows[day, open_cases.pop(case)[0]]["closed"] += 1
        else:
            row["anomalies"] += 1
    return {key: +row for key, row in rows.items() if +row}


Alerts = set[tuple[str, str, date, str | None, str]]
"""Expected alerts: rule, case, day, slot and place of each."""


def quarantine_alerts(events: list[Event], zone: ZoneInfo, now: datetime) -> Alerts:
    """Returns the alerts of quarantine cases whose events all arrived before any check for missing readings."""
    where: dict[str, str] = {}
    seen: set[str] = set()
    read: set[tuple[str, date, str]] = set()
    illness: Alerts = set()
    known: set[tuple[str, str, date, str]] = set()
    due: Alerts = set()
    for at, is_event, _, _, event in _agenda(events, zone, now.astimezone(zone).date()):
        if not is_event:
            if at + timedelta(minutes=10) <= now:
                due |= {("reading_missed", case, *event, site) for case, site in where.items()}
            continue
        local, case, kind = at.astimezone(zone), event["case_id"], event["type"]
        slot = event["slot"] or ("am" if local.hour < 12 else "pm")
        if kind == "admitted" and case not in seen:
            seen.add(case)
            where[case] = event["site_id"]
        elif case not in where or kind == "admitted" or (kind == "transferred" and not event["to_site_id"]):
            continue
        if kind == "released":
            del where[case]
            continue
        if kind == "transferred":
            where[case] = event["to_site_id"]
        if kind == "reading":
            read.add((case, local.date(), slot))
        found = {"fever": (event["temperature_c"] or 0) >= 37.3, "symptoms": event["symptoms"]}
        for rule, is_so in found.items():
            if is_so and (alert := (rule, case, local.date(), slot)) not in known:
                known.add(alert)  # of two readings in a slot only the first gives an alert
                illness.add((*alert, event["site_id"]))
    return illness | {one for one in due if one[1] in where and one[1:4] not in read}


def followup_alerts(events: list[Event], zone: ZoneInfo, now: datetime) -> Alerts:
    """Returns the alerts of follow-up cases whose events all arrived before any check for missing visits."""
    open_cases: dict[str, tuple[str, date]] = {}
    seen: set[str] = set()
    visited: set[tuple[str, date]] = set()
    illness: Alerts = set()
    known: set[tuple[str, str, date, None]] = set()
    due: Alerts = set()
    for at, is_event, _, _, event in _agenda(events, zone, now.astimezone(zone).date()):
        if not is_event:
            if event[1] == "pm" and at + timedelta(minutes=10) <= now:
                due |= {
                    ("visit_overdue", case, event[0], None, place)
                    for case, (place, begun) in open_cases.items()
                    if begun < event[0]
                }
            continue
        day, case = at.astimezone(zone).date(), event["case_id"]
        if event["type"] == "visit":
            visited.add((case, day))
            alert = ("symptoms", case, day, None)
            if case in open_cases and event["visit"] == "seen_symptomatic" and alert not in known:
                known.add(alert)
                illness.add((*alert, event["district"]))
        elif event["type"] == "opened" and case not in seen:
            seen.add(case)
            open_cases[case] = event["district"], day
        elif event["type"] == "closed":
            open_cases.pop(case, None)
    return illness | {one for one in due if one[1] in open_cases and (one[1], one[2]) not in visited}
