"""The register is followed: complete as of a known time, never with less than it holds, and never past the loss of its topic."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from ninezero.schemas.register import SetAside, register_key
from ninezero.streams import settings
from ninezero.streams.kafka import administration, followed_topic
from ninezero.streams.kafka.followed_topic import FollowedTopic, TopicLost
from ninezero.streams.kafka.internal_records import Position, UnreadableRecord
from ninezero.streams.kafka.records import internal_record
from ninezero.streams.kafka.register import Register
from ninezero.streams.kafka.statements import state
from ninezero.streams.kafka.topics import REGISTER
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import Settings
from tests.support import System


@pytest.fixture
def given(kafka: Broker, tmp_path: Path) -> Settings:
    """A deployment with an empty register."""
    found = settings.load(System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path).env)
    administration.create_topics(found, 1)
    return found


@pytest.fixture
def admin(kafka: Broker) -> Iterator[KafkaAdminClient]:
    """An administrator of the broker."""
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as client:
        yield client


def aside(offset: int) -> SetAside:
    """Returns a statement."""
    return SetAside("screening-decisions", 0, offset, "ops-1", datetime.now(UTC))


def suspend(seconds: float) -> None:
    """Lets nothing run in this process, as SIGSTOP does."""
    time.sleep(seconds)


@contextlib.asynccontextmanager
async def followed(register: Register | FollowedTopic) -> AsyncIterator[asyncio.Task[None]]:
    """Follows a topic, and yields the task that does."""
    await register.start()
    watching = asyncio.create_task(register.watch())
    try:
        yield watching
    finally:
        watching.cancel()
        await register.stop()


async def lost(watching: asyncio.Task[None]) -> str:
    """Waits until following ends because the topic is lost, and returns the message."""
    with pytest.raises(TopicLost) as error:
        await asyncio.wait_for(asyncio.shield(watching), 60)
    return str(error.value)


def test_a_statement_is_applied_within_a_second_and_counted_as_a_change(given: Settings) -> None:
    async def scenario() -> None:
        state(given, aside(1))
        register = Register(given)
        async with followed(register):
            assert register.set_aside == {Position("screening-decisions", 0, 1)} and register.changes == 1
            for offset in (2, 3):
                began = time.monotonic()
                await asyncio.to_thread(state, given, aside(offset))
                while Position("screening-decisions", 0, offset) not in register.set_aside:
                    await asyncio.sleep(0.01)
                assert time.monotonic() - began < 15 and register.changes == offset

    asyncio.run(scenario())


@pytest.mark.parametrize("committed", [True, False])
def test_an_open_transaction_hides_nothing(given: Settings, committed: bool) -> None:
    """A record counts from its Kafka timestamp on. A transaction may stay open for longer than the notice of an activation."""

    async def scenario() -> None:
        register = Register(given)
        with closing(KafkaProducer(bootstrap_servers=given.kafka, transactional_id=f"{given.topic_prefix}op")) as other:
            other.init_transactions()
            other.begin_transaction()
            record = internal_record(REGISTER, register_key(aside(1)), aside(1))
            other.send(given.topic(REGISTER.name), record.value, record.key, record.headers).get(30)
            state(given, aside(2))
            async with followed(register):
                assert {place.offset for place in register.set_aside} == {1, 2}
                await asyncio.to_thread(other.commit_transaction if committed else other.abort_transaction)
                state(given, aside(3))
                while len(register.set_aside) < 3:  # reading goes on past the end of the transaction
                    await asyncio.sleep(0.01)
                await register._topic.wait_until_current(1.5)

    asyncio.run(scenario())


def test_what_comes_while_a_process_is_suspended_is_applied_before_it_is_current(given: Settings) -> None:
    async def scenario() -> None:
        register = Register(given)
        topic = register._topic
        async with followed(register):
            await topic.wait_until_current(1.5)
            state(given, aside(7))  # blocks this process, too
            suspend(2)
            assert not register.set_aside and topic.age > 1.5
            await topic.wait_until_current(1.5)
            assert register.set_aside and topic.age < 1.5

    asyncio.run(scenario())


def test_a_register_that_was_deleted_or_truncated_ends_its_reader(
    given: Settings, admin: KafkaAdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_topic, "ANSWER_SECONDS", 1.0)
    name = given.topic(REGISTER.name)

    async def scenario() -> None:
        state(given, aside(1))
        state(given, aside(2))
        async with followed(Register(given)) as watching:
            policy = ConfigResource(ConfigResourceType.TOPIC, name, {"cleanup.policy": "compact,delete"})
            await asyncio.to_thread(admin.alter_configs, [policy])
            await asyncio.to_thread(admin.delete_records, {TopicPartition(name, 0): 1})
            assert f"the topic {name} was deleted, truncated or created again" in await lost(watching)
        async with followed(Register(given)) as watching:
            await asyncio.to_thread(admin.delete_topics, [name])
            assert "run ninezero doctor" in await lost(watching)
        with pytest.raises(TopicLost):
            await asyncio.wait_for(Register(given).start(), 60)

    asyncio.run(scenario())


def test_a_register_that_was_created_again_with_fewer_records_ends_its_reader(
    given: Settings, admin: KafkaAdminClient
) -> None:
    async def scenario() -> None:
        state(given, aside(1))
        async with followed(Register(given)) as watching:
            await asyncio.to_thread(admin.delete_topics, [given.topic(REGISTER.name)])
            while not watching.done():
                with contextlib.suppress(Exception):  # the broker may still delete it
                    await asyncio.to_thread(administration.create_topics, given, 1)
                await asyncio.sleep(0.2)
            await lost(watching)

    asyncio.run(scenario())


def test_a_record_that_is_set_aside_far_behind_it_is_passed_over_at_the_start(given: Settings, kafka: Broker) -> None:
    name = given.topic(REGISTER.name)
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
        producer.send(name, b"{}", b"site|gate-1", [("format", b"register/99")]).get(10)
        with pytest.raises(UnreadableRecord):
            asyncio.run(Register(given).start())
        for offset in range(3000):
            record = internal_record(REGISTER, register_key(aside(offset)), aside(offset))
            producer.send(name, record.value, record.key, record.headers)
        producer.flush()
    state(given, SetAside("register", 0, 0, "ops-1", datetime.now(UTC)))

    async def scenario() -> None:
        register = Register(given)
        async with followed(register):
            assert len(register.set_aside) == 3001 and register.changes == 1

    asyncio.run(scenario())
