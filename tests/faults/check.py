"""What must hold after a fault: nothing lost, nothing double, every view as the oracle says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .deployment import Deployment
from .load import Event


@dataclass
class Findings:
    """What is wrong, if anything."""

    events: int = 0
    lost: int = 0
    double: int = 0
    wrong: list[str] = field(default_factory=list)


def facts(deployment: Deployment) -> set[Event]:
    return set(deployment.observer.query("SELECT DISTINCT device_id, seq FROM ninezero_data.screening_facts"))


def check(deployment: Deployment) -> Findings:
    """Compares everything that is there with everything that was sent so far."""
    observer, expected = deployment.observer, deployment.load.expected
    found = Findings(events=len(expected.acknowledged), wrong=list(observer.wrong))
    recorded = facts(deployment)
    present = {event for place in observer.source.values() for event in place.values() if event is not None}
    lost = expected.acknowledged - recorded
    found.lost = len(lost) + len(set(expected.garbage) - set(observer.dead))
    unanswered = expected.acknowledged - set(observer.outcomes)
    if lost or unanswered:
        found.wrong.append(f"{len(lost)} events are not recorded, {len(unanswered)} have no outcome")
    if recorded - present:
        found.wrong.append(f"{len(recorded - present)} events are recorded that nobody sent")
    other = [event for event, (outcome, _) in observer.outcomes.items() if outcome != expected.outcome[event]]
    if other or observer.different:
        found.wrong.append(f"{len(other)} outcomes are not the expected ones, {len(observer.different)} changed")
    dead = {place: reason for place, reason in observer.dead.items() if expected.garbage.get(place, reason) != reason}
    if dead:
        found.wrong.append(f"{len(dead)} dead letters have another reason")
    if events := set(observer.dead) - {
        (topic, number, at)
        for (topic, number), some in observer.source.items()
        for at, event in some.items()
        if not event
    }:
        found.wrong.append(f"{len(events)} dead letters of good events")
    known = set(observer.query("SELECT DISTINCT device_id, seq FROM ninezero_data.device_events"))
    if missing := expected.acknowledged - known:
        found.wrong.append(f"{len(missing)} events are not known as their devices'")
    _views(deployment, present, found)
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
    _compare(
        found, "reasons", Counter(why for event in present for why in expected.reasons[event]),
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


def _compare(found: Findings, what: str, wanted: Counter[Any], rows: list[tuple[Any, ...]]) -> None:
    said = Counter({tuple(row[:-1]): int(row[-1]) for row in rows})
    over, under = said - wanted, wanted - said
    found.double += over.total()
    found.lost += under.total()
    if over or under:
        found.wrong.append(
            f"{what}: {over.total()} too many {list(over)[:3]}, {under.total()} missing {list(under)[:3]}"
        )
