"""Checks of the key ring, the watchlists and the clocks."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from ninezero.agents.doctor.findings import (
    CannotCheck,
    Result,
    Results,
    could_not_check,
    failed,
    names,
    not_here,
    ok,
    warning,
)
from ninezero.agents.doctor.places import WITH_LISTS
from ninezero.agents.doctor.probe import HEARTBEAT_SECONDS, DeploymentProbe
from ninezero.agents.doctor.quantities import counted, duration
from ninezero.schemas.times import MAX_AHEAD_SECONDS
from ninezero.streams.errors import UserError

KEY_NEAR = timedelta(days=3)
LIST_OLD = timedelta(days=2)
CLOCK_OFF, CLOCK_WRONG = 2.0, 60.0
"""Differences of clocks in seconds, for a warning and for a failure. The age of heartbeats and events is computed from clocks."""


def keys(probe: DeploymentProbe) -> Results:
    """Checks that the key ring is readable, its active key valid, and that every list has tokens of that key."""
    from ninezero.streams.edge.documents.key_ring import KeyRing, KeyRingError

    if probe.settings.keys is None:
        raise CannotCheck(
            "NINEZERO_KEYS is not set here: a server needs no key ring (ninezero doctor --where worker); on a device or where lists are pushed, set it to the key ring"
        )
    try:
        ring = KeyRing.load(probe.settings.keys).describe()
    except KeyRingError as error:
        found, _, todo = str(error).partition(": ")
        yield failed(found, todo)
        return
    now, active = datetime.now(UTC), next(key for key in ring if key.active)
    copy = "copy the current key ring of the deployment to this machine"
    if active.not_after is not None and active.not_after <= now:
        yield failed(f"the active key {active.key_id} has expired", copy)
    elif active.not_after is not None and active.not_after - now < KEY_NEAR:
        yield warning(f"the active key {active.key_id} expires in {duration(active.not_after - now)}", copy)
    if probe.where not in WITH_LISTS:
        yield ok(f"mode 0600, {counted(len(ring), 'key', 'keys')}, {active.key_id} is active")
        yield not_here("whether every list has tokens of the active key: only workers may read the lists")
        return
    try:
        manifests = probe.lists.manifests
    except UserError as error:
        yield could_not_check(
            f"whether the lists have tokens of the active key: {error}",
            "solve the problem of Kafka first, then run it again",
        )
        return
    lacking = sorted("/".join(n) for n, m in manifests.items() if m.entries and active.key_id not in m.key_ids)
    if lacking:
        yield failed(
            f"the active key {active.key_id} is not on {names(lacking)}: everyone is held (unknown_key)",
            "push these lists again with this key ring and --full",
        )
    else:
        where = "and on every list" if any(m.entries for m in manifests.values()) else "(all lists are empty)"
        yield ok(f"mode 0600, {counted(len(ring), 'key', 'keys')}, {active.key_id} is active {where}")


def lists(probe: DeploymentProbe) -> Results:
    """Checks that no registered list is missing, the age of each list, and that heartbeats arrive."""
    manifests, missing = probe.lists.manifests, probe.lists.missing
    for authority, name in missing:
        yield failed(
            f"{name} of {authority}: the topic watchlist lacks it as last applied; no screening worker is ready",
            "push the list again with --full --again",
        )
    if not manifests and not missing:
        yield failed(
            "there is no list: nothing is decided before the first list", "push a list (ninezero push); it may be empty"
        )
    now = datetime.now(UTC)
    for (authority, name), manifest in sorted(manifests.items()):
        which, age = f"{name} of {authority}", now - manifest.at
        entries = f"{which}: {counted(manifest.entries, 'entry', 'entries')}, last applied {duration(age)} ago"
        if not manifest.entries:
            yield warning(f"{which}: it has no entries any more", "ask the authority whether to push it again")
        elif age > LIST_OLD:
            yield warning(entries, "ask the authority for its next batch")
        else:
            yield ok(entries)
    if probe.heartbeat_offset is None:
        yield failed(
            f"no heartbeat arrived in {HEARTBEAT_SECONDS:.0f} s: lists do not change, and after {probe.settings.max_list_age:.0f} s everyone is held",
            "start the lists role (ninezero worker lists)",
        )
    else:
        yield ok("heartbeats arrive")


def clocks(probe: DeploymentProbe) -> Results:
    """Compares the clocks of ClickHouse and Kafka with the clock of this machine."""
    if probe.settings.clickhouse:
        try:
            with probe.database() as engine:
                before = time.time()
                server = int(engine.query("SELECT toUnixTimestamp(now()) AS n")[0]["n"]) + 0.5
                yield _clock("ClickHouse", server - (before + time.time()) / 2)
        except UserError:
            yield could_not_check("the clock of ClickHouse: it cannot be reached", "see the part clickhouse")
    if probe.where not in WITH_LISTS:
        yield not_here("the clock of Kafka: only the screening and lists roles read heartbeats")
        return
    offset = probe.heartbeat_offset
    if offset is None:
        yield could_not_check(
            "the clock of Kafka: no heartbeat arrived, and only a heartbeat shows its time",
            "start the lists role (ninezero worker lists)",
        )
    else:
        yield _clock("Kafka", offset, _effect(offset, probe.settings.max_list_age))


def _effect(offset: float, max_list_age: float) -> str:
    """Returns what a screening worker with the clock of this machine does, if Kafka's is ahead by `offset` seconds."""
    if offset > MAX_AHEAD_SECONDS:
        return f": heartbeats are over {MAX_AHEAD_SECONDS:.0f} s in its future, so a screening worker here holds everyone (list_stale)"
    if -offset > max_list_age:
        return (
            f": heartbeats look older than {max_list_age:.0f} s, so a screening worker here holds everyone (list_stale)"
        )
    return ""


def _clock(whose: str, offset: float, effect: str = "") -> Result:
    found = f"the clock of {whose} differs by {offset:+z.1f} s from this one{effect}"
    if abs(offset) > CLOCK_WRONG:
        return failed(found, "set the clocks by NTP: the age of heartbeats and events and the sunset depend on them")
    return warning(found, "check NTP on both machines") if abs(offset) > CLOCK_OFF else ok(found)
