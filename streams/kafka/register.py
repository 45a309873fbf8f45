"""The register: what operators state about the deployment. Every role reads it at its start, then follows it.

A statement takes effect on every running worker within seconds.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

from aiokafka import TopicPartition

from ninezero.schemas.formats import FORMATS, FormatsRejected, adopt
from ninezero.schemas.register import CurrentPolicy, SetAside, Site, StatedFormats
from ninezero.streams.errors import UserError
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.followed_topic import FollowedTopic, Instant
from ninezero.streams.kafka.internal_records import InternalRecords, Position, UnreadableRecord
from ninezero.streams.kafka.topics import REGISTER
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.register")


class Statements:
    """What the records of the register state.

    Attributes:
        formats: the formats that are written; None before an upgrade was finished.
        statements: the records that are passed over, with who stated it.
        set_aside: the same records. Readers keep a reference to it.
        sites: the sites, by site_id.
        current_policy: the policy that was activated last; None if none was.
    """

    def __init__(self) -> None:
        self.formats: StatedFormats | None = None
        self.statements: dict[Position, SetAside] = {}
        self.set_aside: set[Position] = set()
        self.sites: dict[str, Site] = {}
        self.current_policy: CurrentPolicy | None = None

    def apply(self, records: Iterable[Any]) -> None:
        """Applies records in order.

        Raises:
            UnreadableRecord: a record cannot be read and is not set aside by a record before it or in the same call.
        """
        reader = InternalRecords(REGISTER, self.set_aside)
        unreadable: dict[Position, UnreadableRecord] = {}
        for record in records:
            try:
                value = reader.decode(record)
            except UnreadableRecord as error:
                unreadable[error.position] = error
                continue
            if isinstance(value, StatedFormats):
                self.formats = value
            elif isinstance(value, SetAside):
                position = Position(value.topic, value.partition, value.offset)
                self.statements[position] = value
                self.set_aside.add(position)
            elif isinstance(value, Site):
                self.sites[value.site_id] = value
            elif isinstance(value, CurrentPolicy):
                self.current_policy = value
            elif value is None:
                kind, _, name = record.key.decode().partition("|")
                if kind == "site":
                    self.sites.pop(name, None)
        for position in unreadable.keys() - self.set_aside:
            raise unreadable[position]


async def read_register(settings: Settings) -> Statements:
    """Returns what the register states now.

    Raises:
        KafkaUnreachable: the broker does not answer.
        TopicsMissing: the topic is missing.
        UnreadableRecord: a record cannot be read.
    """
    await kafka.require_topics(settings, [REGISTER])
    statements, tp = Statements(), TopicPartition(settings.topic(REGISTER.name), 0)
    async with kafka.connected(kafka.consumer(settings)) as reader:
        statements.apply([record async for record in kafka.read_to_end(reader, [tp])])
    return statements


class Register(Statements):
    """Follows the register, and writes every format in the number that it states.

    Attributes:
        changes: the number of times that new records were applied.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.changes = 0
        self._current_policy_since: Instant | None = None
        self._topic = FollowedTopic(settings, REGISTER, self._apply)

    @property
    def current_policy_age(self) -> float:
        """The seconds since this process learned which policy was activated last; infinite if none was."""
        return math.inf if self._current_policy_since is None else self._current_policy_since.age()

    async def start(self) -> None:
        """Reads the topic to its end. Waits for a broker that does not answer.

        Raises:
            UnreadableRecord: a record cannot be read.
            UserError: the deployment writes formats that this release does not know.
        """
        await self._topic.start()
        try:
            await self._topic.read_to_end()
        except UserError:
            await self.stop()  # the role ends with this error, and aiokafka logs a consumer that was not stopped
            raise

    async def stop(self) -> None:
        """Disconnects."""
        await self._topic.stop()

    async def watch(self) -> None:
        """Applies new records. Never returns.

        Raises:
            TopicLost: the topic was deleted, truncated or created again.
            UnreadableRecord: a record cannot be read.
            UserError: the deployment writes formats that this release does not know.
        """
        await self._topic.watch()

    def _apply(self, records: Iterable[Any]) -> None:
        formats, policy = self.formats, self.current_policy
        self.apply(records)
        self.changes += 1
        if self.current_policy != policy:
            self._current_policy_since = Instant.now()
        if self.formats is None or self.formats == formats:
            return
        try:
            adopt(FORMATS, self.formats.formats)
        except FormatsRejected as error:
            raise UserError(
                f"the deployment finished its upgrade to release {self.formats.release} and writes {error}, which this"
                " release does not know: start that release or a newer one; there is no way back"
            ) from None
        written = " ".join(f"{one.name}/{one.written}" for one in FORMATS)
        log.info("writing %s, as the upgrade to release %s was finished", written, self.formats.release)
