"""The end: keys, lists and state are erased, and a certificate says what was, what is left, and what nobody here can reach.

The keys go first: without them no token leads back to a person, whatever else survives somewhere. Counts stay. Each store is erased
by itself; one that fails is written down as remaining, and the others are erased all the same.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from ninezero.streams.edge.device import outbox
from ninezero.streams.edge.documents import key_ring
from ninezero.streams.errors import UserError
from ninezero.streams.kafka import administration, sync
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import Settings

if TYPE_CHECKING:  # a device has no ClickHouse
    from ninezero.streams.clickhouse.engines import Engine

KEPT = frozenset({
    "schema_migrations", "screening_rollup", "push_receipts", "push_audit", "dead_letter_facts", "site_register", "sealed_days",
    "case_folds", "quarantine_kept", "followup_kept", "followup_closings_kept", "followup_delays_kept", "disposition_days", "device_days", "publications",
})  # fmt: skip
"""Tables of ninezero_data that stay: counts, and who did what to which list. Every other one is erased."""

LEFTOVERS = ("worker.log", "demo.json", "report.json", "keys.json", "keys.json.new")
"""Files that local runs leave in .run/, besides the databases and the outboxes."""

OUT_OF_REACH = (
    (
        "key rings and outboxes",
        "other devices, and whoever pushes: run `ninezero erase --edge --yes` there, or destroy the disks",
    ),
    ("the clerks' files of identities", "health authorities: they never were in this system"),
    ("backups and snapshots", "of Kafka, ClickHouse and the disks: until they expire"),
    ("log segments", "Kafka brokers, every replica: until file.delete.delay.ms (1 min) after the deletion"),
    ("names and offsets", "Kafka's __transaction_state and __consumer_offsets: until compacted; they hold no record"),
    ("blocks of deleted files", "disks and their spares: until overwritten; encrypt disks, and destroy the key"),
    ("logs and query logs", "of workers, brokers and ClickHouse: no identity and no token, but names of devices"),
    ("outcomes, alerts, receipts and counts", "whoever read them: health staff, authorities, analysts"),
)

State = Literal["erased", "absent", "remains", "stays", "not reached"]


class Line(NamedTuple):
    """One line of the certificate: what became of what, where, and how many there were."""

    state: State
    what: str
    where: str
    number: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.state:<11} | {self.what} | {self.where} | {self.number} | {self.at:%Y-%m-%dT%H:%M:%SZ}"


class Erasure:
    """Erases a deployment as its settings name it; `run` is the folder of local runs, `roles` the workers' roles.

    At the edge (a device, or whoever pushes) there are no roles: only the key ring and the outboxes are erased.
    """

    def __init__(self, settings: Settings, run: Path, roles: Iterable[str] = ()) -> None:
        self._settings, self._run, self._roles = settings, run, tuple(roles)
        self._unreachable: UserError | None = None

    def plan(self) -> list[str]:
        """What would be erased, for whoever has not said yes."""
        keys = self._settings.keys
        edge = [
            f"the key ring {keys}" if keys else "no key ring: NINEZERO_KEYS is not set",
            f"the outboxes in {self._settings.outbox}",
        ]
        return (
            edge
            if not self._roles
            else [
                *edge,
                f"the topics and consumer groups of this deployment on Kafka (prefix {self._settings.topic_prefix or 'none'})",
                "facts, progress and case facts in ClickHouse (counts stay)",
                f"what Faust and local runs left in {self._settings.state} and {self._run}",
            ]
        )

    def running(self) -> list[str]:
        """Consumer groups of this deployment that have members: workers that still run. Empty where Kafka does not answer."""
        if not self._roles:
            return []
        try:
            return administration.active_groups(self._settings, self._roles)
        except sync.KafkaUnreachable as error:
            self._unreachable = error  # said once is enough: it takes ten seconds to find out
            return []

    def erase(self) -> list[Line]:
        """Erases what it can, in every store; a line for each thing."""
        lines = _tried("key ring", self._keys) + _tried("outboxes", self._outboxes)
        if self._roles:
            lines += (
                _tried("Kafka", self._kafka) + _tried("ClickHouse", self._facts) + _tried("local runs", self._files)
            )
        now = datetime.now(UTC)
        return lines + [Line("not reached", what, where, "unknown", now) for what, where in OUT_OF_REACH]

    def _keys(self) -> Iterator[Line]:
        path = self._settings.keys
        if path is None:
            yield _line("absent", "key ring", "NINEZERO_KEYS is not set", "0")
        elif not path.exists() and not path.with_name(f"{path.name}.new").exists():
            yield _line("absent", "key ring", str(path), "0")
        else:
            yield _line("erased", "key ring", str(path), f"{key_ring.erase(path)} keys")

    def _outboxes(self) -> Iterator[Line]:
        found = sorted(self._settings.outbox.glob("*.sqlite"))
        if not found:
            yield _line("absent", "outboxes", str(self._settings.outbox), "0")
        for path in found:
            yield from _tried("outbox", partial(_without_events, path))

    def _kafka(self) -> Iterator[Line]:
        if self._unreachable is not None:
            raise self._unreachable
        done = administration.erase(self._settings, self._roles)
        where = f"Kafka at {self._settings.kafka}"
        for name, records in done.topics:
            yield _line("erased", f"topic {name}", where, f"{records} records")
        for name in done.groups:
            yield _line("erased", f"consumer group {name}", where, "1")
        for name in done.left:
            yield _line("remains", f"topic or group {name}", where, "unknown")
        if not (done.topics or done.groups or done.left):
            yield _line("absent", "topics and consumer groups", where, "0")

    def _facts(self) -> Iterator[Line]:
        from ninezero.streams.clickhouse import engines as clickhouse

        engine = clickhouse.connect(self._settings.clickhouse)
        try:
            yield from erase_facts(engine, self._settings.timezone)
        finally:
            engine.close()

    def _files(self) -> Iterator[Line]:
        found = [path for name in LEFTOVERS if (path := self._run / name).exists()]
        for path in found:
            path.unlink()
            yield _line("erased", "file of a local run", str(path), "1")
        if self._settings.state.exists():
            shutil.rmtree(self._settings.state)
            yield _line("erased", "state of Faust", str(self._settings.state), "1")
        broker = self._run / "kafka"
        if broker.exists():
            if Broker(broker).running():
                yield _line("stays", "the local Kafka, which runs; its topics see above", str(broker), "1")
            else:
                shutil.rmtree(broker)
                yield _line("erased", "data of the local Kafka", str(broker), "1")


def erase_facts(engine: Engine, timezone: str) -> Iterator[Line]:
    """Erases the facts after their sums are frozen: as retention does, of every day; then all that is not a count."""
    from ninezero.agents.recording import case_tables as cases
    from ninezero.agents.recording import retention
    from ninezero.streams.clickhouse import engines as clickhouse

    clickhouse.migrate(engine, timezone)
    before = _counts(engine)
    cases.end_cases(engine)
    retention.retain(engine, datetime.now(UTC).date() + timedelta(days=3))
    erased = sorted(before.keys() - KEPT)
    for table in erased:
        engine.execute(f"TRUNCATE TABLE ninezero_data.{table}")  # its files are gone when it returns
    left = _counts(engine)
    for table in erased:
        yield _line(
            "remains" if left.get(table) else "erased",
            f"table ninezero_data.{table}",
            "ClickHouse",
            f"{before[table]} rows",
        )
    for table in sorted(left.keys() & KEPT):
        yield _line("stays", f"table ninezero_data.{table}", "ClickHouse", f"{left[table]} rows")


def _counts(engine: Engine) -> dict[str, int]:
    found = engine.query("SELECT name FROM system.tables WHERE database = 'ninezero_data' AND engine LIKE '%MergeTree'")
    return {
        row["name"]: int(engine.query(f"SELECT count() AS n FROM ninezero_data.{row['name']}")[0]["n"]) for row in found
    }


def certificate(settings: Settings, lines: list[Line], began: datetime) -> str:
    """The text, with the SHA-256 of all that is above it in its last line."""
    ended = "after" if began >= settings.sunset else "before"
    body = "\n".join([
        f"Erasure of the deployment under the order {settings.order}",
        f"begun {began:%Y-%m-%dT%H:%M:%SZ}, {ended} the sunset of {settings.sunset:%Y-%m-%dT%H:%M:%SZ}",
        "complete" if complete(lines) else "INCOMPLETE: see the lines that begin with remains, mend, and erase again",
        "",
        *map(str, lines),
        "",
    ])  # fmt: skip
    return f"{body}sha256 {hashlib.sha256(body.encode()).hexdigest()}\n"


def complete(lines: list[Line]) -> bool:
    """Whether nothing remains that should be gone."""
    return all(line.state != "remains" for line in lines)


def _tried(what: str, step: Callable[[], Iterable[Line]]) -> list[Line]:
    lines: list[Line] = []
    try:
        lines.extend(step())
    except UserError as error:
        lines.append(_line("remains", what, str(error), "unknown"))
    except OSError as error:
        lines.append(_line("remains", what, error.strerror or type(error).__name__, "unknown"))
    return lines


def _without_events(path: Path) -> list[Line]:
    return [_line("erased", "outbox", str(path), f"{outbox.erase(path)} events waiting")]


def _line(state: State, what: str, where: str, number: str) -> Line:
    return Line(state, what, where, number, datetime.now(UTC))
