"""Erasure at the end of a deployment: keys, lists and state are erased, counts remain, a certificate lists the result.

The key ring is erased first: without it no token leads back to a person, whatever else survives somewhere. Each store is
erased separately. A store that fails is listed as remaining, and the others are erased all the same.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import urllib.error
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from ninezero.streams import direct_http
from ninezero.streams.edge.device import outbox
from ninezero.streams.edge.device.outbox_deployment import OutboxDeployment
from ninezero.streams.edge.device.outbox_place import former_folder, outbox_files
from ninezero.streams.edge.device.outbox_summary import read_summary
from ninezero.streams.edge.documents import key_ring
from ninezero.streams.errors import UserError
from ninezero.streams.kafka import administration, sync
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.local_kafka.errors import BrokerError
from ninezero.streams.settings import Settings, WorkerAddress, is_loopback

if TYPE_CHECKING:  # the packages of ClickHouse are not installed on a device
    from ninezero.streams.clickhouse import Engine

KEPT = "kept by erase"
"""The comment of the tables of `ninezero_data` that remain: counts, and the audit of the lists (schemas/sql/). Every other table is
erased."""

LOCAL_RUN_FILES = ("worker.log",)
"""Files that the workers of a deployment write into .run/ if it was set up as the documentation shows. A demo has a folder of its own there."""


class OutOfReach(NamedTuple):
    """Data that this command cannot erase, where it is, and how or when it is erased."""

    what: str
    where: str


OUT_OF_REACH = (
    OutOfReach(
        "key rings and outboxes",
        "other machines, other accounts and other folders of this machine: they were not checked; run `ninezero erase --edge --yes` there"
        " with the settings of each device, or destroy the disks",
    ),
    OutOfReach("files with identities", "clerks at health authorities: they were never in this system"),
    OutOfReach("backups and snapshots", "of Kafka, ClickHouse and the disks: until they expire"),
    OutOfReach(
        "files of merged rows",
        "the disk of ClickHouse: until its old_parts_lifetime (8 min) after the merge; no query reads them",
    ),
    OutOfReach("log segments", "every Kafka broker: until file.delete.delay.ms (1 min) after the deletion"),
    OutOfReach(
        "names and offsets", "Kafka's __transaction_state and __consumer_offsets: until compacted; they hold no record"
    ),
    OutOfReach(
        "blocks of deleted files",
        "disks and their spare blocks: until overwritten; encrypt the disks, and destroy the encryption key",
    ),
    OutOfReach(
        "logs and query logs", "of workers, brokers and ClickHouse: no identity and no token, but names of devices"
    ),
    OutOfReach("outcomes, alerts, receipts and counts", "everyone who read them: health staff, authorities, analysts"),
)

COMPLETE = 'complete for what was checked: the lines with "not reached" name what was not'
"""The verdict of a certificate without a line `remains`."""

_PAST_EVERY_DAY = timedelta(days=3)
"""Added to today: later than every local day of which events can exist."""

_UNKNOWN_OWNER = (
    "it was used with another Kafka address, and that of the settings does not answer; repeat the command when it does, or add an address"
    " of the outbox to NINEZERO_KAFKA"
)

State = Literal["erased", "absent", "remains", "stays", "not reached"]
"""`remains` should have been erased and was not; `stays` is kept on purpose; `not reached` is out of reach."""


class CertificateLine(NamedTuple):
    """A line of the certificate: what became of the data, what and where it is, its number, and the time of the check."""

    state: State
    what: str
    where: str
    number: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.state:<11} | {self.what} | {self.where} | {self.number} | {self.at:%Y-%m-%dT%H:%M:%SZ}"


class _Owner(NamedTuple):
    """The deployment that an outbox states, if any, and whether it is the one to erase; None if only Kafka can tell."""

    stated: OutboxDeployment | None
    is_ours: bool | None


class Erasure:
    """Erases the deployment that the settings name."""

    def __init__(self, settings: Settings, run: Path, roles: Iterable[str] = ()) -> None:
        """Prepares the erasure; nothing is erased yet.

        Args:
            settings: the settings of the deployment.
            run: the folder of local runs.
            roles: the roles of the workers. Without roles (on a device, or a machine that pushes) only the key ring and
                the outboxes are erased.
        """
        self._settings, self._run, self._roles = settings, run, tuple(roles)
        self._unreachable: UserError | None = None

    def plan(self) -> list[str]:
        """Returns a description of everything that `erase` would erase."""
        keys, outboxes = self._settings.keys, " and ".join(map(str, self._outbox_folders()))
        edge = [
            f"the key ring {keys}" if keys else "no key ring: NINEZERO_KEYS is not set",
            f"the outboxes in {outboxes}"
            if outboxes
            else "no outboxes: NINEZERO_OUTBOX is not set, and there is no home folder",
            *(
                f"the outbox {_described(path)}"
                for folder in self._outbox_folders()
                for path in self._outboxes_to_erase(folder)
            ),
        ]
        if not self._roles:
            return edge
        return [
            *edge,
            f"the topics and consumer groups of this deployment on Kafka (prefix {self._settings.topic_prefix or 'none'})",
            "facts, progress and case facts in ClickHouse (counts stay)",
            f"files of local runs in {self._run}",
        ]

    def running(self) -> list[str]:
        """Returns the workers that still run: the roles that answer at their addresses, and the consumer groups that have members.

        A worker on a machine under load can lose its membership, and one that waits for Kafka has none.

        Raises:
            KafkaProblem: Kafka cannot tell now whether workers run, so nothing must be erased.
        """
        if not self._roles:
            return []
        found = [f"{one.role} at {one.url}" for one in self._settings.all_workers() if _answers(one)]
        try:
            found += administration.active_groups(self._settings, self._roles)
        except (sync.KafkaUnreachable, sync.KafkaForbidden) as error:
            self._unreachable = error  # `_kafka` reports it without waiting ten seconds for Kafka again
        return found

    def erase(self) -> list[CertificateLine]:
        """Erases every store. Returns the lines of the certificate, including data that is out of reach."""
        lines = _attempt("key ring", self._keys) + _attempt("outboxes", self._outboxes)
        if self._roles:
            lines += (
                _attempt("Kafka", self._kafka)
                + _attempt("ClickHouse", self._facts)
                + _attempt("local runs", self._files)
            )
        now = datetime.now(UTC)
        return lines + [CertificateLine("not reached", data.what, data.where, "unknown", now) for data in OUT_OF_REACH]

    def _keys(self) -> Iterator[CertificateLine]:
        path = self._settings.keys
        if path is None:
            yield _line("not reached", "key ring", "NINEZERO_KEYS is not set, so none was looked for", "unknown")
        elif not path.exists() and not path.with_name(f"{path.name}.new").exists():
            yield _line("absent", "key ring", str(path), "0")
        else:
            yield _line("erased", "key ring", str(path), f"{key_ring.erase(path)} keys")

    def _outboxes(self) -> Iterator[CertificateLine]:
        self._settings.outbox_folder()  # without a place nothing was checked, which is an error
        for folder in self._outbox_folders():
            yield from _attempt(f"outboxes in {folder}", partial(self._outboxes_in, folder))

    def _outboxes_in(self, folder: Path) -> Iterator[CertificateLine]:
        found = outbox_files(folder)
        if not found:
            yield _line("absent", "outboxes", str(folder), "0")
        for path in found:
            owner = self._owner(path)
            if owner.is_ours:
                yield from _attempt("outbox", partial(_erase_outbox, path))
            elif owner.is_ours is None:
                yield _line("remains", f"outbox that may be of another deployment: {_UNKNOWN_OWNER}", str(path), "1")
            else:
                yield _line("stays", f"outbox of another deployment ({owner.stated})", str(path), "1")

    def _outboxes_to_erase(self, folder: Path) -> list[Path]:
        try:
            return [path for path in outbox_files(folder) if self._owner(path).is_ours]
        except OSError:  # the erasure says that the folder cannot be read
            return []

    def _owner(self, path: Path) -> _Owner:
        """Returns the owner of an outbox. Kafka is asked for its cluster id if the settings do not decide."""
        try:
            found = read_summary(path)
        except sqlite3.Error:  # a damaged one is erased: it may hold tokens
            return _Owner(None, True)
        offline = OutboxDeployment.of(self._settings)
        if found.deployment is None or found.is_of_another(offline):
            return _Owner(found.deployment, found.deployment is None)
        same = found.deployment.is_same(offline)
        return _Owner(found.deployment, found.deployment.is_same(self._deployment) if same is None else same)

    @cached_property
    def _deployment(self) -> OutboxDeployment:
        """The deployment to erase, with the id of its cluster if Kafka answers."""
        given = OutboxDeployment.of(self._settings)
        try:
            return replace(given, cluster=sync.cluster_id(self._settings, bootstrap_timeout_ms=3_000))
        except sync.KafkaProblem:
            return given

    def _outbox_folders(self) -> list[Path]:
        """Returns the folders in which outboxes of this machine are erased: the one of the settings, and the former default if there is one."""
        folders = (self._settings.outbox, former_folder(self._settings))
        return list(dict.fromkeys(folder for folder in folders if folder is not None))

    def _kafka(self) -> Iterator[CertificateLine]:
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

    def _facts(self) -> Iterator[CertificateLine]:
        from ninezero.streams import clickhouse

        engine = clickhouse.connect(self._settings.clickhouse)
        try:
            yield from erase_tables(engine, self._settings.timezone)
        finally:
            engine.close()

    def _files(self) -> Iterator[CertificateLine]:
        found = [path for name in LOCAL_RUN_FILES if (path := self._run / name).exists()]
        for path in found:
            path.unlink()
            yield _line("erased", "file of a local run", str(path), "1")
        broker = self._run / "kafka"
        if broker.exists() and not self._is_our_kafka(broker):
            yield _line("stays", "data of a local Kafka of another deployment", str(broker), "1")
        elif broker.exists():
            if Broker(broker).running():
                yield _line("stays", "the local Kafka, which is running; its topics are listed above", str(broker), "1")
            else:
                shutil.rmtree(broker)
                yield _line("erased", "data of the local Kafka", str(broker), "1")

    def _is_our_kafka(self, folder: Path) -> bool:
        """Returns whether a local Kafka is the one of the settings. One that never started has no data."""
        try:
            port = Broker(folder).bootstrap.rpartition(":")[2]
        except BrokerError:
            return True
        hosts = (server.rpartition(":") for server in self._settings.kafka.split(","))
        return any(is_loopback(host) and number == port for host, _, number in hosts)


def erase_tables(engine: Engine, timezone: str) -> Iterator[CertificateLine]:
    """Freezes the counts of every day and case, as retention does, then erases every table that holds no counts.

    Yields:
        A line for each table of `ninezero_data`.

    Raises:
        ClickHouseError: a statement failed; the next call resumes.
    """
    from ninezero.agents.recording.case_deletion import delete_all_cases
    from ninezero.agents.recording.retention import retain
    from ninezero.streams import clickhouse

    clickhouse.ensure_schema(engine, timezone)
    before = _rows_by_table(engine)
    delete_all_cases(engine, datetime.now(ZoneInfo(timezone)).date())
    last = datetime.now(UTC).date() + _PAST_EVERY_DAY
    retain(engine, last, last)
    kept = kept_tables(engine)
    erased = sorted(before.keys() - kept)
    for table in erased:
        engine.execute(f"TRUNCATE TABLE ninezero_data.{table}")
    left = _rows_by_table(engine)
    for table in erased:
        yield _line(
            "remains" if left.get(table) else "erased",
            f"table ninezero_data.{table}",
            "ClickHouse",
            f"{before[table]} rows",
        )
    for table in sorted(left.keys() & kept):
        yield _line("stays", f"table ninezero_data.{table}", "ClickHouse", f"{left[table]} rows")


def kept_tables(engine: Engine) -> set[str]:
    """Returns the tables of `ninezero_data` that an erasure keeps."""
    tables = engine.query(f"SELECT name FROM system.tables WHERE database = 'ninezero_data' AND comment = '{KEPT}'")
    return {"schema_migrations"} | {row["name"] for row in tables}


def _rows_by_table(engine: Engine) -> dict[str, int]:
    found = engine.query("SELECT name FROM system.tables WHERE database = 'ninezero_data' AND engine LIKE '%MergeTree'")
    return {
        row["name"]: int(engine.query(f"SELECT count() AS n FROM ninezero_data.{row['name']}")[0]["n"]) for row in found
    }


def certificate(settings: Settings, lines: list[CertificateLine], began: datetime) -> str:
    """Returns the text of the certificate. Its last line is the SHA-256 of everything above it.

    Args:
        settings: the settings of the deployment.
        lines: the result of `Erasure.erase`.
        began: when the erasure began.
    """
    ended = "after" if began >= settings.sunset else "before"
    body = "\n".join([
        f"Erasure of the deployment under the order {settings.order}",
        f"begun {began:%Y-%m-%dT%H:%M:%SZ}, {ended} the sunset of {settings.sunset:%Y-%m-%dT%H:%M:%SZ}",
        COMPLETE if complete(lines) else "INCOMPLETE: solve what the lines with \"remains\" name, and erase again",
        _outbox_summary(settings, lines),
        "",
        *map(str, lines),
        "",
    ])  # fmt: skip
    return f"{body}sha256 {hashlib.sha256(body.encode()).hexdigest()}\n"


def _outbox_summary(settings: Settings, lines: list[CertificateLine]) -> str:
    """Says how many outboxes were found, and where nobody looked."""
    unread = any(line.state == "remains" and line.what.startswith("outboxes") for line in lines)
    found = sum(line.what == "outbox" for line in lines)
    what = "could not be checked" if unread else f"{found} found"
    return (
        f"outboxes of this machine: {what} in {settings.outbox or 'no folder (NINEZERO_OUTBOX is not set)'}; other machines, other accounts"
        " and other folders were not checked"
    )


def complete(lines: list[CertificateLine]) -> bool:
    """Returns whether everything that should be erased is erased."""
    return all(line.state != "remains" for line in lines)


def _attempt(what: str, step: Callable[[], Iterable[CertificateLine]]) -> list[CertificateLine]:
    lines: list[CertificateLine] = []
    try:
        lines.extend(step())
    except UserError as error:
        lines.append(_line("remains", what, str(error), "unknown"))
    except OSError as error:
        lines.append(_line("remains", what, error.strerror or type(error).__name__, "unknown"))
    return lines


def _answers(worker: WorkerAddress) -> bool:
    """Returns whether a process answers at the address of a worker. One that accepts a connection and is silent counts, too."""
    try:
        with direct_http.ask(f"{worker.url}/healthz", timeout=3):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError:  # nobody accepts the connection
        return False
    except OSError:
        return True


def _described(path: Path) -> str:
    """Returns an outbox with what waits in it and the deployment that it states: one under the same order can be another one."""
    try:
        found = read_summary(path)
    except sqlite3.Error:
        return f"{path}, which cannot be read"
    used = f"last used with {found.deployment}" if found.deployment else "never connected"
    return f"{path}: {found.waiting:,} events wait for Kafka; {used}"


def _erase_outbox(path: Path) -> list[CertificateLine]:
    return [_line("erased", "outbox", str(path), f"{outbox.erase(path)} events waiting")]


def _line(state: State, what: str, where: str, number: str) -> CertificateLine:
    return CertificateLine(state, what, where, number, datetime.now(UTC))
