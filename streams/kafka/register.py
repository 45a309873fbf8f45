"""The register: what operators state about the deployment. Every role reads it at its start, then follows it.

A statement takes effect on every running worker within seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from ninezero.schemas.formats import FORMATS, FormatsRejected, adopt
from ninezero.schemas.register import SetAside, StatedFormats
from ninezero.streams.errors import UserError
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.internal_records import InternalRecords, Position, UnreadableRecord
from ninezero.streams.kafka.topics import REGISTER
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.register")

FETCH_WAIT_MS = 3000
"""Longest time that the broker holds a fetch request. A new statement is delivered immediately."""

RETRY_SECONDS = 1.0
"""Pause before the topic is read again after an error."""


class Statements:
    """What the records of the register state.

    Attributes:
        formats: the formats that are written; None before an upgrade was finished.
        set_aside: the records that are passed over, with who stated it. Readers keep a reference to the keys.
    """

    def __init__(self) -> None:
        self.formats: StatedFormats | None = None
        self.statements: dict[Position, SetAside] = {}
        self.set_aside: set[Position] = set()

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
    """Follows the register, and writes every format in the number that it states."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._tp = TopicPartition(settings.topic(REGISTER.name), 0)
        self._consumer: Any = None

    async def start(self) -> None:
        """Reads the topic to its end. Waits for a broker that does not answer.

        Raises:
            UnreadableRecord: a record cannot be read.
            UserError: the deployment writes formats that this release does not know.
        """
        self._consumer = kafka.consumer(
            self._settings, fetch_max_wait_ms=FETCH_WAIT_MS, isolation_level="read_committed"
        )
        await self._consumer.start()
        while True:
            try:
                self._apply([record async for record in kafka.read_to_end(self._consumer, [self._tp])])
                return
            except KafkaError as error:
                await self._wait(error)
            except UserError:
                await self.stop()  # the role ends with this error, and aiokafka logs a consumer that was not stopped
                raise

    async def stop(self) -> None:
        """Disconnects."""
        if self._consumer is not None:
            await self._consumer.stop()

    async def watch(self) -> None:
        """Applies new records. Never returns.

        Raises:
            UnreadableRecord: a record cannot be read.
            UserError: the deployment writes formats that this release does not know.
        """
        while True:
            try:
                fetched = await self._consumer.getmany(self._tp, timeout_ms=60_000)
            except KafkaError as error:
                await self._wait(error)
                continue
            self._apply(fetched.get(self._tp, ()))

    def _apply(self, records: Iterable[Any]) -> None:
        before = self.formats
        self.apply(records)
        if self.formats is None or self.formats == before:
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

    async def _wait(self, error: KafkaError) -> None:
        name = type(error).__name__
        log.warning("the register cannot be read (%s); retrying", name, extra=kafka.outage_mark(error))
        await asyncio.sleep(RETRY_SECONDS)
