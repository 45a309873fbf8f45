"""Reads the outcomes of a device's site back from Kafka."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ninezero.schemas.events import Outcome, Outcomes
from ninezero.streams.edge.device.kafka_errors import user_error
from ninezero.streams.edge.device.outbox import Outbox, OutboxError
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.sync import cluster_id, consumer
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.device")

LOOK_BACK = 5_000
"""Records of outcomes read at the start to find numbers of this device that its outbox has not assigned."""

RETRY_SECONDS = 2.0
"""Pause before a new connection after an error."""

NEW_PARTITIONS_SECONDS = 60.0
"""Time between two readings of the number of partitions: partitions may be added while the device runs."""

OnOutcome = Callable[[int, Outcome, list[int]], None]
"""Gets the sequence number, the outcome, and the indexes of the people whom it concerns."""


class _Start(NamedTuple):
    """The positions at which reading starts on a partition."""

    first_unanswered: int
    """Offset from which outcomes may be new to the device."""
    end: int
    """End of the partition when reading started."""


class OutcomeReader:
    """Calls `on_outcome` for every new outcome of one device, from a thread of its own.

    Attributes:
        caught_up: set when every outcome that was there at the start has been read.
        tried: set then, and when outcomes could not be read.
    """

    def __init__(self, settings: Settings, outbox: Outbox, site_id: str, device_id: str, on_outcome: OnOutcome) -> None:
        self._settings, self._outbox = settings, outbox
        self._site_id, self._device_id, self._on_outcome = site_id, device_id, on_outcome
        self._stopped = threading.Event()
        self.caught_up = threading.Event()
        self.tried = threading.Event()
        self._compared = outbox.compared()
        self._failing = False

    def stop(self) -> None:
        """Makes `run` return."""
        self._stopped.set()
        self.caught_up.set()
        self.tried.set()

    def run(self) -> None:
        """Reads until `stop` is called. After an error it connects again; meanwhile scans are answered `not_checked`."""
        while not self._stopped.is_set():
            try:
                self._outbox.confirm(cluster_id(self._settings, bootstrap_timeout_ms=3_000))
                # What Kafka deletes before it is read must not hide what follows: reading goes on at the earliest record.
                arguments = {"bootstrap_timeout_ms": 3_000, "fetch_max_wait_ms": 100, "auto_offset_reset": "earliest"}
                with contextlib.closing(consumer(self._settings, **arguments)) as reader:
                    self._read(reader)
            except Exception as error:  # the device goes on accepting scans after any error
                if not self._failing:  # once an outage, not at every retry
                    log.warning("outcomes cannot be read: %s", user_error(error))
                self._failing = True
                self.tried.set()
                self._stopped.wait(RETRY_SECONDS)

    def _read(self, reader: Any) -> None:
        topic = self._settings.topic(topics.OUTCOMES.name)
        partitions, checked = 0, float("-inf")
        start = _Start(0, 0)
        while not self._stopped.is_set():
            if time.monotonic() - checked > (NEW_PARTITIONS_SECONDS if partitions else 1):
                checked, found = time.monotonic(), len(reader.partitions_for_topic(topic) or ())
                if found and found != partitions:
                    partitions = found
                    start = self._seek(reader, topic, partitions)
            if not partitions:
                self._stopped.wait(0.2)
                continue
            if self._failing:
                self._failing = False
                log.info("outcomes are read again")
            for records in reader.poll(timeout_ms=200).values():
                for record in records:
                    with contextlib.suppress(Rejected):  # only workers may write here (ACL); other records are skipped
                        self._apply(decode(Outcomes, record.value), known=record.offset < start.first_unanswered)
            if not self.caught_up.is_set() and all(reader.position(tp) >= start.end for tp in reader.assignment()):
                self._end_comparison()
                self.caught_up.set()
                self.tried.set()

    def _end_comparison(self) -> None:
        """Lets the events of a new outbox be sent if Kafka has no outcome of this device."""
        if not self._compared and not self._outbox.is_stopped():
            self._outbox.set_compared()
            self._compared = True

    def _seek(self, reader: Any, topic: str, partitions: int) -> _Start:
        """Assigns the partition of this site and seeks to `LOOK_BACK` records before its end, or further if needed.

        For a new outbox it seeks to the beginning, which is 24 hours old.
        """
        from kafka import TopicPartition

        from ninezero.streams.kafka.partitioner import partition_of

        tp = TopicPartition(topic, partition_of(self._site_id.encode(), partitions))
        reader.assign([tp])
        end = int(reader.end_offsets([tp])[tp])
        since_ms = self._outbox.oldest_unanswered_ms()
        found = None if since_ms is None else reader.offsets_for_times({tp: since_ms}, timeout_ms=5_000).get(tp)
        first = end if found is None else int(found.offset)
        back = min(first, end - LOOK_BACK) if self._compared else 0
        reader.seek(tp, max(back, int(reader.beginning_offsets([tp])[tp])))
        return _Start(first, end)

    def _apply(self, outcomes: Outcomes, *, known: bool) -> None:
        """Records the outcomes of this device and passes them on; `known` ones only show which numbers were used."""
        ours = [
            (seq, outcome, people) for device, seq, outcome, people in outcomes.outcomes if device == self._device_id
        ]
        if not ours:
            return
        if not self._compared:
            # Nothing of a new outbox was sent before its comparison, so every outcome is one of another outbox. An error here ends the
            # comparison without a result: it begins again.
            if not self._outbox.is_stopped():
                self._stop_accepting()
            return
        try:
            if self._outbox.is_behind(max(seq for seq, _, _ in ours)):
                self._stop_accepting()
            if not known:
                self._outbox.record_answers([seq for seq, _, _ in ours])
        except OutboxError as error:  # the staff must see the outcome in any case
            log.warning("an outcome could not be recorded: %s", error)
        for seq, outcome, people in ours if not known else ():
            self._on_outcome(seq, outcome, people)

    def _stop_accepting(self) -> None:
        self._outbox.stop_accepting()
        log.error("Kafka has events of this device that its outbox does not know: nothing more is accepted")
