"""`ninezero doctor`: what keeps a deployment from working, or soon will. It looks, and changes nothing.

A part that cannot be looked at says so; it never counts as well.
"""

from __future__ import annotations

import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

from ninezero.agents.doctor import stores as doctor_stores
from ninezero.agents.doctor.probe import HEARTBEAT_SECONDS, CannotCheck, DeploymentProbe, Found, Status, loopback, named
from ninezero.streams import direct_http as direct
from ninezero.streams.errors import UserError
from ninezero.streams.settings import ROLES, asked_at

SUNSET_NEAR = timedelta(days=7)
KEY_NEAR = timedelta(days=3)
LIST_OLD = timedelta(days=2)
CLOCK_OFF, CLOCK_WRONG = 2.0, 60.0
"""Seconds; past the second, heartbeats and events are misjudged."""


class Finding(NamedTuple):
    """One line: what was looked at, how it is, what was found, and what to do unless it is well."""

    part: str
    status: Status
    found: str
    todo: str = ""


def examine(environ: Mapping[str, str], parts: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Every finding of these parts (all if none is named), as it is made."""
    parts = parts or tuple(PARTS)
    patient = DeploymentProbe(environ, edge="clickhouse" not in parts and not environ.get("NINEZERO_CLICKHOUSE"))
    for part in parts:
        try:
            for status, found, todo in PARTS[part](patient):
                yield Finding(part, status, found, todo)
        except UserError as error:
            why, _, todo = str(error).partition(": ")
            yield Finding(part, "could_not_check", why, todo or "mend the other parts first, and ask again")
        except Exception as error:  # its message may quote anything
            yield Finding(part, "could_not_check", f"unforeseen {type(error).__name__}", "report it")


def _settings(patient: DeploymentProbe) -> Found:
    for fault in patient.faults.values():
        what, _, todo = str(fault).partition(": ")
        yield "failed", what, todo
    for name in patient.unknown():
        if name != "NINEZERO_DEBUG":
            yield "warning", f"{name} is no setting and has no effect", "look for a slip: README, For operators"
    given = patient.settings
    if given.replay:
        yield (
            "warning",
            "replay mode: nothing is late, nothing expires, nothing is dropped",
            "unset NINEZERO_REPLAY in service",
        )
    if "ca" not in given.kafka_security and not loopback(given.kafka):
        yield "warning", "Kafka is spoken to without TLS beyond this machine", "set NINEZERO_KAFKA_TLS_CA"
    if given.clickhouse.startswith("clickhouse:") and not loopback(
        urlsplit(given.clickhouse).netloc.rpartition("@")[2]
    ):
        yield (
            "warning",
            "ClickHouse is spoken to without TLS beyond this machine",
            "write clickhouses:// in NINEZERO_CLICKHOUSE",
        )
    if not patient.faults:
        yield "ok", f"all set, under the order {given.order}", ""


def _sunset(patient: DeploymentProbe) -> Found:
    if {"NINEZERO_SUNSET", "NINEZERO_ORDER"} & patient.faults.keys():
        raise CannotCheck("NINEZERO_ORDER or NINEZERO_SUNSET is missing or wrong")
    left = patient.settings.sunset - datetime.now(UTC)
    at = f"{patient.settings.sunset:%Y-%m-%dT%H:%M:%SZ}"
    if left <= timedelta(0):
        yield (
            "failed",
            f"the order ended at {at}: every event is discarded",
            "stop the workers, then ninezero erase; or set the new order and its end",
        )
    elif left < SUNSET_NEAR:
        yield (
            "warning",
            f"the order ends at {at}, in {_span(left)}",
            "prepare ninezero erase, or have the order prolonged",
        )
    else:
        yield "ok", f"the order ends at {at}, in {_span(left)}", ""


def _keys(patient: DeploymentProbe) -> Found:
    from ninezero.streams.edge.documents.key_ring import KeyRing, KeyRingError

    if patient.settings.keys is None:
        raise CannotCheck(
            "NINEZERO_KEYS is not set here: leave it so on a server; where a device is or somebody pushes, name the key ring"
        )
    try:
        keys = KeyRing.load(patient.settings.keys).describe()
    except KeyRingError as error:
        what, _, todo = str(error).partition(": ")
        yield "failed", what, todo
        return
    now, active = datetime.now(UTC), next(key for key in keys if key.active)
    if active.not_after is not None and active.not_after <= now:
        yield (
            "failed",
            f"the active key {active.key_id} is past its not_after",
            "copy the deployment's current ring to this machine",
        )
    elif active.not_after is not None and active.not_after - now < KEY_NEAR:
        yield (
            "warning",
            f"the active key {active.key_id} ends in {_span(active.not_after - now)}",
            "copy the deployment's current ring to this machine",
        )
    try:
        manifests = patient.manifests
    except UserError as error:
        yield "could_not_check", f"whether the lists carry the ring's keys: {error}", "mend Kafka first, and ask again"
        return
    lacking = sorted("/".join(n) for n, m in manifests.items() if m.entries and active.key_id not in m.key_ids)
    if lacking:
        yield (
            "failed",
            f"the active key {active.key_id} is not on {named(lacking)}: everyone is held (unknown_key)",
            "push these lists again with this ring, in full",
        )
    else:
        where = "and on every list" if any(m.entries for m in manifests.values()) else "(nobody is on any list)"
        yield "ok", f"mode 0600, {len(keys)} key(s), {active.key_id} is active {where}", ""


def _clocks(patient: DeploymentProbe) -> Found:
    if patient.settings.clickhouse:
        try:
            with patient.database() as engine:
                before = time.time()
                theirs = int(engine.query("SELECT toUnixTimestamp(now()) AS n")[0]["n"]) + 0.5
                yield _clock("ClickHouse", theirs - (before + time.time()) / 2)
        except UserError:
            yield "could_not_check", "ClickHouse's: it was not reached", "see clickhouse"
    offset = patient.heartbeat_offset
    if offset is None:
        yield (
            "could_not_check",
            "Kafka's: no heartbeat came on the watchlist to tell its time by",
            "start the lists role (ninezero worker lists)",
        )
    else:
        yield _clock("Kafka", offset)


def _clock(whose: str, offset: float) -> tuple[Status, str, str]:
    found = f"{whose}'s clock is {offset:+.1f} s from this one"
    if abs(offset) > CLOCK_WRONG:
        return "failed", found, "set the clocks by NTP: heartbeats, lateness and the sunset are judged by them"
    return ("warning", found, "look at NTP on both") if abs(offset) > CLOCK_OFF else ("ok", found, "")


def _lists(patient: DeploymentProbe) -> Found:
    manifests = patient.manifests
    if not manifests:
        yield (
            "failed",
            "there is no list yet: nothing is decided before the first",
            "push one (ninezero push); an empty one will do",
        )
    now = datetime.now(UTC)
    for (authority, name), manifest in sorted(manifests.items()):
        which, age = f"{name} of {authority}", now - manifest.at
        if manifest.lost:
            yield "failed", f"{which}: its entries were lost with the topic; no worker is ready", "push it in full"
        elif not manifest.entries:
            yield (
                "warning",
                f"{which}: it has ended, nobody is on it any more",
                "ask the authority whether it should be pushed again",
            )
        elif age > LIST_OLD:
            yield (
                "warning",
                f"{which}: {manifest.entries} entries, last applied {_span(age)} ago",
                "ask the authority for its next batch",
            )
        else:
            yield "ok", f"{which}: {manifest.entries} entries, last applied {_span(age)} ago", ""
    if patient.heartbeat_offset is None:
        yield (
            "failed",
            f"no heartbeat in {HEARTBEAT_SECONDS:.0f} s: the lists do not move, after {patient.settings.max_list_age:.0f} s everyone is held",
            "start the lists role (ninezero worker lists)",
        )
    else:
        yield "ok", "the heartbeat comes", ""


def _roles(patient: DeploymentProbe) -> Found:
    host, first = patient.settings.http
    for role, step in ROLES.items():
        try:
            with direct.ask(f"http://{_asked(host)}:{first + step}/readyz", timeout=5):
                yield "ok", f"{role} is ready", ""
        except urllib.error.HTTPError:
            why = (
                "it waits for its partitions, or for the lists to be whole"
                if role == "screening"
                else "it waits for its partitions"
            )
            yield (
                "failed",
                f"{role} runs and is not ready: {why}",
                "look at the lists, and whether another process of the role has the partitions",
            )
        except OSError:
            yield (
                "could_not_check",
                f"{role} does not answer on this machine",
                f"start it here (ninezero worker {role}), or ask where it runs",
            )


PARTS: Mapping[str, Callable[[DeploymentProbe], Found]] = {
    "settings": _settings, "sunset": _sunset, "kafka": doctor_stores.kafka, "topics": doctor_stores.topics_, "acls": doctor_stores.acls,
    "clickhouse": doctor_stores.clickhouse_, "keys": _keys, "lists": _lists, "clocks": _clocks, "roles": _roles,
}  # fmt: skip
"""In the order in which they are best mended."""


def _asked(host: str) -> str:
    host = asked_at(host)
    return f"[{host}]" if ":" in host else host


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
