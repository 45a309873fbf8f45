"""What needs a look, out of what was seen: problems by code with their figures, the worst first, and the state of a site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LATELY_SECONDS = 15 * 60
"""A site without a passage for longer is quiet."""

LIST_OLD_SECONDS = 24 * 3600
"""Lists of the field are renewed daily; the advice goes on with an older one."""

LAG_RECORDS = 20_000
"""More than this waiting to be read: about a second of the busiest hour."""

SITE_SEVERITY = ("unknown", "silent", "gaps", "quiet", "nothing", "ok")
"""States of a site, in the order in which they are shown; `nothing`: no passage today."""

Issue = tuple[str, str, dict[str, Any]]
"""(`bad` or `warn`, code, figures)."""


@dataclass(frozen=True)
class Seen:
    """What the board has seen; times are Unix seconds. `vitals` is None if no worker could be asked."""

    now: float
    as_of: float
    replay: bool
    sunset: float
    max_list_age: float
    began: float
    answered: float | None
    """None: ClickHouse answers; or when it did last, 0 for never."""
    parts: Mapping[str, tuple[bool, float | None]]
    data: Mapping[str, Any]
    vitals: Mapping[str, Any] | None
    vitals_at: float | None
    settled: bool
    last_passage: float
    """Of today; before the first of a day, when the day began."""


def site_state(last: float | None, as_of: float, silent: bool, missing: int, known: Mapping[str, bool]) -> str:
    """The state of a site. It is `ok` only if all of it is known and a passage came lately."""
    if silent and known["silent"]:
        return "silent"
    if missing and known["gaps"]:
        return "gaps"
    if not all(known.values()):
        return "unknown"
    if last is None:
        return "nothing"
    return "ok" if as_of - last < LATELY_SECONDS else "quiet"


def issues(seen: Seen) -> list[Issue]:
    """Everything that needs a look, what is bad before what is a warning."""
    found = [*_unknown(seen), *_order(seen), *_workers(seen), *_counted(seen)]
    return sorted(found, key=lambda issue: issue[0] != "bad")


def _unknown(seen: Seen) -> list[Issue]:
    """What could not be checked, and since when."""
    if seen.answered is not None:
        return [("bad", "clickhouse_silent", _since(seen.answered, seen))]
    return [
        ("bad", "part_unknown", {"part": name} | _since(at, seen))
        for name, (known, at) in seen.parts.items()
        if not known
    ]


def _since(at: float | None, seen: Seen) -> dict[str, Any]:
    """Since when something is not known; if it never was, nobody can say whether it was before anyone watched (`found_so`)."""
    return {"since": at or seen.began, "found_so": not at}


def _order(seen: Seen) -> list[Issue]:
    left = seen.sunset - seen.now
    if left <= 0:
        return [("bad", "order_ended", {"since": seen.sunset})]
    return [("warn", "order_ends", {"age": left})] if left < 72 * 3600 and not seen.replay else []


def _workers(seen: Seen) -> list[Issue]:
    if seen.vitals is None:
        return [("bad", "workers_unknown", _since(seen.vitals_at, seen))] if seen.settled else []
    found: list[Issue] = []
    for role, address, state, since, found_so in seen.vitals["workers"]:
        if state in ("down", "not_ready"):
            told = {"role": role, "address": address, "since": since, "found_so": found_so}
            found.append(("bad", f"worker_{state}", told))
    heartbeat = seen.vitals["heartbeat"]
    if heartbeat == float("inf"):
        found.append(("bad", "heartbeat_never", {}))
    elif heartbeat is not None and heartbeat > seen.max_list_age:
        found.append(("bad", "heartbeat_old", {"seconds": int(heartbeat)}))
    for role, topic, records in seen.vitals["lag"] or ():
        if records > LAG_RECORDS:
            found.append(("bad", "lag", {"role": role, "topic": topic, "n": records}))
    sink = seen.vitals["sink"]
    if sink and sink["retries"]:
        found.append(("bad", "sink_retries", {"n": sink["retries"]}))
    return found


def _counted(seen: Seen) -> list[Issue]:
    """What the counts say; parts that are unknown have said so already."""

    def data(name: str) -> Any:
        return seen.data[name] if seen.parts[name][0] else None

    found: list[Issue] = []
    held_all = (data("rules_hour") or {}).get("list_stale", [0, 0])[1]
    if held_all:
        found.append(("bad", "list_stale", {"n": held_all}))
    lists = data("lists")
    for authority, name, batch_id, code, lines, age in lists["held"] if lists else ():
        found.append(
            (
                "warn",
                "batch_held",
                {"list": name, "authority": authority, "batch": batch_id, "code": code, "n": lines, "age": age},
            )
        )
    old = [row for row in lists["applied"] if row[3] > LIST_OLD_SECONDS and row[2] != "health_pass"] if lists else []
    if old:  # without a pass people are stopped, not let through: passes need no daily renewal
        authority, name, _, age = max(old, key=lambda row: row[3])
        found.append(("warn", "list_old", {"n": len(old), "list": name, "authority": authority, "age": age}))
    last = seen.last_passage
    if data("since") is not None and seen.as_of - last > LATELY_SECONDS:
        found.append(("warn", "no_passage", {"since": last}))
    if silent := data("silent"):
        found.append(("warn", "silent", {"n": len(silent), "devices": sum(map(len, silent.values()))}))
    if gaps := data("gaps"):
        found.append(("warn", "gaps", {"n": sum(gaps.values()), "sites": len(gaps)}))
    beds = data("quarantine") or ()
    if n := sum(row[6] + row[7] for row in beds):
        found.append(("warn", "readings_missed", {"n": n}))
    for site, capacity, present, free, *_ in beds:
        if free <= 0 and (capacity or present):
            found.append(("warn", "beds_full", {"site": site}))
    if n := sum(row[4] for row in data("followups") or ()):
        found.append(("warn", "overdue", {"n": n}))
    if n := sum(row[2] for row in data("dead_letters") or ()):
        found.append(("warn", "dead_letters", {"n": n}))
    return found
