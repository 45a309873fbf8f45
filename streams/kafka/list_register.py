"""The list register: every list that a batch was applied to, whatever becomes of the topic `watchlist`.

The lists role writes a list here in the transaction that applies a batch to it. So a topic `watchlist` that lost a list, or all of them,
is noticed, however long ago the list was pushed. So is one that lost its last batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from aiokafka import TopicPartition

from ninezero.schemas.events import Manifest
from ninezero.schemas.list_register import ListEntry
from ninezero.streams.errors import UserError
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.followed_topic import FollowedTopic
from ninezero.streams.kafka.internal_records import InternalRecords, Position
from ninezero.streams.kafka.topics import LIST_REGISTER
from ninezero.streams.kafka.watchlist_state import ListName
from ninezero.streams.settings import Settings


class RegisteredLists:
    """What the records of the topic state. Records in `set_aside` are passed over.

    Attributes:
        entries: the entry of each list.
    """

    def __init__(self, set_aside: Set[Position] = frozenset()) -> None:
        self.entries: dict[ListName, ListEntry] = {}
        self._records = InternalRecords(LIST_REGISTER, set_aside)

    def apply(self, records: Iterable[Any]) -> None:
        """Applies records in order.

        Raises:
            UnreadableRecord: a record cannot be read.
        """
        for record in self._records.remaining(list(records)):
            entry = self._records.decode(record)
            if entry is None:
                authority, _, name = record.key.decode().partition("|")
                self.entries.pop((authority, name), None)
            else:
                self.entries[entry.authority, entry.list] = entry

    def needed(self, name: ListName) -> bool:
        """Returns whether nobody may be screened without a list."""
        entry = self.entries.get(name)
        return entry is not None and not entry.dropped

    def missing(self, manifests: Mapping[ListName, Manifest]) -> list[ListName]:
        """Returns the needed lists that have no manifest, or one that is older than the last batch.

        Args:
            manifests: the manifests on the topic `watchlist`, read after the records of this topic.
        """
        return sorted(
            name for name in self.entries if self.needed(name) and self._is_missing(name, manifests.get(name))
        )

    def _is_missing(self, name: ListName, manifest: Manifest | None) -> bool:
        return manifest is None or manifest.sequence < self.entries[name].sequence


async def read_list_register(settings: Settings, set_aside: Set[Position]) -> RegisteredLists:
    """Returns what the list register states now.

    Raises:
        KafkaUnreachable: the broker does not answer.
        TopicsMissing: the topic is missing, or this user may not read it.
        UnreadableRecord: a record cannot be read.
    """
    await kafka.require_topics(settings, [LIST_REGISTER])
    lists, tp = RegisteredLists(set_aside), TopicPartition(settings.topic(LIST_REGISTER.name), 0)
    async with kafka.connected(kafka.consumer(settings, isolation_level="read_committed")) as reader:
        lists.apply([record async for record in kafka.read_to_end(reader, [tp])])
    return lists


class ListRegister(RegisteredLists):
    """Follows the list register.

    A batch that is applied while it is followed makes no list missing that has a manifest: the new one may be on its way.
    """

    def __init__(self, settings: Settings, set_aside: Set[Position] = frozenset()) -> None:
        super().__init__(set_aside)
        self._at_start: dict[ListName, ListEntry] = {}
        self._topic = FollowedTopic(settings, LIST_REGISTER, self.apply, isolation_level="read_committed")

    async def start(self) -> None:
        """Reads the topic to its end. Waits for a broker that does not answer.

        Raises:
            TopicLost: the topic does not exist.
            UnreadableRecord: a record cannot be read.
        """
        await self._topic.start()
        try:
            await self._topic.read_to_end()
            self._at_start = self.entries.copy()
        except UserError:
            await self.stop()  # the role ends with this error, and aiokafka logs a consumer that was not stopped
            raise

    def _is_missing(self, name: ListName, manifest: Manifest | None) -> bool:
        entry = self._at_start.get(name)
        return manifest is None or (entry is not None and manifest.sequence < entry.sequence)

    async def stop(self) -> None:
        """Disconnects."""
        await self._topic.stop()

    async def watch(self) -> None:
        """Applies new records. Never returns.

        Raises:
            TopicLost: the topic was deleted, truncated or created again.
            UnreadableRecord: a record cannot be read.
        """
        await self._topic.watch()
