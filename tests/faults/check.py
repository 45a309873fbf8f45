"""Checks what must hold after a fault: no event is lost or counted twice, and every view equals the oracle's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests import case_oracle
from tests.transfers import Sent, journeys, transfers_by_day

from .deployment import Deployment
from .load import SHANGHAI, Event

IMMEDIATE_RULES = ("fever", "symptoms")
"""Rules whose alert is due as soon as the event is reported. The others depend on the clock."""


@dataclass
class Findings:
    """The errors that were found, if any."""

    events: int = 0
    lost: int = 0
    double: int = 0
    wrong: list[str] = field(default_factory=list)


def facts(deployment: Deployment) -> set[Event]:
    """Returns the events that have a screening fact."""
    return set(deployment.observer.query("SELECT DISTINCT device_id, seq FROM ninezero_data.screening_facts"))


def check(deployment: Deployment) -> Findings:
    """Compares all outputs with everything that was sent so far."""
    observer, expected = deployment.observer, deployment.load.expected
    found = Findings(events=len(expected.acknowledged), wrong=list(observer.wrong))
    recorded = facts(deployment)
    present = {event for place in observer.source.values() for event in place.values() if event is not None}
    lost = expected.screened - recorded
    found.lost = len(lost) + len(set(expected.garbage) - set(observer.dead))
    unanswered = expected.screened - set(observer.outcomes)
    unalerted = {event for event, (outcome, _) in observer.outcomes.items() if outcome != "clear"} - observer.alerted
    if unalerted:
        found.wrong.append(f"{len(unalerted)} outcomes have no alert")
    if lost or unanswered:
        found.wrong.append(f"{len(lost)} events are not recorded, {len(unanswered)} have no outcome")
    if recorded - present:
        found.wrong.append(f"{len(recorded - present)} events are recorded that were never sent")
    other = [event for event, (outcome, _) in observer.outcomes.items() if outcome != expected.outcome[event]]
    if other or observer.different:
        found.wrong.append(f"{len(other)} outcomes are not as expected, {len(observer.different)} changed")
    dead = {place: reason for place, reason in observer.dead.items() if expected.garbage.get(place, reason) != reason}
    if dead:
        found.wrong.append(f"{len(dead)} dead letters have another reason")
    if events := set(observer.dead) - {
        (topic, number, at)
        for (topic, number), some in observer.source.items()
        for at, event in some.items()
        if not event
    }:
        found.wrong.append(f"{len(events)} dead letters of valid events")
    known = set(observer.query("SELECT DISTINCT device_id, seq FROM ninezero_data.device_events"))
    if missing := expected.acknowledged - known:
        found.wrong.append(f"{len(missing)} events are missing in device_events")
    _views(deployment, present, found)
    _reports(deployment, present, found)
    return found


def _views(deployment: Deployment, present: set[Event], found: Findings) -> None:
    query, expected, observer = deployment.observer.query, deployment.load.expected, deployment.observer
    names = ("passages", "people", "clear", "refer", "quarantine", "turn_back", "hold", "fevers")
    wanted: dict[Any, Counter[str]] = {}
    for event in present:
        if event in expected.by_minute:
            minute, site, counts = expected.by_minute[event]
            wanted.setdefault((minute, site), Counter()).update(counts)
    rows = query(f"SELECT toString(minute), site_id, {', '.join(names)} FROM ninezero.screening_by_minute")
    minutes = {(minute, site): Counter(dict(zip(names, some, strict=True))) for minute, site, *some in rows}
    for key in wanted.keys() | minutes.keys():
        over = minutes.get(key, Counter())["passages"] - wanted.get(key, Counter())["passages"]
        found.double += max(0, over)
        found.lost += max(0, -over)
        if {n: c for n, c in minutes.get(key, {}).items() if c} != {n: c for n, c in wanted.get(key, {}).items() if c}:
            found.wrong.append(f"minute {key}: {dict(minutes.get(key, {}))} instead of {dict(wanted.get(key, {}))}")
    _compare(
        found, "arrivals", Counter(expected.arrival[event] for event in present if event in expected.arrival),
        query("SELECT toString(day), site_id, mode, stage, people FROM ninezero.arrivals_by_day"),
    )  # fmt: skip
    moved = [Sent(n, expected.transfer[event]) for n, event in enumerate(present & expected.transfer.keys())]
    numbers = ("transfers", "boarded", "delivered", "missing")
    _compare(
        found, "transfers",
        Counter({(str(row["day"]), row["site_id"], name): row[name] for row in transfers_by_day(journeys(moved, str(SHANGHAI))) for name in numbers}),
        [(day, site, name, n) for day, site, *some in query(f"SELECT toString(day), site_id, {', '.join(numbers)} FROM ninezero.transfers_by_day") for name, n in zip(numbers, some, strict=True)],
    )  # fmt: skip
    if untransferred := (observer.decided & expected.transfer.keys()) - observer.transferred:
        found.wrong.append(f"{len(untransferred)} arrivals have no transfer event")
    _compare(
        found, "reasons", Counter(why for event in present for why in expected.reasons.get(event, ())),
        query("SELECT toString(day), site_id, rule, count FROM ninezero.reasons_by_day"),
    )  # fmt: skip
    _compare(
        found, "dead letters", Counter((topic.rstrip("~"), reason) for (topic, _, _), reason in observer.dead.items()),
        query("SELECT topic, reason, sum(records) FROM ninezero.dead_letters_by_hour GROUP BY topic, reason"),
    )  # fmt: skip
    _compare(
        found, "batches", Counter({(batch, "applied"): lines for batch, lines in expected.batches.items()}),
        query("SELECT batch_id, status, accepted FROM ninezero.push_batches"),
    )  # fmt: skip


def _reports(deployment: Deployment, present: set[Event], found: Findings) -> None:
    """Checks dispositions, cases, case alerts, and the sequence numbers of every device."""
    query, expected, observer = deployment.observer.query, deployment.load.expected, deployment.observer
    expired = expected.expired - present  # the others were sent twice, and only the first record expired
    actions: Counter[Any] = Counter()
    for event in present & expected.dispositions.keys():
        day, site, kind, action, override = expected.dispositions[event]
        what = (day, site, "" if expected.of[event] in expired else kind, action)
        actions[*what, "count"] += 1
        actions[*what, "overrides"] += override
    rows = query("SELECT toString(day), site_id, kind, action, overrides, count FROM ninezero.dispositions_by_day")
    actual = [(*what, n, c) for *what, o, c in rows for n, c in (("overrides", o), ("count", c))]
    _compare(found, "dispositions", actions, actual)
    now = datetime.now(UTC)
    last = now.astimezone(SHANGHAI).date()
    for name, place, noted, rows_of, alerts_of in (
        ("quarantine_by_day", "site_id", expected.quarantine, case_oracle.quarantine, case_oracle.quarantine_alerts),
        ("followups_by_day", "district", expected.followups, case_oracle.followups, case_oracle.followup_alerts),
    ):
        events = [noted[event] for event in present & noted.keys()]
        if not events:
            continue
        wanted = rows_of(events, SHANGHAI, last, now)
        counts = sorted({count for row in wanted.values() for count in row} - {"anomalies", "misplaced"})
        cells = Counter({(str(day), at, c): row[c] for (day, at), row in wanted.items() for c in counts if row[c]})
        rows = query(f"SELECT toString(day), {place}, {', '.join(counts)} FROM ninezero.{name}")
        _compare(found, name, cells, [(*row[:2], c, n) for row in rows for c, n in zip(counts, row[2:], strict=True)])
        cases = {event["case_id"] for event in events}
        raised = {one for one in observer.case_alerts.values() if one[0] in IMMEDIATE_RULES and one[1] in cases}
        due = {(rule, case, str(day), slot or "", at) for rule, case, day, slot, at in alerts_of(events, SHANGHAI, now)}
        if raised != (due := {one for one in due if one[0] in IMMEDIATE_RULES}):
            found.wrong.append(f"{name}: {len(due - raised)} alerts missing, {len(raised - due)} too many")
            found.lost += len(due - raised)
    received = present & (expected.acknowledged | expected.expired)
    numbers = Counter((device, "received") for device, _ in received)
    newest: dict[str, int] = {}
    for device, number in received:
        newest[device] = max(number, newest.get(device, 0))
    numbers.update((device, "gaps") for device, number in expired if number < newest.get(device, 0))
    rows = query(
        "SELECT device_id, sum(received), sum(missing) + sum(conflicts) FROM ninezero.device_completeness GROUP BY device_id"
    )
    _compare(
        found,
        "device numbers",
        numbers,
        [(d, w, n) for d, *some in rows for w, n in zip(("received", "gaps"), some, strict=True)],
    )


def _compare(found: Findings, what: str, wanted: Counter[Any], rows: list[tuple[Any, ...]]) -> None:
    actual = Counter({tuple(row[:-1]): int(row[-1]) for row in rows})
    over, under = actual - wanted, wanted - actual
    found.double += over.total()
    found.lost += under.total()
    if over or under:
        found.wrong.append(
            f"{what}: {over.total()} too many {list(over)[:3]}, {under.total()} missing {list(under)[:3]}"
        )
