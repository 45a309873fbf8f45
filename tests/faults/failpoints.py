"""Named places at which a worker kills itself with SIGKILL: `FAILPOINT="PLACE WHEN N" python -m tests.faults.failpoints ROLE`.

The product has no code for this. A place is one of its functions, found by name. The worker dies before, in (a few ms after
the beginning of) or after the n-th call.
"""

from __future__ import annotations

import functools
import inspect
import os
import pkgutil
import random
import signal
import sys
import threading
from typing import Any

WHEN = ("before", "in", "after")
IN_SECONDS = (0.0002, 0.004)

_COMMON = (
    "ninezero.streams.transport.offset_tracker:Chunk.done",
    "ninezero.streams.transport.consumer:Consumer.commit",
    "ninezero.streams.transport.consumer:Consumer.perform_seek",
)
PLACES = {
    "screening": (
        *_COMMON,
        "ninezero.agents.screening.agent:Screening.screen",
        "ninezero.agents.screening.agent:Screening.decide",
        "ninezero.streams.kafka.writer:Writer.write",
        "ninezero.streams.kafka.writer:Writer._write_once",
        "ninezero.streams.kafka.watchlist_state:WatchlistState.apply",
    ),
    "recording": (
        *_COMMON,
        "ninezero.agents.recording.recorder:Recorder.append",
        "ninezero.agents.recording.checkpoint:Checkpoint._recorded",
        "ninezero.agents.recording.checkpoint:Checkpoint._write",
        "ninezero.streams.clickhouse.inserts:insert",
        "ninezero.agents.recording.checkpoint:record_cases",
    ),
    "lists": (
        *_COMMON,
        "ninezero.agents.watchlist.agent:PushAgent._take_over",
        "ninezero.agents.watchlist.agent:PushAgent._apply_batch",
        "ninezero.streams.kafka.transactions:Transactions.start",
        "ninezero.streams.kafka.transactions:Transactions.write",
        "ninezero.streams.kafka.transactions:Transactions._send",
        "aiokafka:AIOKafkaProducer.begin_transaction",
        "aiokafka:AIOKafkaProducer.commit_transaction",
    ),
    "ledgers": (
        *_COMMON,
        "ninezero.agents.cases.monitor:accepted_events",
        "ninezero.agents.cases.monitor:CaseMonitor.process",
        "ninezero.streams.kafka.writer:Writer.write",
        "ninezero.streams.kafka.compacted:CompactedTable.write",
        "ninezero.streams.kafka.compacted:CompactedTable.read",
    ),
}
ONCE = {"Consumer.perform_seek", "PushAgent._take_over", "Transactions.start", "CompactedTable.read"}
"""Functions that a worker calls once, or hardly more often."""


def points(role: str, rng: random.Random) -> list[str]:
    """Returns the failpoints of a role in random order: each place before, in and after one of its first calls."""
    found = [
        f"{place} {when} {1 if place.partition(':')[2] in ONCE else rng.randint(1, 3)}"
        for place in PLACES[role]
        for when in WHEN
    ]
    rng.shuffle(found)
    return found


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def set_up(place: str, when: str, count: int) -> None:
    """Makes this process kill itself at a failpoint."""
    path, _, name = place.rpartition(".") if "." in place.partition(":")[2] else place.rpartition(":")
    owner = pkgutil.resolve_name(path)
    function = getattr(owner, name)
    calls = 0

    def enter() -> bool:
        """Counts a call. Returns whether to die after it."""
        nonlocal calls
        calls += 1
        if calls == count and when == "before":
            _die()
        if calls == count and when == "in":
            threading.Timer(random.uniform(*IN_SECONDS), _die).start()
        return calls == count and when == "after"

    @functools.wraps(function)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        last = enter()
        result = await function(*args, **kwargs)
        if last:
            _die()
        return result

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        last = enter()
        result = function(*args, **kwargs)
        if last:
            _die()
        return result

    setattr(owner, name, awaited if inspect.iscoroutinefunction(function) else called)


if __name__ == "__main__":
    from ninezero.agents.cli.main import main

    place_, when_, count_ = os.environ["FAILPOINT"].split()
    set_up(place_, when_, int(count_))
    sys.argv = ["ninezero", "worker", *sys.argv[1:]]
    main()
