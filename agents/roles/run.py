"""Runs one role in this process, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable

from ninezero.agents.roles import ledgers, lists, recording, screening
from ninezero.agents.roles.http.server import serve
from ninezero.agents.roles.logs.output import LogOutput
from ninezero.agents.roles.recreated_topics import watch_topics
from ninezero.agents.roles.role import Role
from ninezero.agents.roles.role_metrics import measure_lag, start_counters_at_zero
from ninezero.streams import metrics
from ninezero.streams.kafka.administration import remove_former_members, topic_ids
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.roles")

UNREADABLE_SECONDS = 20.0
"""Time for which a role that found an unreadable record still answers `/metrics` before it ends: longer than the scrape interval of
deploy/prometheus, so that the alert sees the counter."""

BUILDERS: dict[str, Callable[[Role], Awaitable[None]]] = {
    "screening": screening.build,
    "lists": lists.build,
    "ledgers": ledgers.build,
    "recording": recording.build,
}
"""The function that adds agents, components and background work to a role, by the name of the role."""


async def run(name: str, settings: Settings, output: LogOutput) -> str | None:
    """Runs a role until a signal or a failure ends it.

    Args:
        name: the role.
        settings: the settings of the process.
        output: the log output, which is notified when Kafka answers.

    Returns:
        The failure in one line, or None after a signal.
    """
    start_counters_at_zero()
    role = Role(name, settings)
    metrics.build_info.labels(role.identity.release, " ".join(role.identity.formats)).set(1)
    role.topic_ids = await asyncio.to_thread(topic_ids, settings)
    role.app.consumer.topic_ids = role.topic_ids
    try:
        await role.start_component(role.register)
        role.run_in_background(role.register.watch())
        await role.start_component(role.policies)
        role.run_in_background(role.policies.watch())
        await BUILDERS[name](role)
        await serve(role)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, role.end)
        former = (settings, settings.group(name), role.client_id_prefix, role.client_id)
        role.run_in_background(asyncio.to_thread(remove_former_members, *former))
        await role.app.start()
        for work in (role.watch_faust(), measure_lag(role), watch_topics(role, output.kafka_answered), output.sweep()):
            role.run_in_background(work)
        reason = await role.ended
        if reason is not None:
            log.error("the %s role is ending: %s", name, reason)
        if role.found_unreadable:
            with contextlib.suppress(TimeoutError):  # the time is over
                await asyncio.wait_for(role.stop_asked.wait(), UNREADABLE_SECONDS)
        await role.stop()
    finally:
        await role.stop_components()
        output.finish()
    return reason
