"""Checks of the policy in force, of what comes next, and of the sites that it needs."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ninezero.agents.doctor.findings import CannotCheck, Results, failed, names, ok, warning
from ninezero.agents.doctor.probe import DeploymentProbe
from ninezero.agents.doctor.quantities import counted, duration
from ninezero.agents.logic.policy.history import has_use
from ninezero.agents.logic.policy.timeline import InForce, Timeline
from ninezero.schemas.policies import HOME_OF_SITE, label

if TYPE_CHECKING:
    from ninezero.streams.kafka.register import Statements  # the edge has no aiokafka

REFUSED_RECENTLY = timedelta(days=7)
"""A record without effect is reported as a warning for this long. It stays on the topic for ever."""


def policy(probe: DeploymentProbe) -> Results:
    """Checks that the policy that was activated last is there and can be applied, and says what is in force and what comes next."""
    from ninezero.agents.policies.snapshot import read_policies

    if probe.kafka_fault is not None:
        raise CannotCheck("Kafka was not reached")
    snapshot = asyncio.run(read_policies(probe.settings))
    timeline, now_ms = snapshot.history.timeline, time.time_ns() // 1_000_000
    if (lost := _lost(timeline, snapshot.statements)) is not None:
        yield failed(
            f"the topic policies lacks {lost}, which was activated last: no role is ready",
            "activate it again from its file (ninezero policy activate FILE), or restore the topic",
        )
    yield from _in_force(timeline, now_ms)
    yield from _refused(timeline, now_ms)
    held = [timeline.at(now_ms), *(timeline.at(ms) for ms in timeline.boundaries if ms > now_ms)]
    yield from _sites(held, snapshot.statements, probe.settings.home)


def _lost(timeline: Timeline, statements: Statements) -> str | None:
    """Returns the policy that was activated last, if the topic has no use of it."""
    current = statements.current_policy
    if current is None or has_use(timeline, current.policy, current.version):
        return None
    return label(current.policy, current.version)


def _in_force(timeline: Timeline, now_ms: int) -> Results:
    now = timeline.at(now_ms)
    upgrade = "start workers of a release that knows it, or end it (ninezero policy end)"
    if now.unknown is not None:
        yield failed(f"{now.unknown} is in force and this release cannot apply it: no worker of it is ready", upgrade)
    else:
        yield ok(f"{_described(now)} is in force")
    following = timeline.next_change(now_ms)
    if following is not None:
        then, at = timeline.at(following), datetime.fromtimestamp(following / 1000, UTC)
        text = f"{_described(then)} is next, at {at:%Y-%m-%dT%H:%M:%SZ}, in {duration(at - datetime.now(UTC))}"
        yield ok(text) if then.unknown is None else warning(f"{text}, and this release cannot apply it", upgrade)


def _described(held: InForce) -> str:
    beside = f", with {names([one.label for one in held.shadows])} beside it," if held.shadows else ""
    return f"{held.active.label}{beside}"


def _refused(timeline: Timeline, now_ms: int) -> Results:
    since = now_ms - REFUSED_RECENTLY // timedelta(milliseconds=1)
    recent = [one for one in timeline.refused if one.kafka_ms >= since]
    if recent:
        count = counted(len(recent), "record of the last week has", "records of the last week have")
        yield warning(
            f"{count} no effect: {recent[-1].sentence}", "see ninezero policy show; it was written by another program"
        )


def _sites(held: list[InForce], statements: Statements, home: str) -> Results:
    """Checks that every site has a division, if a policy that holds now or later takes its home from the site."""
    of_site = [one.active.label for one in held if one.active.home == HOME_OF_SITE]
    without = sorted(one.site_id for one in statements.sites.values() if not one.division)
    if not of_site:
        return
    remedy = "state the divisions: ninezero register site FILE"
    if not statements.sites:
        yield warning(f"{of_site[0]} takes its home from each site, and no site is registered: {home} is used", remedy)
    elif without:
        yield warning(
            f"{of_site[0]} takes its home from each site, and {names(without)} without a division use {home}", remedy
        )
