"""Sends the events of a device's outbox to Kafka, in order."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from ninezero.schemas.times import unix_micros
from ninezero.streams.edge.device.clock import Clock, to_datetime
from ninezero.streams.edge.device.kafka_errors import topic_errors, user_error
from ninezero.streams.edge.device.outbox import Outbox, OutboxError, UnsentEvent
from ninezero.streams.errors import UserError
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.decoding import PAST_US, Rejected, check_clock
from ninezero.streams.kafka.sync import cluster_id, consumer, producer, unreachable
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.device")

IN_FLIGHT = 2_000
"""Events that may be sent and not yet acknowledged."""

FIRST_RELEASE = datetime(2026, 1, 1, tzinfo=UTC)
"""No device ran before this time, so a clock that shows an earlier time was never set."""

TOPIC_PAUSE_SECONDS = 60.0
"""Time for which sending to a topic that rejects events is paused. The other topics continue."""

SILENT_SECONDS = 3.0
"""A broker that acknowledges nothing for so long counts as disconnected. The producer goes on trying."""

READER_SECONDS = 5.0
"""Time that sending waits until outcomes are read. Events are sent even if outcomes cannot be read."""

COMPARE_SECONDS = 0.2
"""Time between two looks whether the comparison of a new outbox has ended."""

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 10.0
"""Pause before a new connection; it doubles after each failure."""

ANSWERED = {topics.SCANS.name, topics.ARRIVALS.name}
"""Topics whose events get an outcome."""


class SenderStatus(NamedTuple):
    """The state of the connection to Kafka."""

    connected: bool = False
    problem: str = ""
    """The problem and its remedy in one line; empty if there is none."""
    problem_chinese: str = ""
    """The same in Chinese."""
    too_late: int = 0
    """Events that reached Kafka more than 13 days late. The workers do not count them."""


class _TopicUnavailable(Exception):
    """One topic rejects events while the broker answers."""


class _Result(NamedTuple):
    """An event and the client's result: the record's metadata, or the error."""

    event: UnsentEvent
    result: Any


_Results = queue.SimpleQueue[_Result]


class Sender:
    """Sends events and deletes those that are acknowledged, from a thread of its own.

    Args:
        settings: where Kafka is.
        outbox: the events.
        clock: the device's clock; it is corrected by acknowledgements.
        may_start: sending waits for it for up to `READER_SECONDS`.

    Attributes:
        status: replaced as a whole by the thread, so that readers see a consistent state.
    """

    def __init__(self, settings: Settings, outbox: Outbox, clock: Clock, may_start: threading.Event) -> None:
        self._settings, self._outbox, self._clock, self._may_start = settings, outbox, clock, may_start
        self._stopped, self._new_events = threading.Event(), threading.Event()
        self._paused_topics: dict[str, float] = {}
        self.status = SenderStatus()

    def wake(self) -> None:
        """Ends the wait for new events."""
        self._new_events.set()

    def stop(self) -> None:
        """Makes `run` return."""
        self._stopped.set()
        self._new_events.set()

    def run(self) -> None:
        """Sends until `stop` is called. After an error it connects again and sends what was not acknowledged."""
        pause = FIRST_RETRY_SECONDS
        while not self._stopped.is_set():
            try:
                self._outbox.confirm(cluster_id(self._settings, bootstrap_timeout_ms=3_000))
                kafka = producer(
                    self._settings, bootstrap_timeout_ms=3_000, max_block_ms=5_000, linger_ms=5,
                    request_timeout_ms=10_000, delivery_timeout_ms=30_000,
                )  # fmt: skip
                pause = FIRST_RETRY_SECONDS
                self._send_all(kafka)
            except _TopicUnavailable:
                # The broker works, but after a rejected event an idempotent producer must be replaced.
                self._set_status(connected=self.status.connected, problem=self._paused_problem())
            except Exception as error:
                self._set_status(connected=False, problem=user_error(error))
                self._stopped.wait(pause)
                pause = min(pause * 2, LONGEST_RETRY_SECONDS)

    def _send_all(self, kafka: Any) -> None:
        """Sends everything in order until the sender is stopped; raises the first error that Kafka returns."""
        results: _Results = queue.SimpleQueue()
        last_seq, in_flight, last_result = -1, 0, time.monotonic()
        try:
            self._may_start.wait(READER_SECONDS)
            while not self._outbox.compared():
                if self._stopped.wait(COMPARE_SECONDS):
                    return
                self._set_status(connected=True, problem=self._not_compared())
            while not self._stopped.is_set():
                self._new_events.clear()
                room = IN_FLIGHT - in_flight
                for event in self._outbox.read_unsent(last_seq, room, tuple(self._paused_topics)) if room else ():
                    self._send(kafka, event, results)
                    last_seq, in_flight = event.seq, in_flight + 1
                some = _drain(results, 0.05) if in_flight else []
                in_flight -= len(some)
                if some or not in_flight:
                    last_result = time.monotonic()
                all_accepted = self._handle(some)
                if time.monotonic() - last_result >= SILENT_SECONDS:
                    self._set_status(connected=False, problem=unreachable(self._settings))
                elif some or not in_flight or self.status.connected:  # an outage ends with an acknowledgement
                    self._set_status(connected=True, problem=self._paused_problem())
                resumed = self._resume_topics()
                if not in_flight and not some and not resumed:
                    self._new_events.wait(1)
                    continue
                if not all_accepted or resumed:
                    while in_flight:  # wait for all, then read the outbox from its beginning
                        some = _drain(results, 1)
                        in_flight -= len(some)
                        self._handle(some)
                    last_seq = -1
        finally:
            kafka.close(timeout=2)
            # If these results cannot be stored, the events are sent again, which changes no count. The error that ends this
            # connection, or the next access to the outbox, is reported.
            try:
                self._handle([one for one in _drain(results, 0.01) if not isinstance(one.result, Exception)])
            except Exception as error:
                log.warning("results cannot be stored (%s): their events are sent again", type(error).__name__)

    def _not_compared(self) -> UserError:
        """Says why nothing of a new outbox is sent."""
        if self._outbox.is_stopped():
            return self._outbox.counter_behind()
        return UserError(
            "the outbox is new, and the outcomes of this site could not be read yet, so it is not known whether the numbers of this"
            " device are free, and nothing is sent: check the topics, and this device's permissions (ninezero topics acls)",
            chinese="发件箱是新的，尚未读到本站点的结果，不能确认序号是否已被使用，暂不发送：请检查主题和这台设备的权限",
        )

    def _send(self, kafka: Any, event: UnsentEvent, results: _Results) -> None:
        from kafka.errors import KafkaTimeoutError

        try:
            future = kafka.send(self._settings.topic(event.topic), key=event.key, value=event.value)
        except KafkaTimeoutError as error:
            with contextlib.closing(consumer(self._settings, bootstrap_timeout_ms=3_000)) as reader:
                if self._settings.topic(event.topic) in reader.topics():
                    raise
            self._pause_topic(event.topic)
            raise _TopicUnavailable from error
        except topic_errors() as error:
            raise self._attributed(event, error) from error
        future.add_both(_collector(results, event))

    def _handle(self, results: list[_Result]) -> bool:
        """Deletes acknowledged events. Returns False if one must be sent again with a corrected time.

        Raises:
            Exception: the error of the first event that failed.
        """
        acknowledged: list[tuple[int, int | None]] = []
        all_accepted = True
        for event, result in results:
            if isinstance(result, Exception):
                raise self._attributed(event, result)
            self._clock.observe(result.timestamp)
            if self._correct_time(event, result.timestamp):
                all_accepted = False
            else:
                acknowledged.append((event.seq, result.timestamp if event.topic in ANSWERED else None))
        while acknowledged:
            try:
                self._outbox.acknowledge(acknowledged)
                break
            except OutboxError as error:  # Kafka has the events: sending them again would not help a full disk
                self._set_status(connected=True, problem=error)
                if self._stopped.wait(1):
                    raise
        return all_accepted

    def _set_status(self, *, connected: bool, problem: UserError | None) -> None:
        """Replaces the status, and logs an outage when it begins and when it ends, not at every retry."""
        line, chinese = ("", "") if problem is None else (str(problem), problem.chinese)
        before, self.status = (
            self.status, self.status._replace(connected=connected, problem=line, problem_chinese=chinese)
        )  # fmt: skip
        if line and (not before.problem or connected != before.connected or (connected and line != before.problem)):
            log.warning("%s", line)
        elif before.problem and not line:
            log.info("Kafka acknowledges events again")

    # -- topics that reject events -----------------------------------------------------------------------------------

    def _attributed(self, event: UnsentEvent, error: Exception) -> Exception:
        """Pauses the event's topic if the error is the topic's fault. Other topics are not affected."""
        if not isinstance(error, topic_errors()):
            return error
        self._pause_topic(event.topic)
        return _TopicUnavailable()

    def _pause_topic(self, topic: str) -> None:
        self._paused_topics[topic] = time.monotonic() + TOPIC_PAUSE_SECONDS

    def _resume_topics(self) -> bool:
        """Ends pauses that are over. Returns whether there was one."""
        over = [topic for topic, until in self._paused_topics.items() if until < time.monotonic()]
        for topic in over:
            del self._paused_topics[topic]
        return bool(over)

    def _paused_problem(self) -> UserError | None:
        """Describes the topics that reject events; None if there is none."""
        names = ", ".join(sorted(self._paused_topics))
        if not names:
            return None
        return UserError(
            f"Kafka rejects events for {names}: create the topic, or correct its size limit or this device's permissions",
            chinese=f"Kafka 拒收 {names} 的消息：请建立该主题，或更正其大小上限或这台设备的权限",
        )

    # -- wrong clocks ------------------------------------------------------------------------------------------------

    def _correct_time(self, event: UnsentEvent, kafka_ms: int) -> bool:
        """Replaces the event's time if the workers reject it and a better one is known. Returns whether it did.

        A rejected event was not counted, so it may be sent again under its number, with the time at which it happened.
        """
        fields = msgspec.json.decode(event.value)
        observed = datetime.fromisoformat(fields["observed_at"])
        never_set = observed < FIRST_RELEASE
        if not never_set and self._is_accepted(observed, kafka_ms):
            return False
        ahead = unix_micros(observed) > kafka_ms * 1000
        if event.boot_id and event.boot_id == self._clock.boot_id:
            true_ms = kafka_ms - max(self._clock.ticks_ms() - event.ticks_ms, 0)
        else:  # the machine was off meanwhile, so an old time may be right
            true_ms = kafka_ms if never_set or ahead else 0
        if true_ms * 1000 < kafka_ms * 1000 - PAST_US:
            self.status = self.status._replace(too_late=self.status.too_late + 1)
            log.warning("an event reached Kafka more than 13 days late: it is not counted")
            return False
        fields["observed_at"] = to_datetime(true_ms)
        self._outbox.replace_value(event.seq, msgspec.json.encode(fields))
        log.warning("this device's clock is wrong: an event is sent again with the time of Kafka's clock")
        return True

    def _is_accepted(self, observed: datetime, kafka_ms: int) -> bool:
        try:
            check_clock(unix_micros(observed), kafka_ms, self._settings.replay)
        except Rejected:
            return False
        return True


def _collector(results: _Results, event: UnsentEvent) -> Callable[[Any], None]:
    return lambda result: results.put(_Result(event, result))


def _drain(results: _Results, seconds: float) -> list[_Result]:
    """Waits up to `seconds` for one result, and returns all that are there."""
    found: list[_Result] = []
    with contextlib.suppress(queue.Empty):
        found.append(results.get(timeout=seconds))
        while True:
            found.append(results.get_nowait())
    return found
