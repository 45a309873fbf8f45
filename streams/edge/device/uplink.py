"""The way from a device's outbox to Kafka, and of the outcomes back. Whatever breaks, the events are on disk."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from ninezero.schemas.events import Outcomes
from ninezero.streams.edge.device.clock import Clock, to_time
from ninezero.streams.edge.device.outbox import Outbox, OutboxError, Row
from ninezero.streams.errors import UserError
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.sync import consumer, producer, unreachable
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.device")

IN_FLIGHT = 2_000
"""Events sent and not yet acknowledged, at most."""
CLOSING_SECONDS = 5.0
FUTURE_MS = 600_000
PAST_MS = 13 * 86_400_000
"""What the workers refuse as `clock_out_of_range` (CONTRACT §4): 10 min ahead of Kafka's time, or 13 days behind it."""
FIRST_RELEASE = datetime(2026, 1, 1, tzinfo=UTC)
"""No device ran before: an older clock was never set."""

REST_SECONDS = 60
"""A topic that takes no event is left alone for so long, while the others go on."""
SILENT_SECONDS = 3
"""A broker that acknowledges nothing for so long is taken for away; the producer goes on trying."""
LOOK_BACK = 5_000
"""Records of outcomes looked through at the start, for numbers that this device's outbox does not know."""

ANSWERED = {topics.SCANS.name, topics.ARRIVALS.name}
"""Topics whose events get an outcome."""


class _TopicRefused(Exception):
    """A topic takes no event while the broker answers."""


_Settled = tuple[Row, Any]
"""An event, and what Kafka said of it: its metadata or an exception."""


class Uplink:
    """Two threads: one sends in order and lets go of what is acknowledged, one reads the outcomes of the site."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        clock: Clock,
        site_id: str,
        device_id: str,
        on_outcome: Callable[[int, str, list[int]], None],
    ) -> None:
        self._settings, self._outbox, self._clock = settings, outbox, clock
        self._site_id, self._device_id, self._on_outcome = site_id, device_id, on_outcome
        self._ended, self._new, self._listening = threading.Event(), threading.Event(), threading.Event()
        self.connected, self.problem, self.too_late = False, "", 0
        self._resting: dict[str, float] = {}
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._listen)]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There are new events."""
        self._new.set()

    def close(self) -> None:
        """Ends both threads. One that waits for a broker is left behind: whatever it holds is on disk, and goes again."""
        self._ended.set()
        self._new.set()
        self._listening.set()
        deadline = time.monotonic() + CLOSING_SECONDS
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))

    # -- to Kafka ----------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        pause = 0.5
        while not self._ended.is_set():
            try:
                kafka = producer(
                    self._settings, bootstrap_timeout_ms=3_000, max_block_ms=5_000, linger_ms=5,
                    request_timeout_ms=10_000, delivery_timeout_ms=30_000,
                )  # fmt: skip
                pause = 0.5
                self._send_on(kafka)
            except _TopicRefused:  # the producer is of no more use, but the broker is
                self.problem = self._rest()
                log.warning("%s", self.problem)
            except Exception as error:  # a new connection sends again whatever was not acknowledged
                self.problem, self.connected = _in_a_line(error), False
                log.warning("%s; trying again in %.1f s", self.problem, pause)
                self._ended.wait(pause)
                pause = min(pause * 2, 10.0)

    def _send_on(self, kafka: Any) -> None:
        """Sends everything in order until the device ends; raises what Kafka says other than an acknowledgement."""
        settled: queue.SimpleQueue[_Settled] = queue.SimpleQueue()
        last, in_flight, heard = -1, 0, time.monotonic()
        try:
            self._listening.wait(5)  # outcomes are read from here on; events must go even if they can't be
            while not self._ended.is_set():
                self._new.clear()
                room = IN_FLIGHT - in_flight
                for row in self._outbox.after(last, room, tuple(self._resting)) if room else ():
                    self._put(kafka, row, settled)
                    last, in_flight = row.seq, in_flight + 1
                some = _drain(settled, 0.05) if in_flight else []
                in_flight -= len(some)
                if some or not in_flight:
                    heard = time.monotonic()
                connected = time.monotonic() - heard < SILENT_SECONDS
                self.problem = self._rest() if connected else str(unreachable(self._settings))
                self.connected = connected  # last: whoever sees that it is not finds out why
                rested = self._rested()
                if not in_flight and not some and not rested:
                    self._new.wait(1)
                    continue
                if not self._settle(some) or rested:
                    while in_flight:  # all that is under way first: then what was left behind is read again
                        some = _drain(settled, 1)
                        in_flight -= len(some)
                        self._settle(some)
                    last = -1
        finally:
            kafka.close(timeout=2)
            with contextlib.suppress(Exception):  # what was acknowledged meanwhile need not go again
                self._settle([(row, said) for row, said in _drain(settled, 0.01) if not isinstance(said, Exception)])

    def _put(self, kafka: Any, row: Row, settled: "queue.SimpleQueue[_Settled]") -> None:
        from kafka.errors import KafkaTimeoutError

        try:
            future = kafka.send(self._settings.topic(row.topic), key=row.key, value=row.value)
        except KafkaTimeoutError as error:
            with contextlib.closing(consumer(self._settings, bootstrap_timeout_ms=3_000)) as reader:
                if self._settings.topic(row.topic) in reader.topics():
                    raise
            self._resting[row.topic] = time.monotonic() + REST_SECONDS
            raise _TopicRefused from error
        except _topic_errors() as error:
            raise self._blamed(row, error) from error
        future.add_both(_putter(settled, row))

    def _rested(self) -> bool:
        """Whether a topic is to be tried again."""
        over = [topic for topic, until in self._resting.items() if until < time.monotonic()]
        for topic in over:
            del self._resting[topic]
        return bool(over)

    def _rest(self) -> str:
        """What is wrong with topics that take no event, in a line."""
        names = ", ".join(sorted(self._resting))
        return names and f"Kafka takes no {names}: create the topic, or mend its size limit or this device's rights"

    def _settle(self, settled: list[_Settled]) -> bool:
        """Lets go of acknowledged events; false if one has to be sent again with a corrected time."""
        done: list[tuple[int, int | None]] = []
        good = True
        for row, said in settled:
            if isinstance(said, Exception):
                raise self._blamed(row, said)
            self._clock.learn(said.timestamp)
            if self._corrected(row, said.timestamp):
                good = False
            else:
                done.append((row.seq, said.timestamp if row.topic in ANSWERED else None))
        while done:
            try:
                self._outbox.acknowledge(done)
                break
            except OutboxError as error:  # Kafka has them: to send them again would not help a full disk
                self.problem = str(error)
                if self._ended.wait(1):
                    raise
        return good

    def _blamed(self, row: Row, said: Exception) -> Exception:
        """The first event that Kafka refuses takes the producer with it, but only its own topic is to blame."""
        if not isinstance(said, _topic_errors()):
            return said
        self._resting[row.topic] = time.monotonic() + REST_SECONDS
        return _TopicRefused()

    def _corrected(self, row: Row, kafka_ms: int) -> bool:
        """Whether the workers refuse the event's time, and it has a better one now.

        What is refused was not counted, so it may come again under its number, with the time when it truly happened.
        """
        event = msgspec.json.decode(row.value)
        observed = datetime.fromisoformat(event["observed_at"])
        unset = observed < FIRST_RELEASE
        ahead_ms = observed.timestamp() * 1000 - kafka_ms
        if not (unset or ahead_ms > FUTURE_MS or (ahead_ms < -PAST_MS and not self._settings.replay)):
            return False
        if row.boot and row.boot == self._clock.boot:
            true_ms = kafka_ms - max(self._clock.ticks() - row.ticks, 0)
        else:
            true_ms = kafka_ms if unset or ahead_ms > 0 else 0  # the machine was off meanwhile: an old time may be true
        if true_ms < kafka_ms - PAST_MS:
            self.too_late += 1
            log.warning("an event reached Kafka over 13 days late: it is not counted")
            return False
        event["observed_at"] = to_time(true_ms)
        self._outbox.restamp(row.seq, msgspec.json.encode(event))
        log.warning("this device's clock is wrong: an event goes again with the time by Kafka's clock")
        return True

    # -- outcomes back -----------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                with contextlib.closing(
                    consumer(self._settings, bootstrap_timeout_ms=3_000, fetch_max_wait_ms=100)
                ) as reader:
                    self._listen_on(reader)
            except Exception as error:  # without an outcome a scan is "not checked", and the operator sees that
                log.warning("outcomes cannot be read: %s", _in_a_line(error))
                self._ended.wait(2)

    def _listen_on(self, reader: Any) -> None:
        name, count, looked = self._settings.topic(topics.OUTCOMES.name), 0, float("-inf")
        first = end = 0
        while not self._ended.is_set():
            if time.monotonic() - looked > (60 if count else 1):  # partitions may be added while it runs
                looked, found = time.monotonic(), len(reader.partitions_for_topic(name) or ())
                if found and found != count:
                    count = found
                    first, end = self._seek(reader, name, count)
            if not count:
                self._ended.wait(0.2)
                continue
            for records in reader.poll(timeout_ms=200).values():
                for record in records:
                    with contextlib.suppress(Rejected):  # only workers write there (ACL); nobody else is answered for
                        self._take(decode(Outcomes, record.value), known=record.offset < first)
            if not self._listening.is_set() and all(reader.position(tp) >= end for tp in reader.assignment()):
                self._listening.set()

    def _seek(self, reader: Any, name: str, partitions: int) -> tuple[int, int]:
        """Reads on the partition that has this site's outcomes, from a little before what is not known yet.

        Returns the offset of the oldest outcome that may not be known (of the oldest event without one), and the end.
        """
        from kafka import TopicPartition
        from kafka.partitioner.default import murmur2

        tp = TopicPartition(name, (murmur2(self._site_id.encode()) & 0x7FFFFFFF) % partitions)
        reader.assign([tp])
        end = int(reader.end_offsets([tp])[tp])
        since = self._outbox.oldest_unanswered()
        found = None if since is None else reader.offsets_for_times({tp: since}, timeout_ms=5_000).get(tp)
        first = end if found is None else int(found.offset)
        reader.seek(tp, max(min(first, end - LOOK_BACK), int(reader.beginning_offsets([tp])[tp])))
        return first, end

    def _take(self, outcomes: Outcomes, *, known: bool) -> None:
        ours = [
            (seq, outcome, people) for device, seq, outcome, people in outcomes.outcomes if device == self._device_id
        ]
        if not ours:
            return
        try:
            if self._outbox.lags(max(seq for seq, _, _ in ours)):
                log.error("Kafka has events of this device that its outbox does not know: nothing more is accepted")
                self._outbox.disown()
            if not known:
                self._outbox.answered([seq for seq, _, _ in ours])
        except OutboxError as error:  # the operator is told all the same
            log.warning("an outcome could not be noted: %s", error)
        for seq, outcome, people in () if known else ours:
            self._on_outcome(seq, outcome, people)


def _topic_errors() -> tuple[type[Exception], ...]:
    """What Kafka refuses because of its topic."""
    from kafka import errors

    return (
        errors.MessageSizeTooLargeError, errors.RecordListTooLargeError, errors.InvalidTopicError,
        errors.TopicAuthorizationFailedError, errors.PolicyViolationError, errors.InvalidRecordError,
    )  # fmt: skip


def _putter(settled: "queue.SimpleQueue[_Settled]", row: Row) -> Callable[[Any], None]:
    return lambda said: settled.put((row, said))


def _drain(settled: "queue.SimpleQueue[_Settled]", seconds: float) -> list[_Settled]:
    """Waits for one, then takes all there are."""
    found: list[_Settled] = []
    with contextlib.suppress(queue.Empty):
        found.append(settled.get(timeout=seconds))
        while True:
            found.append(settled.get_nowait())
    return found


def _in_a_line(error: Exception) -> str:
    """A client's own message is not quoted: it may hold a record."""
    return str(error) if isinstance(error, UserError) else f"Kafka took no event ({type(error).__name__})"
