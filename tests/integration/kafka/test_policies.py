"""A worker knows which policy is in force, or it waits: after a suspension, without its topic, during an outage, for a newer release."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from prometheus_client import generate_latest

from ninezero.agents.policies import policies as module
from ninezero.agents.policies.policies import Policies
from ninezero.schemas.policies import PolicyRecord, PolicyUse, policy_key, use_key
from ninezero.schemas.register import CurrentPolicy, SetAside
from ninezero.streams import settings
from ninezero.streams.kafka import administration, followed_topic
from ninezero.streams.kafka.followed_topic import TopicLost
from ninezero.streams.kafka.internal_records import UnreadableRecord
from ninezero.streams.kafka.records import OutgoingRecord, internal_record
from ninezero.streams.kafka.register import Register
from ninezero.streams.kafka.statements import state
from ninezero.streams.kafka.topics import POLICIES
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import Settings
from ninezero.streams.transport.offset_tracker import OffsetTracker
from tests.case_events import quarantine_event
from tests.integration.pipeline.test_pipeline import read_all
from tests.support import System, wait_for

POINTER = CurrentPolicy("winter", 2, "ops-1", datetime(2026, 3, 1, tzinfo=UTC))


@pytest.fixture
def given(kafka: Broker, tmp_path: Path) -> Settings:
    """A deployment without a policy."""
    found = settings.load(System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path).env)
    administration.create_topics(found, 1)
    return found


def policy(version: int = 2, **changed: Any) -> OutgoingRecord:
    """Returns the record of a policy `winter`."""
    fields = {
        "policy": "winter", "version": version, "author": "anna", "legal_basis": "JN-2026-17", "fever_c": 37.0,
        "plausible_c": [30.0, 45.0], "max_list_age_s": 300.0, "outcomes": {}, "home": "370115", "exempt_origins": [],
    } | changed  # fmt: skip
    return internal_record(POLICIES, policy_key("winter", version), PolicyRecord(**fields))


def active(start: datetime, version: int = 2) -> OutgoingRecord:
    """Returns the record that activates it."""
    use = PolicyUse("active", start, None, "ben")
    return internal_record(POLICIES, use_key("winter", version), use)


def soon() -> datetime:
    """Returns a time, in whole seconds, at which an activation that is written now may take effect."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=90)


def write(given: Settings, *records: OutgoingRecord) -> None:
    """Writes records to the topic."""
    with closing(KafkaProducer(bootstrap_servers=given.kafka)) as producer:
        for one in records:
            producer.send(given.topic(POLICIES.name), one.value, one.key, one.headers).get(30)


def ms(at: datetime) -> int:
    """Returns a time as Unix time in ms."""
    return int(at.timestamp() * 1000)


def suspend(seconds: float) -> None:
    """Lets nothing run in this process, as SIGSTOP does."""
    time.sleep(seconds)


class Worker:
    """The policies of a worker, and the tasks that follow both topics."""

    def __init__(self, given: Settings) -> None:
        self.register = Register(given)
        self.policies = Policies(given, self.register)
        self.watching: asyncio.Task[None]

    async def failed(self) -> Exception:
        """Waits until following the policies ends, and returns why."""
        with pytest.raises(ExceptionGroup) as found:
            await asyncio.wait_for(asyncio.shield(self.watching), 60)
        [error] = found.value.exceptions
        return error


@contextlib.asynccontextmanager
async def working(given: Settings) -> AsyncIterator[Worker]:
    """Follows both topics meanwhile."""
    worker = Worker(given)
    await worker.register.start()
    await worker.policies.start()
    worker.watching = asyncio.create_task(worker.policies.watch())
    statements = asyncio.create_task(worker.register.watch())
    try:
        yield worker
    finally:
        for task in (worker.watching, statements):
            task.cancel()
        await worker.policies.stop()
        await worker.register.stop()


async def until(done: Any, what: str) -> None:
    """Waits until `done()`."""
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, f"waited 60 s for {what}"
        await asyncio.sleep(0.05)


def in_force() -> list[str]:
    """Returns the samples of ninezero_policy_info."""
    lines = generate_latest().decode().splitlines()
    return [line for line in lines if line.startswith("ninezero_policy_info{")]


def test_the_policy_in_force_follows_the_topic_and_each_refusal_is_logged_once(
    given: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ninezero.policies")

    async def scenario() -> None:
        async with working(given) as worker:
            policies = worker.policies
            assert policies.why_not_ready == "the topic policies is not read to its end yet"
            await asyncio.wait_for(policies.wait_until_current(), 30)
            assert policies.why_not_ready is None and policies.at(ms(soon())).active.label == "default@1"
            assert in_force() == ['ninezero_policy_info{policy="default",version="1"} 1.0']
            start = soon()
            write(given, policy(1), active(datetime.now(UTC), 1), policy(2), active(start, 2))
            await until(lambda: policies.at(ms(start)).active.label == "winter@2", "the activation")
            assert policies.at(ms(start) - 1).active.label == "default@1" and policies.changes >= 1
            assert policies.timeline.policies.keys() == {"winter@1", "winter@2"}
        async with working(given) as again:
            await asyncio.wait_for(again.policies.wait_until_current(), 30)
            assert again.policies.timeline.intervals == policies.timeline.intervals

    asyncio.run(scenario())
    said = [record.message for record in caplog.records]
    assert sum("has no effect: winter@1: what is active can be changed 60 seconds after" in one for one in said) == 2
    assert said.count("the policy default@1 is in force") == 2


def test_an_activation_that_is_written_while_a_process_is_suspended_is_known_before_it_decides(
    given: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CURRENT_SECONDS", 1.5)

    async def scenario() -> None:
        async with working(given) as worker:
            await worker.policies.wait_until_current()
            start = soon()
            write(given, policy(), active(start))
            suspend(2)
            assert worker.policies.at(ms(start)).active.label == "default@1"
            assert "does not answer" in str(worker.policies.why_not_ready)
            await asyncio.wait_for(worker.policies.wait_until_current(), 30)
            assert worker.policies.at(ms(start)).active.label == "winter@2"
            assert worker.policies.why_not_ready is None

    asyncio.run(scenario())


def test_nothing_is_decided_while_the_broker_does_not_answer_for_longer_than_is_safe(
    given: Settings, kafka: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "CURRENT_SECONDS", 2.0)
    pid = kafka.status().pid
    assert pid is not None

    async def scenario() -> None:
        async with working(given) as worker:
            await worker.policies.wait_until_current()
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.wait_for(worker.policies.wait_until_current(), 0.5)
                await until(lambda: worker.policies.why_not_ready is not None, "the outage")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(worker.policies.wait_until_current(), 0.5)
            finally:
                os.kill(pid, signal.SIGCONT)
            await asyncio.wait_for(worker.policies.wait_until_current(), 60)
            await until(lambda: worker.policies.why_not_ready is None, "the end of the outage")

    asyncio.run(scenario())
    said = " ".join(record.message for record in caplog.records)
    assert "not ready: the topic policies does not answer" in said


def test_a_topic_without_the_policy_that_was_activated_last_is_waited_for(given: Settings) -> None:
    state(given, POINTER)

    async def scenario() -> None:
        async with working(given) as worker:
            await until(lambda: worker.policies._topic.age < math.inf, "the topic to be read")
            for records in ((), (policy(),)):  # the policy alone is no activation
                write(given, *records)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(worker.policies.wait_until_current(), 3)
                assert "the topic policies lacks winter@2" in str(worker.policies.why_not_ready) and not in_force()
            write(given, active(soon()))
            await asyncio.wait_for(worker.policies.wait_until_current(), 30)
            assert worker.policies.why_not_ready is None
            # The pointer follows the records, so a worker that reads it first does not become unready.
            write(given, policy(3), active(soon(), 3))
            state(given, CurrentPolicy("winter", 3, "ops-1", POINTER.at))
            for _ in range(40):
                assert worker.policies.ready.is_set()
                await asyncio.sleep(0.05)

    asyncio.run(scenario())


def test_events_under_a_policy_of_a_newer_release_wait_and_earlier_ones_do_not(
    given: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    replay = replace(given, replay=True)
    start = datetime(2026, 1, 5, 8, tzinfo=UTC)

    async def scenario() -> None:
        write(given, policy(outcomes={"hypothermia": "hold"}), active(start))
        async with working(replay) as worker:
            policies = worker.policies
            await policies.wait_until_current()
            expected = "the policy winter@2 is in force and this release cannot apply it: start a newer release"
            assert policies.why_not_ready == expected
            times = [policies.time_of(0, at * 1000) for at in (ms(start) - 2, ms(start) - 1, ms(start), ms(start) - 1)]
            assert policies.known_before(times) == 2 and policies.known_before(times[:2]) == 2
            tracker = OffsetTracker()
            assert await policies.wait_until_known(times[:2], tracker)
            waiting = asyncio.create_task(policies.wait_until_known(times, tracker))
            await asyncio.sleep(1.5)
            assert not waiting.done()
            tracker.close()
            assert not await asyncio.wait_for(waiting, 30)
            waiting = asyncio.create_task(policies.wait_until_known(times, OffsetTracker()))
            write(given, policy(3), active(start - timedelta(days=1), 3), ended(start))
            assert await asyncio.wait_for(waiting, 30)

    asyncio.run(scenario())
    assert "not ready: the policy winter@2" in caplog.text


def ended(start: datetime) -> OutgoingRecord:
    """Returns the record that cancels an activation."""
    return internal_record(POLICIES, use_key("winter", 2), PolicyUse("active", start, start, "ben"))


def test_a_record_that_cannot_be_read_ends_the_reader_until_it_is_set_aside(given: Settings) -> None:
    async def scenario() -> None:
        start = soon()
        async with working(given) as worker:
            await worker.policies.wait_until_current()
            write(
                given,
                policy(),
                OutgoingRecord(POLICIES, b"winter|3", b"{}", [("format", b"policies/9")]),
                active(start),
            )
            error = await worker.failed()
            assert isinstance(error, UnreadableRecord) and "policies, partition 0, offset 1, format policies/9" in str(
                error
            )
        async with working(given) as worker:
            assert isinstance(await worker.failed(), UnreadableRecord)
        state(given, SetAside("policies", 0, 1, "ops-1", datetime.now(UTC)))
        async with working(given) as worker:
            await worker.policies.wait_until_current()
            assert worker.policies.at(ms(start)).active.label == "winter@2"

    asyncio.run(scenario())


def test_a_topic_that_is_deleted_ends_the_reader(given: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_topic, "ANSWER_SECONDS", 1.0)

    async def scenario() -> None:
        async with working(given) as worker:
            await worker.policies.wait_until_current()
            with closing(KafkaAdminClient(bootstrap_servers=given.kafka)) as admin:
                await asyncio.to_thread(admin.delete_topics, [given.topic(POLICIES.name)])
            assert isinstance(await worker.failed(), TopicLost)

    asyncio.run(scenario())


def readiness(system: System) -> str:
    """Returns what /readyz of the ledgers role answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{system.http + 2}/readyz", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError:
        return ""


def test_a_reading_is_judged_by_the_policy_of_its_time_and_a_lost_topic_stops_the_role(
    kafka: Broker, tmp_path: Path
) -> None:
    system = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path, NINEZERO_REPLAY="1")
    system.prepare()
    given = settings.load(system.env)
    topic, start = given.topic(POLICIES.name), datetime(2026, 1, 5, 8, tzinfo=UTC)
    state(given, POINTER)
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.delete_topics([topic])
        wait_for(lambda: topic not in admin.list_topics(), 10, "the topic to be deleted")
        missing = system.run("worker", "ledgers")
        assert (
            missing.returncode == 1
            and b"topics are missing" in missing.stderr
            and b"ninezero topics create" in missing.stderr
        )
        assert topic.encode() in system.run("topics", "create").stdout
        try:
            system.start("ledgers", "recording")
            wait_for(lambda: "not ready: the topic policies lacks winter@2" in readiness(system), 30, "the reason")
            write(given, policy(fever_c=38.0), active(start))
            wait_for(lambda: readiness(system) == "ready\n", 30, "the role to be ready")
            events = [quarantine_event("admitted", start - timedelta(hours=3), n=1)]
            for seq, minutes in enumerate((-1, 0, 1), 1):  # the second and third are at or after the activation
                at = start + timedelta(minutes=minutes)
                events.append(quarantine_event("reading", at, n=1, seq=seq, temperature_c=37.5, slot="pm"))
            with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
                for event in events:
                    producer.send(given.topic("quarantine-events"), orjson.dumps(event), event["case_id"].encode())
            wait_for(lambda: len(facts(system)) == 4, 30, "the facts")
            assert facts(system) == {0: 0, 1: 1, 2: 0, 3: 0}
            fevers = [one for one in read_all(system, "screening-alerts") if one["rule"] == "fever"]
            assert len(fevers) == 1 and "the policy winter@2 is in force" in system.logs()
            admin.delete_topics([topic])
            wait_for(lambda: system.workers["ledgers"].poll() == 1, 30, "the role to end")
        finally:
            system.stop()
    assert f"the topic {topic} was deleted, truncated or created again" in system.logs()
    assert "Traceback" not in system.logs()


def facts(system: System) -> dict[int, int]:
    """Returns by number whether each recorded event is a fever."""
    rows = system.query(
        "SELECT fact.seq AS seq, fact.fever AS fever FROM (SELECT JSONExtract(facts, 'Array(Tuple(seq UInt64, fever UInt8))')"
        " AS all_facts FROM ninezero_data.quarantine_cases FINAL) ARRAY JOIN all_facts AS fact"
    )
    return {int(row["seq"]): int(row["fever"]) for row in rows}
