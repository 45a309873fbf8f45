"""Notices a topic that was deleted and created again while a role reads it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ninezero.agents.roles.role import Role
from ninezero.streams.errors import DEPENDENCY, UserError
from ninezero.streams.kafka.administration import topic_ids
from ninezero.streams.kafka.sync import KafkaUnreachable
from ninezero.streams.kafka.topics import WATCHLIST

log = logging.getLogger("ninezero.roles")

TOPICS_SECONDS = 5.0
"""Time between two readings of the ids of the topics."""


async def watch_topics(role: Role, answered: Callable[[], None]) -> None:
    """Ends the role if a topic was recreated.

    A recreated topic has another id and other records at its offsets. A new process reads it from its beginning, without
    what this one remembers of the old topic. The watchlist topic is watched by its replica. Calls `answered` each time that
    Kafka has answered.
    """
    watched = {name: known for name, known in role.topic_ids.items() if name != role.settings.topic(WATCHLIST.name)}
    while True:
        await asyncio.sleep(TOPICS_SECONDS)
        try:
            current = await asyncio.to_thread(topic_ids, role.settings)
        except UserError as error:
            # Only an unreachable broker is an outage: a missing permission does not end when brokers answer again.
            mark = {DEPENDENCY: "Kafka"} if isinstance(error, KafkaUnreachable) else None
            log.warning("the topics cannot be checked: %s", error, extra=mark)
            continue
        answered()
        for name, known in watched.items():
            if current.get(name, known) != known:
                role.fail(f"the topic {name} was deleted and created again; the next start reads it from its beginning")
