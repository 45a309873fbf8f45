"""Problems of a deployment, derived from what the board observed, and the state of a site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ninezero.agents.logic.situation_records import Checked

QUIET_SECONDS = 15 * 60
"""A site without a passage for longer is quiet."""

LIST_OLD_SECONDS = 24 * 3600
"""Authorities renew their lists daily. An older list stays in use, with a warning."""

LAG_RECORDS = 20_000
"""A role with more unprocessed records is behind: about a second of the busiest hour of a country."""

ORDER_NEAR_SECONDS = 72 * 3600

HEARTBEAT_AHEAD_SECONDS = 60
"""A heartbeat that is further in the future makes a worker hold everyone (streams/kafka/watchlist_state.py)."""

OVERDUE_DAYS = 2
"""Number of days from which work that was due is a problem (agents/recording/overdue.py)."""

SITE_FAULTS = ("unknown", "silent", "conflicts", "gaps")
"""States of a site that need attention, the most severe first. The board lists such sites first."""

SITE_STATES = (*SITE_FAULTS, "quiet", "nothing", "arrivals", "ok")
"""All states of a site. `arrivals`: no passage today, but arrivals, as at a station; `nothing`: neither."""


ProblemCode = Literal[
    "clickhouse_silent", "part_unknown", "workers_unknown", "order_ended", "order_ends", "worker_down", "worker_not_ready",
    "heartbeat_ahead", "heartbeat_never", "heartbeat_old", "lag", "sink_retries", "list_missing", "list_stale", "batch_held", "list_old",
    "no_passage", "silent", "gaps", "conflicts", "readings_missed", "beds_full", "overdue", "terms_exceeded", "dead_letters", "facts_kept_too_long",
    "cases_kept_too_long", "days_unpublished", "tasks_failing",
]  # fmt: skip


_OVERDUE: dict[str, tuple[Literal["bad", "warn"], ProblemCode]] = {
    "retention": ("bad", "facts_kept_too_long"),
    "case_deletion": ("bad", "cases_kept_too_long"),
    "publishing": ("warn", "days_unpublished"),
}
"""The level and code of each kind of overdue work."""


class Problem(NamedTuple):
    """A problem for the board. The page has a text for each code; `figures` are the values in that text."""

    level: Literal["bad", "warn"]
    code: ProblemCode
    figures: dict[str, Any]


@dataclass(frozen=True)
class Observation:
    """The observations of the board at one moment. Times are Unix seconds."""

    now: float
    as_of: float
    """The moment that is shown: `now`, or in a replay the last minute that was counted."""
    replay: bool
    sunset: float
    max_list_age: float
    watched_since: float
    """The time at which the first page was opened."""
    clickhouse_silent_since: float | None
    """The last answer of ClickHouse (0: it never answered); None while it answers."""
    parts: Mapping[str, Checked]
    data: Mapping[str, Any]
    """The last known data of each part."""
    workers: Mapping[str, Any] | None
    """The health of the workers; None if they could not be asked."""
    workers_at: float | None
    settled: bool
    """False in the first seconds, while answers are still expected."""
    last_passage: float
    """The last passage of today; before the first one, midnight."""


def site_state(
    last: float | None,
    as_of: float,
    known: Mapping[str, bool],
    *,
    silent: bool = False,
    conflicts: int = 0,
    missing: int = 0,
    arrived: bool = False,
) -> str:
    """Returns the state of a site. It is `ok` only if all of it is known and it had a passage in the last 15 minutes.

    Args:
        last: Time of the last passage of today; None if there was none.
        as_of: The moment that is shown.
        known: Whether counts, silent devices, conflicts, missing numbers and arrivals are known.
        silent: Whether a device of the site is silent.
        conflicts: Number of sequence numbers that a device used twice.
        missing: Number of missing sequence numbers.
        arrived: Whether travellers arrived at the site today.
    """
    if silent and known["silent"]:
        return "silent"
    if conflicts and known["conflicts"]:
        return "conflicts"
    if missing and known["gaps"]:
        return "gaps"
    if not all(known.values()):
        return "unknown"
    if last is None:
        return "arrivals" if arrived else "nothing"
    return "ok" if as_of - last < QUIET_SECONDS else "quiet"


def problems(seen: Observation) -> list[Problem]:
    """Returns all problems, the bad ones before the warnings."""
    found = [
        *_unknown(seen),
        *_order(seen),
        *_workers(seen),
        *_lists(seen),
        *_devices(seen),
        *_cases(seen),
        *_dead_letters(seen),
    ]
    return sorted(found, key=lambda problem: problem.level != "bad")


def _unknown(seen: Observation) -> list[Problem]:
    """Returns a problem for each part that could not be checked, with the time since when."""
    if seen.clickhouse_silent_since is not None:
        return [Problem("bad", "clickhouse_silent", _since(seen.clickhouse_silent_since, seen))]
    return [
        Problem("bad", "part_unknown", {"part": name} | _since(at, seen))
        for name, (known, at) in seen.parts.items()
        if not known
    ]


def _since(at: float | None, seen: Observation) -> dict[str, Any]:
    """Returns since when something is unknown. If it was never known: since the first page was opened, or earlier."""
    return {"since": at or seen.watched_since, "or_before": not at}


def _order(seen: Observation) -> list[Problem]:
    left = seen.sunset - seen.now
    if left <= 0:
        return [Problem("bad", "order_ended", {"since": seen.sunset})]
    return [Problem("warn", "order_ends", {"age": left})] if left < ORDER_NEAR_SECONDS and not seen.replay else []


def _workers(seen: Observation) -> list[Problem]:
    if seen.workers is None:
        return [Problem("bad", "workers_unknown", _since(seen.workers_at, seen))] if seen.settled else []
    found: list[Problem] = []
    for worker in seen.workers["workers"]:
        figures = {
            "role": worker.role, "address": worker.address, "since": worker.since, "or_before": worker.or_before,
        }  # fmt: skip
        if worker.state == "down":
            found.append(Problem("bad", "worker_down", figures))
        elif worker.state == "not_ready":
            found.append(Problem("bad", "worker_not_ready", figures))
    heartbeat, ahead = seen.workers["heartbeat"], seen.workers["heartbeat_ahead"]
    if ahead is not None and ahead > HEARTBEAT_AHEAD_SECONDS:
        found.append(Problem("bad", "heartbeat_ahead", {"seconds": int(ahead)}))
    elif heartbeat == float("inf"):
        found.append(Problem("bad", "heartbeat_never", {}))
    elif heartbeat is not None and heartbeat > seen.max_list_age:
        found.append(Problem("bad", "heartbeat_old", {"seconds": int(heartbeat)}))
    for lag in seen.workers["lag"] or ():
        if lag.records > LAG_RECORDS:
            found.append(Problem("bad", "lag", {"role": lag.role, "topic": lag.topic, "n": lag.records}))
    sink = seen.workers["sink"]
    if sink and sink["retries"]:
        found.append(Problem("bad", "sink_retries", {"n": sink["retries"]}))
    for task, days in (seen.workers["overdue"] or {}).items():
        if days >= OVERDUE_DAYS:
            level, code = _OVERDUE[task]
            found.append(Problem(level, code, {"n": int(days)}))
    if failing := seen.workers["suppressed"]:
        found.append(Problem("warn", "tasks_failing", {"tasks": ", ".join(failing)}))
    return found


def _known(seen: Observation, name: str) -> Any:
    """Returns the data of a part, or None if the part is unknown. `_unknown` reports that problem."""
    return seen.data[name] if seen.parts[name].known else None


def _lists(seen: Observation) -> list[Problem]:
    found: list[Problem] = []
    if missing := seen.workers and seen.workers["missing"]:
        figures = {"n": len(missing), "list": missing[0].list, "authority": missing[0].authority}
        found.append(Problem("bad", "list_missing", figures))
    _, held_recently = (_known(seen, "rules_hour") or {}).get("list_stale", (0, 0))
    if held_recently:
        found.append(Problem("bad", "list_stale", {"n": held_recently}))
    lists = _known(seen, "lists")
    if lists is None:
        return found
    for batch in lists["held"]:
        figures = {
            "list": batch.list, "authority": batch.authority, "batch": batch.batch_id, "code": batch.code, "n": batch.lines,
            "age": batch.age,
        }  # fmt: skip
        found.append(Problem("warn", "batch_held", figures))
    # Health passes need no daily renewal: without a pass people are stopped, not let through.
    old = [one for one in lists["applied"] if one.age > LIST_OLD_SECONDS and one.category != "health_pass"]
    if old:
        oldest = max(old, key=lambda one: one.age)
        figures = {"n": len(old), "list": oldest.list, "authority": oldest.authority, "age": oldest.age}
        found.append(Problem("warn", "list_old", figures))
    return found


def _devices(seen: Observation) -> list[Problem]:
    found: list[Problem] = []
    if _known(seen, "recent_today") is not None and seen.as_of - seen.last_passage > QUIET_SECONDS:
        found.append(Problem("warn", "no_passage", {"since": seen.last_passage}))
    if silent := _known(seen, "silent"):
        found.append(Problem("warn", "silent", {"n": len(silent), "devices": sum(map(len, silent.values()))}))
    if gaps := _known(seen, "gaps"):
        found.append(Problem("warn", "gaps", {"n": sum(gaps.values()), "sites": len(gaps)}))
    # The outcome of a number reaches every machine that used it, so one of them shows the outcome of another person.
    if conflicts := _known(seen, "conflicts"):
        numbers, devices = sum(one.numbers for one in conflicts), len({one.device_id for one in conflicts})
        figures = {"n": numbers, "devices": devices, "device": conflicts[0].device_id, "site": conflicts[0].site_id}
        found.append(Problem("bad", "conflicts", figures))
    return found


def _cases(seen: Observation) -> list[Problem]:
    found: list[Problem] = []
    sites = _known(seen, "quarantine") or ()
    if missed := sum(site.readings_missed + site.missed_yesterday for site in sites):
        found.append(Problem("warn", "readings_missed", {"n": missed}))
    cases = (*sites, *(_known(seen, "followups") or ()))
    if exceeded := sum(place.term_exceeded for place in cases):
        found.append(Problem("warn", "terms_exceeded", {"n": exceeded}))
    found += [
        Problem("warn", "beds_full", {"site": site.site_id})
        for site in sites
        if site.free <= 0 and (site.capacity or site.present)
    ]
    if overdue := sum(district.overdue for district in _known(seen, "followups") or ()):
        found.append(Problem("warn", "overdue", {"n": overdue}))
    return found


def _dead_letters(seen: Observation) -> list[Problem]:
    recent = sum(letters.recent for letters in _known(seen, "dead_letters") or ())
    return [Problem("warn", "dead_letters", {"n": recent})] if recent else []
