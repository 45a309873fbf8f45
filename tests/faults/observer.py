"""Watches a deployment from outside, all the time: what is committed, what is durable, and how long outcomes take.

Committed offsets are read before what they are compared with, so what is found wanting was wanting.
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
ALERTS, LEDGERS = "screening-alerts", ("quarantine-ledger", "followup-ledger")
SOURCES = (SCANS, ARRIVALS, DISPOSITIONS, QUARANTINE, FOLLOWUPS, PUSHES)
READ = (*SOURCES, OUTCOMES, DECISIONS, DEAD, RECEIPTS, ALERTS, *LEDGERS)
GROUPS = {
    "screening": (SCANS, ARRIVALS),
    "lists": (PUSHES,),
    "ledgers": (DISPOSITIONS, QUARANTINE, FOLLOWUPS),
    "recording": (DECISIONS, DEAD, RECEIPTS, DISPOSITIONS, QUARANTINE, FOLLOWUPS),
}
"""What each role reads and commits."""
Place = tuple[str, int]


class Observer:
    """Polls until it is closed. `wrong` is what it found; everything else is what it has seen so far."""

    def __init__(self, kafka: str, prefix: str, clickhouse_port: int) -> None:
        self._kafka, self._prefix, self._port = kafka, prefix, clickhouse_port
        for name in ("kafka", "clickhouse_driver"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what is broken on purpose is no news
        self.wrong: list[str] = []
        self.polls = 0
        self.source: dict[Place, dict[int, Event | None]] = defaultdict(dict)
        """What lies at an offset: an event (a batch counts as one of number 0), or None for garbage."""
        self.sent_at: dict[Event, int] = {}
        self.outcomes: dict[Event, tuple[str, int]] = {}
        self.different: list[Event] = []
        self.decided: set[Event] = set()
        self.decisions: dict[Place, list[tuple[int, list[Event]]]] = defaultdict(list)
        self.alerted: set[Event] = set()
        self.told: dict[str, tuple[str, ...]] = {}
        """What staff were told of cases, by alert_id: rule, case, day, slot and place."""
        self.kept: set[Event] = set()
        """Events of cases that are in a ledger."""
        self.dead: dict[tuple[str, int, int], str] = {}
        self.receipts: dict[str, dict[str, Any]] = {}
        self.answered_at: list[int] = []
        self.committed: dict[str, dict[Place, int]] = {role: {} for role in GROUPS}
        self.ends: dict[Place, int] = {}
        """After the last record that was read; what a transaction leaves behind it is none."""
        self.emptied = False
        """The database was emptied on purpose: what is committed may be ahead until it is filled again."""
        self.foreign: set[str] = set()
        """Ids of topics that were deleted: what is committed under them is of no other topic."""
        self._next: dict[Place, int] = {}
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
        """Returns after a whole poll that began now."""
        before, deadline = self.polls, time.monotonic() + 60
        while self.polls < before + 2 and time.monotonic() < deadline:
            time.sleep(0.05)

    def lag(self, role: str) -> int:
        """Records that a group has not committed, as of the last poll."""
        done, topics = self.committed[role], GROUPS[role]
        return sum(end - done.get(place, 0) for place, end in list(self.ends.items()) if place[0] in topics)

    @property
    def idle(self) -> bool:
        """Whether every role has committed everything."""
        return not any(self.lag(role) for role in GROUPS)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows straight from the server, past any link."""
        from clickhouse_driver import Client

        client = Client("127.0.0.1", self._port, connect_timeout=5, send_receive_timeout=20)
        try:
            return list(client.execute(sql))
        finally:
            client.disconnect()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Polls nothing meanwhile."""
        with self._polling:
            yield

    def made_again(self, topic: str, topic_id: str) -> str:
        """A topic was deleted and made again: what was seen of it is of another one. What that is called. Only while held.

        What is committed with the id of the old one says nothing of the new one.
        """
        self.foreign.add(topic_id)
        old = topic + "~" * len(self.foreign)
        for place in [place for place in self.ends if place[0] == topic]:
            self.source[old, place[1]] = self.source.pop(place, {})
            for some in (self.ends, self._next, self._counted, self.decisions):
                some.pop(place, None)  # type: ignore[attr-defined]
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
        """Connections are made anew; positions are kept."""
        for one in (self._consumer, self._admin):
            if one is not None:
                with contextlib.suppress(Exception):
                    one.close()
        self._consumer = self._admin = None

    def _poll(self) -> None:
        committed = self._committed()
        self._read()
        for role, durable in (("screening", self._screened), ("ledgers", self._noted), ("lists", self._answered)):
            self._check(role, committed[role], durable)
        with contextlib.suppress(Exception):  # a server that is away has nothing to compare with
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
                (tp.topic.removeprefix(self._prefix), tp.partition): said.offset
                for tp, said in offsets.items()
                if said.offset >= 0 and said.metadata not in self.foreign
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
                        self._take(place, record)
        for tp in places:
            self._next[tp.topic.removeprefix(self._prefix), tp.partition] = consumer.position(tp)

    def _take(self, place: Place, record: Any) -> None:
        topic = place[0]
        self.ends[place] = record.offset + 1
        if topic in SOURCES:
            event = None
            with contextlib.suppress(ValueError, KeyError, TypeError):
                said = json.loads(record.value)
                event = (said["batch_id"], 0) if topic == PUSHES else (said["device_id"], said["seq"])
            self.source[place][record.offset] = event
            if event is not None:
                self.sent_at.setdefault(event, record.timestamp)
            return
        if topic in LEDGERS:
            _, device, seq = record.key.decode().split("|")
            if device != "!":
                self.kept.add((device, int(seq)))
            return
        said = json.loads(record.value)
        if topic == OUTCOMES:
            self.answered_at.append(record.timestamp)
            for device, seq, outcome, _ in said["outcomes"]:
                first = self.outcomes.setdefault((device, seq), (outcome, record.timestamp))
                if first[0] != outcome:
                    self.different.append((device, seq))
        elif topic == DECISIONS:
            events = [event for alike in said["decisions"] for event in zip(alike[8], alike[9], strict=True)]
            self.decided.update(events)
            self.decisions[place].append((record.offset, events))
        elif topic == ALERTS and "case_id" in said:
            place_of = said["site_id"] or said["district"]
            told = (said["rule"], said["case_id"], said["day"], said["slot"] or "", place_of)
            if self.told.setdefault(said["alert_id"], told) != told:
                self.wrong.append(f"alert {said['alert_id']} was sent twice and differs")
        elif topic == ALERTS:
            self.alerted.add((said["device_id"], said["seq"]))
        elif topic == DEAD:
            self.dead[said["topic"], said["partition"], said["offset"]] = said["reason"]
        elif topic == RECEIPTS:
            first_said = self.receipts.setdefault(said["batch_id"], said)
            if first_said != said:
                self.wrong.append(f"two receipts of batch {said['batch_id']} that differ")

    def _check(self, role: str, committed: dict[Place, int], durable: Callable[[str, Event], bool]) -> None:
        """Of everything up to what a role committed, what follows from it is there."""
        for place, offset in committed.items():
            for at in range(self._checked[role, place], offset):
                if at not in self.source[place]:
                    continue  # a transaction's marker, or never there
                event = self.source[place][at]
                if event is None:
                    if (*place, at) not in self.dead:
                        self.wrong.append(f"{role} committed {offset} of {place}, but {at} has no dead letter")
                elif not durable(place[0], event):
                    self.wrong.append(
                        f"{role} committed {offset} of {place}, but nothing follows from the event at {at}"
                    )
            self._checked[role, place] = max(self._checked[role, place], offset)

    def _screened(self, topic: str, event: Event) -> bool:
        outcome = self.outcomes.get(event)
        return outcome is not None and event in self.decided and (outcome[0] == "clear" or event in self.alerted)

    def _noted(self, topic: str, event: Event) -> bool:
        return topic == DISPOSITIONS or event in self.kept

    def _answered(self, topic: str, batch: Event) -> bool:
        return batch[0] in self.receipts

    def _check_recording(self, committed: dict[Place, int]) -> None:
        rows = self.query(
            "SELECT topic, partition, max(next_offset) FROM ninezero_data.recorder_progress GROUP BY topic, partition"
        )
        reached = {(topic.removeprefix(self._prefix), number): offset for topic, number, offset in rows}
        for place, offset in committed.items():
            if not self.emptied and offset > reached.get(place, 0):
                self.wrong.append(f"{place} committed {offset}, recorded up to {reached.get(place, 0)}")
        for place, records in self.decisions.items():
            limit = max(committed.get(place, 0), 0)
            while self._counted[place] < len(records) and records[self._counted[place]][0] < limit:
                self._recorded.update(records[self._counted[place]][1])
                self._counted[place] += 1
        [(facts,)] = self.query(
            "SELECT count() FROM (SELECT DISTINCT device_id, seq FROM ninezero_data.screening_facts)"
        )
        if facts < len(self._recorded) and not self.emptied:
            self.wrong.append(f"decisions of {len(self._recorded)} events are committed, {facts} have facts")
