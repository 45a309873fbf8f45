"""The expected counts and alerts of quarantine and follow-up, by CONTRACT §6 alone: one clock moves all cases from event to event.

It shares no code with the pipeline. It finds 08:00, noon and midnight of each local day by moving the clock in steps of 15 minutes.
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


TERM_DAYS = 14
"""The term of a case that states none."""


def bells(zone: ZoneInfo, since: datetime, last: date) -> Iterator[tuple[datetime, date, str]]:
    """Yields the end of each slot (`am`, `pm`) and each 08:00 (`morning`) up to the local day `last`, with the day."""
    at = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    before = at.astimezone(zone)
    while before.date() <= last:
        at += QUARTER
        local = at.astimezone(zone)
        if local.date() != before.date():
            yield at, before.date(), "pm"
        elif before.hour < 8 <= local.hour:
            yield at, local.date(), "morning"
        elif before.hour < 12 <= local.hour:
            yield at, local.date(), "am"
        before = local


def last_days(events: list[Event], zone: ZoneInfo) -> tuple[dict[str, date], set[tuple[str, int]]]:
    """Returns the last day of each case that was admitted or opened, and the extensions (by number) that are anomalies."""
    begun: dict[str, date] = {}
    ends: dict[str, date] = {}
    over: set[str] = set()
    wrong: set[tuple[str, int]] = set()
    for event in sorted(events, key=_order):
        case, day = event["case_id"], datetime.fromisoformat(event["observed_at"]).astimezone(zone).date()
        if event["type"] in ("admitted", "opened") and case not in begun:
            begun[case] = day
            ends[case] = day + timedelta(days=event.get("term_days") or TERM_DAYS)
        elif event["type"] in ("released", "closed") and case in begun:
            over.add(case)
        elif event["type"] == "extended":
            total = event.get("term_days")
            if case not in begun or case in over or total is None or begun[case] + timedelta(days=total) < day:
                wrong.add((event["device_id"], event["seq"]))
            else:
                ends[case] = begun[case] + timedelta(days=total)
    return ends, wrong


def _order(event: Event) -> tuple[datetime, str, int]:
    return datetime.fromisoformat(event["observed_at"]), event["device_id"], event["seq"]


def first_contents(events: Iterable[tuple[int, Event]]) -> list[Event]:
    """Returns the events. Of several with the same number the one that reached Kafka first counts."""
    kept: dict[tuple[str, int], tuple[int, Event]] = {}
    for arrived, event in events:
        number = event["device_id"], event["seq"]
        if number not in kept or arrived < kept[number][0]:
            kept[number] = arrived, event
    return [event for _, event in kept.values()]


def _agenda(events: list[Event], zone: ZoneInfo, last: date) -> list[tuple[datetime, int, str, int, Any]]:
    """Returns all events and bells in order. A bell rings before an event at the same instant."""
    times = [(datetime.fromisoformat(event["observed_at"]), event) for event in events]
    agenda: list[tuple[datetime, int, str, int, Any]] = [(at, 1, e["device_id"], e["seq"], e) for at, e in times]
    ends = bells(zone, min(at for at, _ in times), last)
    agenda += [(at, 0, "", n, (day, slot)) for n, (at, day, slot) in enumerate(ends)]
    return sorted(agenda, key=lambda item: item[:4])


def quarantine(events: list[Event], zone: ZoneInfo, last: date, now: datetime) -> Counts:
    """Returns the rows of quarantine_by_day up to the local day `last`, with the counts `misplaced` and `anomalies`."""
    rows: Counts = defaultdict(Counter)
    ends, wrong = last_days(events, zone)
    where: dict[str, str] = {}
    seen: set[str] = set()
    read: set[tuple[str, date, str]] = set()
    due: list[tuple[date, str, str, str, datetime]] = []
    for at, is_event, _, _, event in _agenda(events, zone, last):
        if not is_event:
            day, slot = event
            for case, site in where.items():
                if slot == "morning":
                    rows[day, site]["release_due"] += day == ends[case]
                    continue
                if day <= ends[case]:
                    due.append((day, site, case, slot, at))
                rows[day, site]["present"] += slot == "pm"
                rows[day, site]["term_exceeded"] += slot == "pm" and day > ends[case]
            continue
        local, case, site = at.astimezone(zone), event["case_id"], event["site_id"]
        row = rows[local.date(), site]
        if event["type"] == "admitted" and case not in seen:
            seen.add(case)
            where[case] = site
            row["admitted"] += 1
        elif case not in where or event["type"] == "admitted" or (event["device_id"], event["seq"]) in wrong:
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
    ends, wrong = last_days(events, zone)
    open_cases: dict[str, tuple[str, date]] = {}
    seen: set[str] = set()
    visited: set[tuple[str, date]] = set()
    for at, is_event, _, _, event in _agenda(events, zone, last):
        if not is_event:
            day, slot = event
            for case, (district, opened) in open_cases.items():
                rows[day, district]["release_due"] += slot == "morning" and day == ends[case]
                if slot == "pm":
                    rows[day, district]["open"] += 1
                    rows[day, district]["term_exceeded"] += day > ends[case]
                    overdue = opened < day <= ends[case] and (case, day) not in visited
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
        elif event["type"] == "extended" and (event["device_id"], event["seq"]) not in wrong:
            continue
        else:
            row["anomalies"] += 1
    return {key: +row for key, row in rows.items() if +row}


Alerts = set[tuple[str, str, date, str | None, str]]
"""Expected alerts: rule, case, day, slot and place of each."""


def quarantine_alerts(events: list[Event], zone: ZoneInfo, now: datetime) -> Alerts:
    """Returns the alerts of quarantine cases whose events all arrived before any check of the clock."""
    where: dict[str, str] = {}
    seen: set[str] = set()
    read: set[tuple[str, date, str]] = set()
    due: Alerts = set()
    ends, _ = last_days(events, zone)
    for at, is_event, _, _, event in _agenda(events, zone, now.astimezone(zone).date()):
        if not is_event:
            due |= {
                one for case, site in where.items() for one in _clock_alerts(at, event, case, site, ends[case], now)
            }
            continue
        local, case, kind = at.astimezone(zone), event["case_id"], event["type"]
        if kind == "admitted" and case not in seen:
            seen.add(case)
            where[case] = event["site_id"]
        elif case not in where:
            continue
        elif kind == "released":
            del where[case]
        elif kind == "transferred":
            where[case] = event["to_site_id"] or where[case]
        elif kind == "reading":
            read.add((case, local.date(), event["slot"] or ("am" if local.hour < 12 else "pm")))
    missed = {one for one in due if one[0] != "reading_missed" or one[1:4] not in read}
    return illness_alerts(events, zone) | {one for one in missed if one[1] in where}


def _clock_alerts(
    at: datetime, bell: tuple[date, str], case: str, place: str, end: date, now: datetime
) -> Iterator[tuple[str, str, date, str | None, str]]:
    """Yields the alerts that a bell gives about an open case in quarantine, as if nothing was ever measured."""
    day, slot = bell
    if slot == "morning" and at <= now and day >= end:
        yield ("release_due" if day == end else "term_exceeded"), case, day, None, place
    if slot != "morning" and at + timedelta(minutes=10) <= now and day <= end:
        yield "reading_missed", case, day, slot, place


def illness_alerts(events: list[Event], zone: ZoneInfo) -> Alerts:
    """Returns the alerts about fever and symptoms: the first of each case, rule, day and slot, whatever the state of the case."""
    first: dict[tuple[str, str, date, str | None], str] = {}
    for event in sorted(events, key=_order):
        local = datetime.fromisoformat(event["observed_at"]).astimezone(zone)
        if "district" in event:
            slot, place = None, event["district"]
            found = {"symptoms": event["visit"] == "seen_symptomatic"}
        else:
            slot, place = event["slot"] or ("am" if local.hour < 12 else "pm"), event["site_id"]
            found = {"fever": (event["temperature_c"] or 0) >= 37.3, "symptoms": event["symptoms"]}
        for rule, is_so in found.items():
            if is_so:
                first.setdefault((rule, event["case_id"], local.date(), slot), place)
    return {(*alert, place) for alert, place in first.items()}


def followup_alerts(events: list[Event], zone: ZoneInfo, now: datetime) -> Alerts:
    """Returns the alerts of follow-up cases whose events all arrived before any check of the clock."""
    open_cases: dict[str, tuple[str, date]] = {}
    seen: set[str] = set()
    visited: set[tuple[str, date]] = set()
    due: Alerts = set()
    ends, _ = last_days(events, zone)
    for at, is_event, _, _, event in _agenda(events, zone, now.astimezone(zone).date()):
        if not is_event:
            day, slot = event
            for case, (place, begun) in open_cases.items():
                if slot == "morning" and at <= now and day >= ends[case]:
                    due.add(("release_due" if day == ends[case] else "term_exceeded", case, day, None, place))
                if slot == "pm" and at + timedelta(minutes=10) <= now and begun < day <= ends[case]:
                    due.add(("visit_overdue", case, day, None, place))
            continue
        day, case = at.astimezone(zone).date(), event["case_id"]
        if event["type"] == "visit":
            visited.add((case, day))
        elif event["type"] == "opened" and case not in seen:
            seen.add(case)
            open_cases[case] = event["district"], day
        elif event["type"] == "closed":
            open_cases.pop(case, None)
    missed = {one for one in due if one[0] != "visit_overdue" or one[1:3] not in visited}
    return illness_alerts(events, zone) | {one for one in missed if one[1] in open_cases}
