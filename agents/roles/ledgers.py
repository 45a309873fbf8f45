"""The ledgers role: accepts dispositions and case events, keeps the facts of cases and transfers, and alerts staff about them."""

from __future__ import annotations

from typing import Any

from ninezero.agents.cases.acceptance import accepted_events
from ninezero.agents.cases.event_clock import EventClock
from ninezero.agents.cases.kinds import follow_up_kind, quarantine_kind
from ninezero.agents.cases.monitor import CaseMonitor
from ninezero.agents.cases.transfer_monitor import TransferMonitor
from ninezero.agents.roles.role import Role
from ninezero.schemas.events import Disposition
from ninezero.streams.kafka.group_progress import GroupProgress
from ninezero.streams.kafka.topics import ARRIVALS, DISPOSITIONS, TRANSFERS, Topic
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.transport.consumer import Consumer


async def build(role: Role) -> None:
    """Adds the agents of dispositions, quarantine events, follow-up events and transfer events."""
    writer = await role.start_component(Writer(role.settings))
    arrivals = await role.start_component(GroupProgress(role.settings, writer, "screening", ARRIVALS))
    clock, set_aside = EventClock(role.settings.replay), role.register.set_aside

    async def accept_dispositions(stream: Any) -> None:
        async for chunk in stream:
            clock.observe(await accepted_events(role.settings, writer, DISPOSITIONS, Disposition, chunk))
            chunk.done()

    role.add_agent(DISPOSITIONS, accept_dispositions)

    def add(topic: Topic, monitor: CaseMonitor) -> None:
        async def monitor_cases(stream: Any) -> None:
            async for chunk in stream:
                await monitor.process(chunk)

        role.add_agent(topic, monitor_cases)
        role.run_after_start(monitor.watch)

    def consumer() -> Consumer:
        found: Consumer = role.app.consumer
        return found

    term_days = role.settings.term_days
    for kind in (quarantine_kind(term_days, role.policies), follow_up_kind(term_days)):
        add(kind.topic, CaseMonitor(role.settings, writer, kind, consumer, set_aside, clock))
    add(TRANSFERS, TransferMonitor(role.settings, writer, consumer, set_aside, arrivals, clock))
