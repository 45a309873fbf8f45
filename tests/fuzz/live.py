"""Sends hostile records to every topic of a running deployment: `make fuzz`, and in short form tests/integration/pipeline/test_bad_input.py.

Each bad record gives one dead letter with the right reason and path, or is decided as the contract requires. No worker stops. Valid
records in between are counted once. No part of a record appears in a log, a dead letter, a metric or a record of the workers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from ninezero.streams.edge.documents.key_ring import new_ring
from ninezero.streams.local_kafka.broker import Broker
from tests.acceptance.client import Tail
from tests.engines.clickhouse_server import ClickHouseServer, start_server
from tests.support import System, wait_for

from . import hostile
from .hostile import CANARY, FIELDS, MIB, SCREENED, Case, Sender

ROLES = ("screening", "lists", "ledgers", "recording")
WAIT = 120
SHOWN_NOWHERE = (CANARY, "forged line", "DROP TABLE", "alert(1)", "\x1b", "jndi", "\u202e")
_AT = "2026-02-03T10:00:00Z"

READ_BACK: dict[str, tuple[Any, ...]] = {
    "screening-outcomes": ({"site_id": "road-0", "at": _AT, "watchlist_version": 1, "outcomes": [["gate-a", 0, "clear", []]]},),
}  # fmt: skip
"""Topics without a format that the programs at the edge read back, with a record of each. A user with too many rights might write to them."""

WRITTEN = (
    "watchlist",
    "quarantine-ledger",
    "followup-ledger",
    "screening-decisions",
    "push-receipts",
    "dead-letters",
    "screening-alerts",
)
"""Topics that only the workers write here. An unreadable record there ends a role (tests/integration/kafka/test_unreadable_records.py)."""

EXTREME_VALUES = (None, True, -1, 2**31, 2**63 - 1, 2**63, 2**64, hostile.Raw("1" * 400), hostile.Raw("1e308"), "", "x" * 65_536, CANARY + "\n'; --", "0001-01-01T00:00:00Z",
       "9999-12-31T23:59:59.999999Z", "2026-02-03T10:00:00", [], {}, [CANARY], {CANARY: [CANARY]}, [[]], [[CANARY] * 11], [None])  # fmt: skip
FOREIGN_KEYS = (
    None,
    b"",
    b"\xff",
    b"||",
    b"a|b",
    b"x" * 65_536,
)


def foreign(topic: str, rng: random.Random, more: int) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Yields (key, value) of records that a worker would not write there; none is valid in every field."""
    for record in READ_BACK[topic]:
        for case in hostile.malformed_cases(partial(deepcopy, record), every=13):
            if case.reasons and len(case.value or b"") <= MIB:
                yield rng.choice(FOREIGN_KEYS), case.value
        for path in _paths(record):
            for value in EXTREME_VALUES:
                if (
                    not isinstance(value, str) or "reasons/0/entries" not in path
                ):  # with text there it would be a valid alert of a wrong sender
                    yield rng.choice(FOREIGN_KEYS), hostile.encode_json(hostile.with_value(record, path, value))
        for _ in range(more):
            value = hostile.mutated_case(partial(deepcopy, record), rng).value
            yield rng.choice(FOREIGN_KEYS), value


def _paths(item: Any, path: str = "") -> Iterator[str]:
    for key, inner in item.items() if isinstance(item, dict) else enumerate(item):
        yield f"{path}{key}"
        if isinstance(inner, dict | list):
            yield from _paths(inner, f"{path}{key}/")


class Attack(System):
    """A deployment with workers of all roles, and the records that were sent to it."""

    def __init__(self, broker: Broker, server: ClickHouseServer, folder: Path, seed: int) -> None:
        new_ring(folder / "keys.json")
        outbox = str(folder / "outbox")
        super().__init__(
            broker.bootstrap, server.url, folder, NINEZERO_KEYS=str(folder / "keys.json"), NINEZERO_OUTBOX=outbox
        )
        self.prepare()
        self.rng, self.sender = random.Random(seed), Sender(seed)
        self.sent: dict[tuple[str, int, int], Case] = {}
        self.foreign_records = 0
        self._accepted_names: dict[tuple[str, int, int], Any] = {}
        self._producer = KafkaProducer(
            bootstrap_servers=broker.bootstrap, acks="all", max_request_size=20 * MIB, linger_ms=20, batch_size=MIB
        )
        self._tail = Tail(broker.bootstrap, self.prefix, [*READ_BACK, *WRITTEN])

    def write_foreign_records(self, more: int) -> None:
        """Writes foreign records to the topics that are read back, before any worker has written there."""
        sent = self._write_foreign_records(READ_BACK, more)
        tailed = self._tail.records
        assert self._tail.until(lambda: sum(map(len, tailed.values())) >= sent, WAIT)
        for some in tailed.values():
            some.clear()  # later records are those of the workers
        self.foreign_records = sent

    def _write_foreign_records(self, topics: Iterable[str], more: int) -> int:
        records = [(topic, *record) for topic in topics for record in foreign(topic, self.rng, more)]
        futures = []
        for topic, key, value in records:
            no_record = value is None and key is None
            futures.append(self._producer.send(self.prefix + topic, value, key=b"" if no_record else key))
        self._producer.flush()
        return len([one.get(60) for one in futures])

    def start_workers(self) -> None:
        """Starts the workers and pushes a list: nothing is decided without one."""
        self.start(*ROLES)
        self.send([("watchlist-pushes", self.valid_case("watchlist-pushes"))])
        wait_for(lambda: self.alive() and self.ready("screening"), WAIT, "the workers")

    def alive(self) -> bool:
        """Returns True if every worker runs.

        Raises:
            AssertionError: a worker ended.
        """
        for role, process in self.workers.items():
            assert process.poll() is None, f"the {role} role ended: {(self.folder / f'{role}.log').read_text()[-2000:]}"
        return True

    def valid_case(self, topic: str) -> Case:
        return Case("good", hostile.encode_json(self.sender.valid_record(topic)))

    def cases(self, topic: str, fraction: float, mutations: int) -> list[tuple[str, Case]]:
        """Returns a fraction of the cases of a topic in random order, with valid records in between.

        Args:
            topic: the topic.
            fraction: the fraction of the field cases, 0 to 1.
            mutations: how many records are mutated at random.
        """

        def make() -> dict[str, Any]:
            return self.sender.valid_record(topic)

        found = [case for case in hostile.field_cases(topic, make) if self.rng.random() < fraction]
        found += hostile.malformed_cases(make, every=max(1, round(0.6 / fraction)))
        found += [hostile.mutated_case(make, self.rng) for _ in range(mutations)]
        if topic == "watchlist-pushes":
            found += hostile.confirmation_cases()
        found += [self.valid_case(topic) for _ in range(len(found) // 10)]
        self.rng.shuffle(found)
        return [(topic, case) for case in found]

    def send(self, cases: Iterable[tuple[str, Case]]) -> None:
        """Sends cases and records the position of each."""
        sent = [
            (topic, case, self._producer.send(self.prefix + topic, case.value, key=case.key)) for topic, case in cases
        ]
        self._producer.flush()
        for topic, case, future in sent:
            where = future.get(60)
            self.sent[topic, where.partition, where.offset] = case

    def too_large_for_kafka(self) -> None:
        """Asserts that Kafka rejects a record of ten megabytes."""
        server = self.env["NINEZERO_KAFKA"]
        with closing(KafkaProducer(bootstrap_servers=server, max_request_size=20 * MIB)) as producer:
            try:
                producer.send(self.prefix + "checkpoint-scans", b"x" * 10 * MIB).get(60)
            except KafkaError as error:
                assert "MessageSizeTooLarge" in type(error).__name__, error
            else:
                raise AssertionError("Kafka accepted a record of 10 MB")

    # -- results -------------------------------------------------------------------------------------------------------

    def dead_letters(self) -> dict[tuple[str, int, int], list[dict[str, Any]]]:
        """Returns the dead letters by the position of their record."""
        found: dict[tuple[str, int, int], list[dict[str, Any]]] = defaultdict(list)
        for record in self._tail.records["dead-letters"]:
            letter = json.loads(record.value)
            found[letter["topic"], letter["partition"], letter["offset"]].append(letter)
        return found

    def _outcomes(self) -> set[tuple[str, int]]:
        return {
            (device, seq)
            for record in self._tail.records["screening-outcomes"]
            for device, seq, _, _ in json.loads(record.value)["outcomes"]
        }

    def _receipts(self) -> set[tuple[str, str]]:
        return {
            (r["authority"], r["batch_id"])
            for r in (json.loads(record.value) for record in self._tail.records["push-receipts"])
        }

    def accepted(self, topic: str, letters: Any) -> set[Any]:
        """Returns the events (for pushes: the batches) of a topic that have no dead letter."""
        names = ("authority", "batch_id") if topic == "watchlist-pushes" else ("device_id", "seq")
        for place, case in self.sent.items():
            if place[0] == topic and place not in letters and not case.reasons and place not in self._accepted_names:
                value = json.loads(case.value or b"null")  # decoded once, because some are a megabyte
                self._accepted_names[place] = None if "confirms" in value else tuple(value[name] for name in names)
        return {
            name for place, name in self._accepted_names.items() if place[0] == topic and place not in letters and name
        }

    def check(self) -> str:
        """Waits for all results, compares them with the cases, and returns one line with the numbers.

        Raises:
            AssertionError: a result is wrong or missing.
        """

        def done() -> bool:
            self.alive()
            letters = self.dead_letters()
            if not {place for place, case in self.sent.items() if case.reasons} <= letters.keys():
                return False
            with_outcome = set().union(*(self.accepted(topic, letters) for topic in SCREENED))
            return with_outcome <= self._outcomes() and self.accepted("watchlist-pushes", letters) <= self._receipts()

        complete = self._tail.until(done, WAIT)
        letters = self.dead_letters()
        wrong = [
            f"{place} {case.name}: {why}"
            for place, case in self.sent.items()
            if (why := self._wrong(case, letters.get(place, [])))
        ]
        assert not wrong, f"{len(wrong)} of {len(self.sent)} are wrong: " + "\n".join(wrong[:25])
        assert complete, "outcomes or receipts are missing"
        assert letters.keys() <= self.sent.keys(), "a dead letter of a record that was not sent"
        self._count(letters)
        self._assert_nothing_shows()
        return f"{len(self.sent):,} records, {len(letters):,} dead letters, {self.foreign_records:,} foreign ones"

    def _wrong(self, case: Case, letters: list[dict[str, Any]]) -> str:
        if len(letters) > 1 or (case.reasons is not None and len(letters) != bool(case.reasons)):
            return f"{len(letters)} dead letters ({[letter['reason'] + letter['path'] for letter in letters]})"
        for letter in letters:
            value = case.value or b""
            if case.reasons and letter["reason"] not in case.reasons:
                return f"{letter['reason']} {letter['path']}, not {sorted(case.reasons)}"
            if case.reasons and letter["path"] not in case.paths:
                return f"{letter['reason']} at {letter['path']!r}, not {sorted(case.paths)[:5]}"
            if (letter["size"], letter["sha256"]) != (len(value), hashlib.sha256(value).hexdigest()):
                return "the size or hash of another record"
        return ""

    def _count(self, letters: Any) -> None:
        """Asserts that each accepted event and each dead letter is counted once, and nothing else."""
        events = {topic: self.accepted(topic, letters) for topic in FIELDS if topic != "watchlist-pushes"}
        topics = ", ".join(f"'{topic}'" for topic in FIELDS)
        wanted = {
            "sum(received) AS n FROM ninezero.device_completeness": len(set().union(*events.values())),
            "sum(passages) AS n FROM ninezero.screening_by_day": len(events["checkpoint-scans"]),
            "sum(people) AS n FROM ninezero.arrivals_by_day": len(events["station-arrivals"]),
            "sum(count) AS n FROM ninezero.dispositions_by_day": len(events["dispositions"]),
            "count() AS n FROM ninezero.push_batches": len(self._receipts()),
            f"sum(records) AS n FROM ninezero.dead_letters_by_hour WHERE topic IN ({topics})": len(letters),
        }
        found: dict[str, int] = {}

        def counted() -> bool:
            self.alive()
            asked = " UNION ALL ".join(
                f"SELECT {number} AS number, toUInt64(n) AS n FROM (SELECT {sql})" for number, sql in enumerate(wanted)
            )
            found.update({list(wanted)[int(row["number"])]: int(row["n"]) for row in self.query(asked)})
            return found == wanted

        try:
            wait_for(counted, 60, "the counts")
        except AssertionError:
            raise AssertionError(
                {sql: (found.get(sql), number) for sql, number in wanted.items() if found.get(sql) != number}
            ) from None
        views = (
            "quarantine_by_day",
            "followups_by_day",
            "reasons_by_day",
            "watchlist_audit",
            "quarantine_occupancy",
            "quarantine_balance",
        )
        self.query(" UNION ALL ".join(f"SELECT count() AS n FROM ninezero.{view}" for view in views))

    def _assert_nothing_shows(self) -> None:
        shown = {"logs": self.logs()}
        for n in range(4):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http + n}/metrics", timeout=10) as answer:
                shown[f"metrics {n}"] = answer.read().decode()
        for topic, records in self._tail.records.items():
            shown[topic] = b"\n".join((record.key or b"") + record.value for record in records).decode()
        found = [
            (place, text, content[max(0, content.index(text) - 300) : content.index(text) + 100])
            for place, content in shown.items() for text in (*SHOWN_NOWHERE, "Traceback") if text in content
        ]  # fmt: skip
        assert not found, found

    def assert_commands_work(self) -> None:
        """Asserts that commands work between foreign records: a push, a scan, `watchlist show`, a correction.

        Raises:
            AssertionError: one of them does not.
        """
        self._write_foreign_records(READ_BACK, more=0)
        (self.folder / "people.csv").write_text("id\n11010519491231002X\n")
        push = (
            "push",
            "people.csv",
            "--authority",
            "cdc",
            "--list",
            "mistaken",
            "--category",
            "confirmed_case",
            "--by",
            "p",
            "--basis",
            "B",
        )
        line = b'{"kind":"pedestrian","people":[{"role":"pedestrian","id":"11010519491231002X","temperature_c":36.5}]}'
        # The other list has tokens of another key ring, so the batch is held.
        held = self.run(*push, "--days", "3").stderr.decode()
        assert "unknown_key_ids" in held, held
        batch = held.partition("--confirm ")[2].split()[0]
        self._assert_prints("1 accepted", "push", "--confirm", batch, "--by", "q")
        self._assert_prints("mistaken", "watchlist", "show")
        time.sleep(2)  # CONTRACT §5: an applied batch matches within two seconds
        self._assert_prints("refer (person 0)", "scan", "-", "--site", "road-0", "--device", "desk-a", stdin=line)
        self._assert_prints("1 withdrawn", *push, "--withdraw", "--reason", "mistake")
        self._tail.until(
            lambda: any(
                b"correction_of" in r.value and b"road-0" in r.value for r in self._tail.records["screening-alerts"]
            ),
            60,
        )
        corrected = [
            r for r in self._tail.records["screening-alerts"] if b"correction_of" in r.value and b"road-0" in r.value
        ]
        assert self.alive() and len(corrected) == 1

    def _assert_prints(self, text: str, *arguments: str, stdin: bytes = b"") -> None:
        done = self.run(*arguments, stdin=stdin)
        printed = (done.stdout + done.stderr).decode()
        assert done.returncode == 0 and text in printed and "Traceback" not in printed, printed

    def close(self) -> None:
        self.stop()
        self._producer.close()
        self._tail.close()


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    given = options.parse_args()
    end, seed = time.monotonic() + given.seconds, given.seed
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder) / "kafka")
        broker.start()
        try:
            while True:
                server = start_server(Path(folder) / f"clickhouse-{seed}")
                place = Path(folder) / str(seed)
                place.mkdir()
                attack = Attack(broker, server, place, seed)
                try:
                    attack.write_foreign_records(more=200)
                    attack.start_workers()
                    for topic in FIELDS:
                        attack.send(attack.cases(topic, fraction=1.0, mutations=1_000))
                    attack.too_large_for_kafka()
                    print(f"seed {seed}: {attack.check()}", flush=True)
                    attack.assert_commands_work()
                finally:
                    attack.close()
                    server.close()
                seed += 1
                if time.monotonic() > end:
                    break
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
