"""The ledgers role: accepts dispositions and case events, keeps the facts of cases, and alerts staff about cases."""

from __future__ import annotations

from typing import Any

from ninezero.agents.cases.acceptance import accepted_events
from ninezero.agents.cases.kinds import FOLLOW_UP, QUARANTINE, CaseKind
from ninezero.agents.cases.monitor import CaseMonitor
from ninezero.agents.roles.role import Role
from ninezero.schemas.events import Disposition
from ninezero.streams.kafka.topics import DISPOSITIONS
from ninezero.streams.kafka.writer import Writer


async def build(role: Role) -> None:
    """Adds the agents of dispositions, quarantine events and follow-up events."""
    writer = await role.start_component(Writer(role.settings))

    async def accept_dispositions(stream: Any) -> None:
        async for chunk in stream:
            await accepted_events(role.settings, writer, DISPOSITIONS, Disposition, chunk)
            chunk.done()

    role.add_agent(DISPOSITIONS, accept_dispositions)

    def add(kind: CaseKind) -> None:
        monitor = CaseMonitor(role.settings, writer, kind, lambda: role.app.consumer, role.register.set_aside)

        async def monitor_cases(stream: Any) -> None:
            async for chunk in stream:
                await monitor.process(chunk)

        role.add_agent(kind.topic, monitor_cases)
        role.run_after_start(monitor.watch)

    add(QUARANTINE)
    add(FOLLOW_UP)
