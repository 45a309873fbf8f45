"""The lists role: pushed batches change the watchlist, and withdrawn mistakes correct alerts."""

from __future__ import annotations

from typing import Any

from ninezero.agents.roles.role import Role
from ninezero.agents.watchlist.agent import PushAgent
from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.streams.kafka.topics import PUSHES
from ninezero.streams.kafka.watchlist_replica import WatchlistReplica
from ninezero.streams.kafka.writer import Writer


async def build(role: Role) -> None:
    """Adds the agent of pushed batches and its background work."""
    writer, projection = await role.start_component(Writer(role.settings)), WatchlistProjection()
    set_aside = role.register.set_aside
    replica = await role.start_component(
        WatchlistReplica(role.settings, projection, projection.measure, tracks_removals=True, set_aside=set_aside)
    )
    pushes = PushAgent(role.settings, replica, projection, writer, set_aside)
    role.at_stop(pushes.stop)

    async def apply_all(stream: Any) -> None:
        async for chunk in stream:
            await pushes.apply_chunk(chunk)

    role.add_agent(PUSHES, apply_all)
    role.run_in_background(replica.watch())
    role.run_after_start(lambda: pushes.sweep(role.app.consumer))
    role.run_in_background(pushes.watch_corrections())
    role.run_after_start(lambda: pushes.send_heartbeats(role.app.consumer))
