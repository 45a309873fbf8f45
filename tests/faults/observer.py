"""Observes a deployment from outside: what is committed, what is durable, and how long outcomes take.

Committed offsets are read before the data that they are compared with, so a difference is always an error.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from .load import ARRIVALS, DISPOSITIONS, FOLLOWUPS, PUSHES, QUARANTINE, SCANS, Event

OUTCOMES, DECISIONS, DEAD, RECEIPTS = "screening-outcomes", "screening-decisions", "dead-letters", "push-receipts"
ALERTS, TRANSFERS = "screening-alerts", "transfer-events"
LEDGERS = ("quarantine-ledger", "followup-ledger", "transfer-ledger")
SOURCES = (SCANS, ARRIVALS, DISPOSITIONS, QUARANTINE, FOLLOWUPS, PUSHES)
READ = (*SOURCES, OUTCOMES, DECISIONS, TRANSFERS, DEAD, RECEIPTS, ALERTS, *LEDGERS)
GROUPS = {
    "screening": (SCANS, ARRIVALS),
    "lists": (PUSHES,),
    "ledgers": (DISPOSITIONS, QUARANTINE, FOLLOWUPS, TRANSFERS),
    "recording": (DECISIONS, TRANSFERS, DEAD, RECEIPTS, DISPOSITIONS, QUARANTINE, FOLLOWUPS),
}
"""The topics that each role reads and commits."""
Place = tuple[str, int]


class Observer:
    """Polls until it is closed. `wrong` lists the errors it found; the other attributes are what it has seen so far."""

    def __init__(self, kafka: str, prefix: str, clickhouse_port: int) -> None:
        self._kafka, self._prefix, self._port = kafka, prefix, clickhouse_port
        for name in ("kafka", "clickhouse_driver"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # connections fail on purpose
        self.wrong: list[str] = []
        self.polls = 0
        self.source: dict[Place, dict[int, Event | None]] = defaultdict(dict)
        """What is at each offset: an event (a batch is an event with number 0), or None for a bad record."""
        self.sent_at: dict[Event, int] = {}
        self.outcomes: dict[Event, tuple[str, int]] = {}
        self.different: list[Event] = []
        self.decided: set[Event] = set()
        self.decisions: dict[Place, list[tuple[int, list[Event]]]] = defaultdict(list)
        self.alerted: set[Event] = set()
        self.case_alerts: dict[str, tuple[str, ...]] = {}
        """The case alerts by alert_id: rule, case, day, slot and place."""
        self.in_ledgers: set[Event] = set()
        """Events of cases and transfers that are in a ledger."""
        self.transferred: set[Event] = set()
        """Arrivals that have a transfer event."""
        self.dead: dict[tuple[str, int, int], str] = {}
        self.receipts: dict[str, dict[str, Any]] = {}
        self.answered_at: list[int] = []
        self.committed: dict[str, dict[Place, int]] = {role: {} for role in GROUPS}
        self.ends: dict[Place, int] = {}
        """The offset after the last record that was read. Transaction markers after it do not count."""
        self.emptied = False
        """Whether the database was emptied on purpose, so that commits may be ahead until it is rebuilt."""
        self.rebuilding = False
        """Whether commits are ahead of what is recorded, as of the last poll."""
        self.foreign: set[str] = set()
        """Ids of deleted topics. Offsets that were committed with them do not apply to the new topics."""
        self._next: dict[Place, int] = {}
        self._records: dict[Place, set[int]] = defaultdict(set)
        """The offsets at which there is a record, and no transaction marker."""
        self._checked: Counter[tuple[str, Place]] = Counter()
        self._counted: Counter[Place] = Counter()
        self._recorded: set[Event] = set()
        self._lock, self._polling = threading.Lock(), threading.Lock()
        self._ending = threading.Event()
        self._consumer: Any = None
        self._admin: Any = None
        self._client: Any = None
        self._places: list[TopicPartition] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join(30)
        self._forget()

    def fresh(self) -> None:
        """Returns after a complete poll that began after the call."""
        before, deadline = self.polls, time.monotonic() + 60
        while self.polls < before + 2 and time.monotonic() < deadline:
            time.sleep(0.05)

    def lag(self, role: str) -> int:
        """Returns the number of records that a group had not committed at the last poll."""
        done, topics = self.committed[role], GROUPS[role]
        return sum(
            max(0, end - done.get(place, 0))  # transaction markers after the last record are committed, too
            for place, end in list(self.ends.items())
            if place[0] in topics
        )

    @property
    def idle(self) -> bool:
        """True if every role has committed everything, as of the last poll."""
        return not any(self.lag(role) for role in GROUPS)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Returns rows from the server directly, not through the link."""
        from clickhouse_driver import Client

        client = Client("127.0.0.1", self._port, connect_timeout=5, send_receive_timeout=20)
        try:
            return list(client.execute(sql))
        finally:
            client.disconnect()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Stops polling inside the block."""
        with self._polling:
            yield

    def recreated(self, topic: str, topic_id: str) -> str:
        """Moves what was seen of a topic to another name, because the topic was recreated. Returns that name. Call it only inside `held()`.

        Offsets that were committed with the id of the old topic do not apply to the new one.
        """
        self.foreign.add(topic_id)
        old = topic + "~" * len(self.foreign)
        for place in [place for place in self.ends if place[0] == topic]:
            self.source[old, place[1]] = self.source.pop(place, {})
            by_place: tuple[dict[Place, Any], ...] = (self.ends, self._next, self._counted, self.decisions)
            for some in by_place:
                some.pop(place, None)
            for role in GROUPS:
                self._checked.pop((role, place), None)
        for at in [at for at in self.dead if at[0] == topic]:
            self.dead[old, at[1], at[2]] = self.dead.pop(at)
        self._forget()
        return old

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                with self._polling:
                    self._poll()
                self.polls += 1
            except (KafkaError, OSError, ValueError, AssertionError):
                self._forget()
            time.sleep(0.2)

    def _forget(self) -> None:
        """Closes the connections. The positions are kept."""
        for one in (self._consumer, self._admin):
            if one is not None:
                with contextlib.suppress(Exception):
                    one.close()
        self._consumer = self._admin = None

    def _poll(self) -> None:
        committed = self._committed()
        self._read()
        for role, durable in (("screening", self._screened), ("ledgers", self._in_ledger), ("lists", self._answered)):
            self._check(role, committed[role], durable)
        with contextlib.suppress(Exception):  # nothing can be compared while the server is down
            self._check_recording(committed["recording"])
        self.committed = committed

    def _committed(self) -> dict[str, dict[Place, int]]:
        if self._admin is None:
            self._admin = KafkaAdminClient(
                bootstrap_servers=self._kafka, bootstrap_timeout_ms=3000, request_timeout_ms=5000
            )
        found: dict[str, dict[Place, int]] = {}
        for role in GROUPS:
            group = f"{self._prefix}ninezero-{role}"
            offsets = self._admin.list_group_offsets({group: None}).get(group, {})
            found[role] = {
                (tp.topic.removeprefix(self._prefix), tp.partition): value.offset
                for tp, value in offsets.items()
                if value.offset >= 0 and value.metadata not in self.foreign
            }
        return found

    def _read(self) -> None:
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                bootstrap_servers=self._kafka, enable_auto_commit=False, isolation_level="read_committed",
                max_poll_records=20_000, bootstrap_timeout_ms=3000, metadata_max_age_ms=2000,
                max_partition_fetch_bytes=4 << 20, fetch_max_wait_ms=50,
            )  # fmt: skip
        consumer = self._consumer
        places = [
            TopicPartition(self._prefix + topic, number)
            for topic in READ
            for number in sorted(consumer.partitions_for_topic(self._prefix + topic) or ())
        ]
        if set(places) != set(self._places) or not consumer.assignment():
            seen = {tp: self._next.get((tp.topic.removeprefix(self._prefix), tp.partition), 0) for tp in places}
            consumer.assign(places)
            for tp, offset in seen.items():
                consumer.seek(tp, offset)
            self._places = places
        ends = consumer.end_offsets(places)
        deadline = time.monotonic() + 20
        while any(consumer.position(tp) < end for tp, end in ends.items()) and time.monotonic() < deadline:
            for tp, records in consumer.poll(200).items():
                place = (tp.topic.removeprefix(self._prefix), tp.partition)
                with self._lock:
                    for record in records:
                        self._add(place, record)
        for tp in places:
            self._next[tp.topic.removeprefix(self._prefix), tp.partition] = consumer.position(tp)

    def _add(self, place: Place, record: Any) -> None:
        topic = place[0]
        self.ends[place] = record.offset + 1
        self._records[place].add(record.offset)
        if topic in SOURCES:
            event = None
            with contextlib.suppress(ValueError, KeyError, TypeError):
                value = json.loads(record.value)
                event = (value["batch_id"], 0) if topic == PUSHES else (value["device_id"], value["seq"])
            self.source[place][record.offset] = event
            if event is not None:
                self.sent_at.setdefault(event, record.timestamp)
            return
        if topic in LEDGERS:
            _, device, seq = record.key.decode().split("|")
            if device != "!":
                self.in_ledgers.add((device, int(seq)))
            return
        value = json.loads(record.value)
        if topic == OUTCOMES:
            self.answered_at.append(record.timestamp)
            for device, seq, outcome, _ in value["outcomes"]:
                first = self.outcomes.setdefault((device, seq), (outcome, record.timestamp))
                if first[0] != outcome:
                    self.different.append((device, seq))
        elif topic == DECISIONS:
            events = [event for group in value["decisions"] for event in zip(group[9], group[10], strict=True)]
            self.decided.update(events)
            self.decisions[place].append((record.offset, events))
        elif topic == TRANSFERS:
            event = self.source[place][record.offset] = (value["device_id"], value["seq"])
            self.transferred.add(event)
        elif topic == ALERTS and "case_id" in value:
            place_of = value["site_id"] or value["district"]
            alert = (value["rule"], value["case_id"], value["day"], value["slot"] or "", place_of)
            if self.case_alerts.setdefault(value["alert_id"], alert) != alert:
                self.wrong.append(f"alert {value['alert_id']} was sent twice with different contents")
        elif topic == ALERTS:
            self.alerted.add((value["device_id"], value["seq"]))
        elif topic == DEAD:
            self.dead[value["topic"], value["partition"], value["offset"]] = value["reason"]
        elif topic == RECEIPTS:
            first_receipt = self.receipts.setdefault(value["batch_id"], value)
            if first_receipt != value:
                self.wrong.append(f"batch {value['batch_id']} has two different receipts")

    def _check(self, role: str, committed: dict[Place, int], durable: Callable[[str, Event], bool]) -> None:
        """Checks that everything that follows from the records before the committed offsets is durable."""
        for place, offset in committed.items():
            for at in range(self._checked[role, place], offset):
                if at not in self.source[place]:
                    continue  # a transaction marker
                event = self.source[place][at]
                if event is None:
                    if (*place, at) not in self.dead:
                        self.wrong.append(f"{role} committed {offset} of {place}, but {at} has no dead letter")
                elif not durable(place[0], event):
                    self.wrong.append(
                        f"{role} committed {offset} of {place}, but the event at {at} has no durable result"
                    )
            self._checked[role, place] = max(self._checked[role, place], offset)

    def _screened(self, topic: str, event: Event) -> bool:
        outcome = self.outcomes.get(event)
        return outcome is not None and event in self.decided and (outcome[0] == "clear" or event in self.alerted)

    def _in_ledger(self, topic: str, event: Event) -> bool:
        return topic == DISPOSITIONS or event in self.in_ledgers

    def _answered(self, topic: str, batch: Event) -> bool:
        return batch[0] in self.receipts

    def _check_recording(self, committed: dict[Place, int]) -> None:
        rows = self.query(
            "SELECT topic, partition, max(next_offset) FROM ninezero_data.recorder_progress GROUP BY topic, partition"
        )
        reached = {(topic.removeprefix(self._prefix), number): offset for topic, number, offset in rows}
        self.rebuilding = False
        for place, offset in committed.items():
            missing = [at for at in range(reached.get(place, 0), offset) if at in self._records[place]]
            self.rebuilding |= bool(missing)
            if missing and not self.emptied:
                self.wrong.append(f"{place} committed {offset}, but the record at {missing[0]} is not recorded")
        for place, records in self.decisions.items():
            limit = max(committed.get(place, 0), 0)
            while self._counted[place] < len(records) and records[self._counted[place]][0] < limit:
                self._recorded.update(records[self._counted[place]][1])
                self._counted[place] += 1
        if self.emptied:  # facts may be missing, and counting all of them would slow their recovery down
            return
        [(facts,)] = self.query(
            "SELECT count() FROM (SELECT DISTINCT device_id, seq FROM ninezero_data.screening_facts)"
        )
        if facts < len(self._recorded):
            self.wrong.append(f"decisions of {len(self._recorded)} events are committed, {facts} have facts")
