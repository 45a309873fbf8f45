"""What the lists say about the tokens of one document, for a complaint. The lists are read as a worker reads them; nothing is stored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from ninezero.agents.logic.watchlist.entries import Entry, ListName
from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.schemas.times import MAX_AHEAD_SECONDS
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.list_register import read_list_register
from ninezero.streams.kafka.register import read_register
from ninezero.streams.kafka.topics import WATCHLIST
from ninezero.streams.kafka.watchlist_state import SLICE_RECORDS, WatchlistState
from ninezero.streams.settings import Settings


class Listed(NamedTuple):
    """An entry that has one of the tokens."""

    entry: Entry
    former_ids: Sequence[str]
    """Ids of entries that were merged into it in the last 72 hours. An alert may name them."""


class WatchlistAnswer(NamedTuple):
    """What the lists say. *Not listed* is certain only if `not_checked` is empty."""

    listed: Sequence[Listed]
    lists: int
    """Number of lists that were read."""
    not_checked: Sequence[str]
    """Why the answer is not complete: one text for each reason, without an identity."""


async def look_up(
    settings: Settings, domain: str, tokens: Sequence[str], key_ids: Collection[str], max_age: float
) -> WatchlistAnswer:
    """Reads all lists and returns the entries that have a token, expired ones included while they are there.

    Args:
        settings: the deployment.
        domain: the domain of the tokens.
        tokens: the tokens of one document, one under each key.
        key_ids: the keys of the ring. A list with tokens of another key cannot be checked in full.
        max_age: seconds without a heartbeat after which the lists may be out of date.

    Raises:
        KafkaUnreachable: the broker does not answer.
        TopicsMissing: the topic is missing, or this user may not read it.
        UnreadableRecord: a record cannot be read.
    """
    await kafka.require_topics(settings, [WATCHLIST])
    projection, set_aside = WatchlistProjection(), (await read_register(settings)).set_aside
    registered = await read_list_register(settings, set_aside)
    state = WatchlistState(projection, tracks_removals=True, set_aside=set_aside)
    tp = kafka.TopicPartition(settings.topic(WATCHLIST.name), 0)
    batch: list[Any] = []
    async with kafka.connected(kafka.consumer(settings, isolation_level="read_committed")) as reader:
        async for record in kafka.read_to_end(reader, [tp]):
            batch.append(record)
            if len(batch) >= SLICE_RECORDS:
                state.apply(batch)
                batch = []
    state.apply(batch)
    found = {
        (entry.authority, entry.list, entry.entry_id): entry
        for token in tokens
        for entry in projection.index.find(domain, token)
    }
    listed = [
        Listed(entry, sorted(state.merged_into((entry.authority, entry.list), {entry.entry_id})))
        for _, entry in sorted(found.items())
    ]
    gaps = _gaps(state, projection, registered.missing(state.manifests), key_ids, max_age)
    return WatchlistAnswer(listed, len(state.manifests), gaps)


def _gaps(
    state: WatchlistState,
    projection: WatchlistProjection,
    missing: Sequence[ListName],
    key_ids: Collection[str],
    max_age: float,
) -> list[str]:
    """Returns why *not listed* would not be certain."""
    gaps = [] if state.manifests else ["there is no list"]
    gaps += [
        f"{_named(name)} is not on its topic as last applied: its authority has to push it in full" for name in missing
    ]
    for name, manifest in sorted(state.manifests.items()):
        size = projection.size(name)
        if size != manifest.entries:
            gaps.append(f"{_named(name)} has {size:,} of {manifest.entries:,} entries")
        unknown = sorted(set(manifest.key_ids) - set(key_ids))
        if unknown:
            gaps.append(f"{_named(name)} has tokens of keys that this key ring lacks: {', '.join(unknown)}")
    if state.heartbeat_ahead() > MAX_AHEAD_SECONDS:
        gaps.append("the last heartbeat is in the future, so a clock is wrong and nobody knows how old the lists are")
    elif state.manifests and state.heartbeat_age() > max_age:
        gaps.append("the lists role sends no heartbeat, so the lists may be out of date")
    return gaps


def _named(name: ListName) -> str:
    return f"{name[1]} of {name[0]}"
