"""The screening role: scans and arrivals become outcomes, alerts and decisions."""

from __future__ import annotations

import asyncio
import logging
import time

from ninezero.agents.roles.role import Role
from ninezero.agents.screening.agent import Screening, screen_stream
from ninezero.agents.screening.event_kinds import CHECKPOINTS, STATIONS, EventKind
from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.streams import metrics
from ninezero.streams.kafka.list_register import ListRegister
from ninezero.streams.kafka.watchlist_replica import WatchlistReplica
from ninezero.streams.kafka.watchlist_state import ListName
from ninezero.streams.kafka.writer import Writer

log = logging.getLogger("ninezero.lists")

MEASURE_SECONDS = 5.0
"""Time between two measurements of the lists."""


async def build(role: Role) -> None:
    """Adds the agents of scans and arrivals, and the watchlist that they check."""
    writer, projection = await role.start_component(Writer(role.settings)), WatchlistProjection()
    set_aside = role.register.set_aside
    registered = await role.start_component(ListRegister(role.settings, set_aside))
    replica = await role.start_component(
        WatchlistReplica(role.settings, projection, projection.measure, set_aside=set_aside, registered=registered)
    )
    screening = Screening(role.settings, replica, projection, writer, role.policies, role.register)
    role.readiness.append(lambda: replica.why_not_ready)

    def add(kind: EventKind) -> None:
        role.add_agent(kind.topic, lambda stream: screen_stream(screening, kind, stream))

    add(CHECKPOINTS)
    add(STATIONS)
    role.run_in_background(measure_watchlist(replica))
    role.run_in_background(registered.watch())
    role.run_in_background(replica.watch())


async def measure_watchlist(replica: WatchlistReplica) -> None:
    """Sets the age of each list and of the heartbeat, and states which lists are missing."""
    missing: list[ListName] = []
    while True:
        if replica.missing != missing:
            missing = replica.missing
            metrics.watchlist_missing.clear()
            for authority, name in missing:
                metrics.watchlist_missing.labels(authority, name).set(1)
            if missing:
                log.error("nobody is screened: %s", replica.why_not_ready)
            else:
                log.info("no list is missing any more")
        applied: dict[str, float] = {}
        for (_, name), manifest in replica.manifests.items():
            at = manifest.at.timestamp()
            applied[name] = min(at, applied.get(name, at))  # two authorities may have a list of the same name
        for name, at in applied.items():
            metrics.watchlist_age.labels(name).set(time.time() - at)
        metrics.watchlist_heartbeat.set(-1 if replica.heartbeat is None else replica.heartbeat_silence())
        metrics.watchlist_heartbeat_ahead.set(replica.heartbeat_ahead())
        await asyncio.sleep(MEASURE_SECONDS)
