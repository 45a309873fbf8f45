"""The log output of a worker condenses repeated records and writes the documented formats."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import re
import ssl
import sys
from typing import Any

import aiokafka.errors
import kafka.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninezero.agents.roles.logs import condenser as condenser_module
from ninezero.agents.roles.logs.condenser import REPEAT_QUIET_SECONDS, Condenser
from ninezero.agents.roles.logs.formats import JsonFormatter, TextFormatter, redact
from ninezero.agents.roles.logs.kafka_failures import kafka_failure
from ninezero.agents.roles.logs.output import LogOutput
from ninezero.streams.errors import DEPENDENCY
from ninezero.streams.kafka import client
from ninezero.streams.kafka.sync import KafkaUnreachable
from ninezero.streams.settings import load

TOKEN = "k1xbtq.9f86d081884c7d659a2feaa0c55ad015"
EDGE = {"NINEZERO_ORDER": "o", "NINEZERO_KAFKA": "127.0.0.1:1", "NINEZERO_SUNSET": "2030-01-01T00:00:00Z"}
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def record(name: str, message: str, *arguments: Any, level: int = logging.ERROR, **extra: Any) -> logging.LogRecord:
    log_record = logging.LogRecord(name, level, "", 1, message, arguments, None)
    log_record.__dict__.update(extra)
    return log_record


def written(records: list[logging.LogRecord]) -> list[str]:
    return [f"{one.levelname} {one.name}: {one.getMessage()}" for one in records]


CONNECTION_FAILURES = [
    record("aiokafka", "Unable connect to node with id %s: %s", 1, REFUSED),
    record("aiokafka", "Unable to update metadata from %s", [1]),
    record("aiokafka.consumer.fetcher", "Failed fetch messages from %s: %s", 1, aiokafka.errors.NodeNotReadyError("x")),
    record("kafka.net.manager", "Connection failed: %s", kafka.errors.KafkaConnectionError("111 ECONNREFUSED")),
    record("kafka.net.manager", "Bootstrap %s not ready; waiting %.2f secs", "bootstrap-0", 0.5, level=logging.WARNING),
    record("ninezero.roles", "the topics cannot be checked", level=logging.WARNING, **{DEPENDENCY: "Kafka"}),
]
OTHER_FAILURES = [
    record("aiokafka", "Unable connect to node with id %s: %s", 1, ssl.SSLError(1, "certificate verify failed")),
    record("aiokafka", "Unable connect to node with id %s: %s", 1, OSError(errno.EMFILE, "Too many open files")),
    record("aiokafka.consumer.group_coordinator", "%s", aiokafka.errors.GroupAuthorizationFailedError("g")),
    record("aiokafka", "Unable to read the moon"),
    record("asyncio", "Task exception was never retrieved: %s", REFUSED),
]


@pytest.mark.parametrize("failure", CONNECTION_FAILURES, ids=lambda one: one.getMessage())
def test_a_record_of_a_client_that_cannot_reach_a_broker_is_recognised(failure: logging.LogRecord) -> None:
    assert kafka_failure(failure) == "connection"


@pytest.mark.parametrize("failure", OTHER_FAILURES, ids=lambda one: one.getMessage())
def test_a_record_of_another_failure_is_not_taken_for_an_outage_and_is_written(failure: logging.LogRecord) -> None:
    assert kafka_failure(failure) is None
    condenser = Condenser()
    for known in CONNECTION_FAILURES:
        condenser.condense(known, 0.0)
    assert condenser.condense(failure, 1.0) == [failure]


def test_an_outage_of_kafka_is_one_line_at_its_beginning_one_a_minute_and_one_at_its_end() -> None:
    condenser, lines = Condenser(), []
    for tenth in range(1300):  # ten failures a second for 130 seconds
        for failure in CONNECTION_FAILURES[:1] if tenth % 2 else CONNECTION_FAILURES[1:2]:
            lines += condenser.condense(failure, tenth / 10)
    lines += condenser.kafka_answered(135.0)
    assert len(lines) == 3
    lines += condenser.kafka_answered(138.0)
    assert written(lines) == [
        "ERROR ninezero.kafka: Kafka connections fail; this role retries until they work: Unable to update metadata from [1]",
        "ERROR ninezero.kafka: Kafka connections still fail (601 times in 60 s): Unable to update metadata from [1]",
        "ERROR ninezero.kafka: Kafka connections still fail (1201 times in 120 s): Unable to update metadata from [1]",
        "INFO ninezero.kafka: Kafka connections work again after 130 s and 1300 failures",
    ]


def test_a_coordinator_that_is_slow_to_start_is_tolerated_for_a_while() -> None:
    error = aiokafka.errors.GroupCoordinatorNotAvailableError()
    failure = record("aiokafka.consumer.group_coordinator", "Group Coordinator Request failed: %s", error)
    condenser = Condenser()
    assert [condenser.condense(failure, float(n)) for n in range(20)] == [[]] * 20
    assert len(condenser.condense(failure, 20.0)) == 1


def test_records_below_a_warning_are_never_condensed() -> None:
    condenser, info = Condenser(), record("ninezero", "retention: %s", "day", level=logging.INFO)
    assert [condenser.condense(info, 0.0) for _ in range(3)] == [[info]] * 3


def test_records_of_ours_that_differ_in_a_name_or_number_are_all_written() -> None:
    condenser = Condenser()
    for partition in range(5):
        moved = record("ninezero.chunks", "%s-%d continues at offset %d", "scans", partition, 7)
        assert condenser.condense(moved, 0.0) == [moved]
    retried = [record("ninezero.sink", "%s; trying again in %.1f s", "lost", 0.1 * 2**n) for n in range(4)]
    assert [len(condenser.condense(one, 1.0)) for one in retried] == [1, 0, 0, 0]


KINDS = [record("ninezero.sink", "cannot write"), record("asyncio", "odd"), record("aiokafka", "no moon %d", 5)]
DURATIONS = st.sampled_from([0.0, 1.0, 5.0, 5.0, 10.0, 10.0, 10.0, 40.0])
STEPS = st.lists(st.tuples(st.sampled_from([KINDS[0], KINDS[0], *KINDS]), DURATIONS), min_size=20, max_size=80)


def test_every_record_is_written_or_counted() -> None:
    seen = {"repeated": 0, "ended": 0, "unfinished": 0}

    @given(steps=STEPS)
    def agree(steps: list[tuple[logging.LogRecord, float]]) -> None:
        condenser, now, lines = Condenser(), 0.0, []
        for one, seconds in steps:
            now += seconds
            lines += condenser.sweep(now) + condenser.condense(one, now)
        lines += condenser.finish()
        for kind in KINDS:
            earlier, latest = 0, 0  # records counted in ended episodes, and in the latest one
            for text in [line.getMessage() for line in lines if line.name == kind.name]:
                if text == kind.getMessage():
                    earlier, latest = earlier + latest, 1
                elif more := re.search(r"\((\d+) more times\)$", text):
                    latest += int(more[1])
                    seen["unfinished"] += 1
                else:
                    found = re.search(r"(\d+) times in", text)
                    assert found is not None, text
                    latest = int(found[1])
                    seen["ended" if text.startswith("no longer") else "repeated"] += 1
            assert earlier + latest == sum(one is kind for one, _ in steps)

    agree()
    assert min(seen.values()) > 5, seen


def test_a_kind_that_is_forgotten_has_its_repetitions_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condenser_module, "MAX_KINDS", 2)
    condenser, kinds = Condenser(), [record("ninezero.sink", f"lost {name}") for name in "abc"]
    lines = [line for one in (*kinds[:2], kinds[0], kinds[0], kinds[2]) for line in condenser.condense(one, 0.0)]
    assert [line.getMessage() for line in lines] == ["lost a", "lost b", "lost a (2 more times)", "lost c"]


def test_a_repetition_that_ends_is_reported_with_its_count() -> None:
    condenser, failure = Condenser(), record("ninezero.sink", "lost")
    assert condenser.condense(failure, 0.0) == [failure]
    assert condenser.condense(failure, 10.0) == []
    assert condenser.sweep(10.0 + REPEAT_QUIET_SECONDS - 0.1) == []
    ended = condenser.sweep(10.0 + REPEAT_QUIET_SECONDS)
    assert written(ended) == ["INFO ninezero.sink: no longer repeated after 2 times in 10 s: lost"]


def test_a_message_that_does_not_fit_its_arguments_does_not_fail_the_caller(capsys: pytest.CaptureFixture[str]) -> None:
    output = LogOutput()
    output.handle(record("x", "%d", "text"))
    assert "Logging error" in capsys.readouterr().err


def test_a_repeated_record_keeps_no_traceback_alive() -> None:
    condenser = Condenser()
    try:
        raise ValueError("reason")
    except ValueError:
        failure = record("asyncio", "failed")
        failure.exc_info = sys.exc_info()
    assert condenser.condense(failure, 0.0) == [failure]
    assert all(repeated.record.exc_info is None for repeated in condenser._repeated.values())


def failed(error: Exception) -> logging.LogRecord:
    failure = record("aiokafka.consumer.fetcher", "Unexpected error in fetcher routine")
    try:
        raise error
    except type(error):
        failure.exc_info = sys.exc_info()
    return failure


def test_another_error_under_the_message_of_an_earlier_one_is_written_with_its_traceback() -> None:
    condenser, first, second = Condenser(), failed(ValueError("a")), failed(KeyError("b"))
    assert condenser.condense(first, 0.0) == [first]
    assert condenser.condense(failed(ValueError("c")), 1.0) == []
    assert condenser.condense(second, 2.0) == [second]


def test_a_worker_keeps_the_errors_of_its_kafka_client_after_the_check_of_the_topics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = logging.getLogger("aiokafka").level
    monkeypatch.setattr(client, "REQUIRE_SECONDS", 0.1)
    with pytest.raises(KafkaUnreachable):
        asyncio.run(client.require_topics(load(EDGE, edge=True), []))
    assert logging.getLogger("aiokafka").level == before


def test_a_json_line_has_time_level_logger_message_and_role() -> None:
    log_record = record("ninezero.sink", "lost %s\nof %s", "rows", "today", level=logging.WARNING)
    log_record.created = 1_580_779_800.25
    line = JsonFormatter("recording").format(log_record)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2020-02-04T01:30:00.250+00:00",
        "level": "WARNING",
        "logger": "ninezero.sink",
        "message": "lost rows\nof today",
        "role": "recording",
    }


def test_a_json_line_holds_the_traceback() -> None:
    try:
        raise ValueError("reason")
    except ValueError:
        log_record = record("asyncio", "failed")
        log_record.exc_info = sys.exc_info()
    assert json.loads(JsonFormatter("lists").format(log_record))["exception"].endswith("ValueError: reason")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"value {TOKEN!r} is bad", "value '[token]' is bad"),
        (f"证件{TOKEN}号, x_{TOKEN}_", "证件[token]号, x_[token]_"),
        ("case c.000000000000000000000000000000ff", "case [token]"),
        ("number 11010519491231002X,", "number [number],"),
        ("offset 12345678901 at 10.0.0.1:9092", "offset 12345678901 at 10.0.0.1:9092"),
    ],
)
def test_tokens_case_numbers_and_resident_numbers_are_redacted(text: str, redacted: str) -> None:
    assert redact(text) == redacted
    assert TextFormatter().format(record("x", text)).endswith(redacted)
