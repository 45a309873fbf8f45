"""Decides values as a screening worker does, without Kafka."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.timeline import Timeline
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.screening.decide_batch import Conditions
from ninezero.agents.screening.evaluators import Evaluators
from ninezero.streams.transport.offset_tracker import Chunk, OffsetTracker

HOME = "370115"


def conditions_of(
    now: datetime,
    index: WatchlistIndex,
    *,
    timeline: Timeline | None = None,
    home_of_site: Callable[[str], str] = lambda site_id: HOME,
    list_age_s: float = 0.0,
    ended: bool = False,
    replay: bool = False,
) -> Conditions:
    """Returns the conditions of a batch. Without a timeline the built-in policy holds, with HOME as home."""
    timeline = timeline or Timeline(Policy(home=HOME), replay)
    return Conditions(now, index, 1, timeline, Evaluators(), home_of_site, list_age_s, ended, replay)


def chunks_of(values: Sequence[bytes], kafka_ms: Sequence[int], size: int = 1000) -> list[Chunk]:
    """Returns values as chunks of at most `size`, each of another partition. `kafka_ms` has their Kafka timestamps."""
    records = [
        SimpleNamespace(value=value, offset=n % size, timestamp=ms)
        for n, (value, ms) in enumerate(zip(values, kafka_ms, strict=True))
    ]
    return [Chunk(TP("t", n // size), records[n : n + size], OffsetTracker()) for n in range(0, len(values), size)]


def decided_in(records: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any], int]:
    """Returns what written records state: outcomes in the order of sites, alerts, decided events, and the number of dead letters."""
    found: dict[str, list[Any]] = defaultdict(list)
    for topic, key, value, _ in records:
        found[topic.name].append((key, json.loads(value)))
    outcomes = [
        (key, *one)
        for key, record in sorted(found["screening-outcomes"], key=lambda r: r[0])
        for one in record["outcomes"]
    ]
    alerts = sorted(
        (a["alert_id"], a["policy"], a["late"], json.dumps(a["reasons"])) for _, a in found["screening-alerts"]
    )
    events = sorted(
        (record["policy"], str(record["shadows"]), *map(str, group[:8]), record["sites"][n], *one)
        for _, record in found["screening-decisions"]
        for group in record["decisions"]
        for n, *one in zip(*group[8:], strict=True)
    )
    return outcomes, alerts, events, len(found["dead-letters"])
