"""A role describes errors without their text, and logs failures of periodic work."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ninezero.agents.roles import recreated_topics
from ninezero.agents.roles.logs.error_description import describe
from ninezero.agents.roles.logs.kafka_failures import kafka_failure
from ninezero.streams.kafka.sync import KafkaForbidden, KafkaUnreachable

SECRET = "k1.9f86d081884c7d659a2feaa0c55ad015"


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_the_description_of_an_error_has_its_type_and_place_and_not_its_text() -> None:
    text = describe(raised(ValueError(SECRET)))
    assert text.startswith("ValueError in raised:")
    assert SECRET not in text


def test_the_description_of_a_group_is_that_of_its_first_error() -> None:
    group = raised(ExceptionGroup(SECRET, [raised(KeyError(SECRET)), raised(ValueError())]))
    assert describe(group).startswith("KeyError in raised:")


def test_an_error_that_was_never_raised_has_no_known_place() -> None:
    assert describe(ValueError(SECRET)) == "ValueError in an unknown place"


@pytest.mark.parametrize(("error", "outage"), [(KafkaUnreachable, True), (KafkaForbidden, False)])
def test_only_an_unreachable_broker_counts_as_an_outage_of_kafka(
    error: type[Exception], outage: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(settings: Any) -> dict[str, str]:
        raise error("no")

    monkeypatch.setattr(recreated_topics, "TOPICS_SECONDS", 0.0)
    monkeypatch.setattr(recreated_topics, "topic_ids", fail)
    role: Any = SimpleNamespace(topic_ids={}, settings=SimpleNamespace(topic=str))
    answers: list[None] = []

    async def watch() -> None:
        watching = asyncio.create_task(recreated_topics.watch_topics(role, lambda: answers.append(None)))
        while not caplog.records:
            await asyncio.sleep(0.01)
        watching.cancel()

    asyncio.run(asyncio.wait_for(watch(), 10))
    assert (kafka_failure(caplog.records[0]) is not None) == outage
    assert not answers
