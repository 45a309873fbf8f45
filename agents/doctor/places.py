"""The machines on which `ninezero doctor` runs, and what applies there."""

from __future__ import annotations

from typing import Literal, get_args

from ninezero.streams.kafka import topics
from ninezero.streams.kafka.access import ACCESS, Party
from ninezero.streams.kafka.topics import Topic

Where = Literal["all", "edge", "worker", "screening", "lists", "ledgers", "recording"]
"""`edge` is a device, or a machine that pushes lists; `worker` runs all roles; the name of a role is a container of that role alone;
`all` is a machine that has everything."""

ROLE_PLACES: tuple[Where, ...] = ("screening", "lists", "ledgers", "recording")
WORKERS: tuple[Where, ...] = ("all", "worker", *ROLE_PLACES)
EVERYWHERE: tuple[Where, ...] = get_args(Where)
WITH_CLICKHOUSE: tuple[Where, ...] = ("all", "worker", "recording")
WITH_KEY_RING: tuple[Where, ...] = ("all", "edge")
WITH_LISTS: tuple[Where, ...] = ("all", "worker", "screening", "lists")
"""Where the account on Kafka may read the watchlist, which devices and authorities may not."""


def parties(where: Where) -> tuple[Party, ...]:
    """Returns whose rights on Kafka one account must have there: those of one of the parties. Empty if any will do."""
    match where:
        case "edge":
            return ("devices", "authorities")
        case "screening" | "lists" | "ledgers" | "recording":
            return (where,)
        case _:
            return ()


def topics_of(where: Where) -> tuple[Topic, ...]:
    """Returns the topics that are used there."""
    used = {topic for party in parties(where) for topic in ACCESS[party].topics}
    return tuple(topic for topic in topics.ALL if not used or topic in used)
