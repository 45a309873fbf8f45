"""The durable outbox of a device: it stores an event before `scan()` returns and deletes it when Kafka has acknowledged it.

The outbox is an SQLite file in WAL mode. New events are written with `synchronous=FULL`, so they are on disk when `append`
returns. Acknowledgements are written with `synchronous=NORMAL`: if a power cut loses one, the event is sent again, and the
workers count it once. The sequence counter changes in the same transaction as the events, so it has no gaps. After an
acknowledgement only an event's number and quality findings remain until its outcome arrives. SQLite's log beside the file still has
earlier contents; it is truncated when no event waits.

The file cannot show that its counter went back, which happens if an old copy is restored or two machines use copies of one
file. The outcome reader detects it when Kafka has an outcome of a number that the outbox has not assigned. From then on the
outbox accepts nothing (`stop_accepting`), because the workers would not count events under numbers that were used before.

A new file begins at number 0, as that of a device that lost its outbox would. So nothing of it is sent before Kafka was asked for
outcomes of this device, and had none (`compared`).

The file states the deployment that it belongs to (`outbox_deployment.py`). Another one is refused.
"""

import contextlib
import errno
import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.device import outbox_messages as messages
from ninezero.streams.edge.device.outbox_deployment import OutboxDeployment, Ownership
from ninezero.streams.errors import UserError

CAPACITY = 200_000
"""Default capacity in events: about a week of a busy checkpoint."""

RESERVE_BYTES = 8 << 20
"""Free disk space that new events may not use. Acknowledgements need it: on a full disk SQLite cannot delete events."""

ANSWER_HOURS = 24
"""Time for which an outcome is awaited: its topic keeps it no longer."""

BUSY_SECONDS = 30
"""Time for which SQLite waits for another program that locks the file."""

_UPGRADES = (
    """
CREATE TABLE IF NOT EXISTS device (device_id TEXT NOT NULL, next_seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS unsent (
    seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
    boot TEXT NOT NULL, ticks INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS unanswered (seq INTEGER PRIMARY KEY, kafka_ms INTEGER NOT NULL);
""",
    """
ALTER TABLE unsent ADD COLUMN findings TEXT NOT NULL DEFAULT '';
ALTER TABLE unanswered ADD COLUMN findings TEXT NOT NULL DEFAULT ''
""",
    "ALTER TABLE device ADD COLUMN compared INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE device ADD COLUMN deployment TEXT NOT NULL DEFAULT ''",
)
"""The statements that lead from version n of the file to version n + 1. Version 0 is a new file, or one from before 0.1.0.

`PRAGMA user_version` holds the version. A file is upgraded in one transaction when it is opened. Released statements never change.
"""


class OutboxError(UserError):
    """The outbox cannot be used, or did *not* accept an event: one line with the problem and the remedy."""


class NewEvent(NamedTuple):
    """An event to append. `encode` gets the sequence number and returns the value."""

    topic: str
    key: bytes
    encode: Callable[[int], bytes]
    findings: str = ""
    """What the answer of the event is to repeat, for the next run. It quotes no value."""


class UnsentEvent(NamedTuple):
    """An event that Kafka has not acknowledged."""

    seq: int
    topic: str
    key: bytes
    value: bytes
    boot_id: str
    """The boot of the machine during which the event was accepted."""
    ticks_ms: int
    """The time at which it was accepted, in ms since that boot."""


class OutboxStatus(NamedTuple):
    """The fill level of an outbox."""

    waiting: int
    """Events that Kafka has not acknowledged."""
    capacity: int
    """Events that fit in the outbox."""
    unanswered: int
    """Acknowledged events whose outcome has not arrived."""


class Outbox:
    """The outbox of one device. Threads may share it; only one process at a time may open it.

    Args:
        path: the SQLite file; created if it does not exist.
        device_id: the device that owns the file.
        capacity: events that may wait at the same time.
        deployment: the deployment that uses the file; None if the file is only read.

    Raises:
        OutboxError: the file belongs to another device or deployment, is in use, or cannot be read or written.
    """

    def __init__(
        self, path: str | Path, device_id: str, capacity: int = CAPACITY, deployment: OutboxDeployment | None = None
    ) -> None:
        self._path, self._device_id, self.capacity = Path(path), device_id, capacity
        self._lock = threading.Lock()
        self._answered_unsent: set[int] = set()
        """Numbers whose outcome arrived before their acknowledgement."""
        self._file_lock = lock_outbox(self._path)
        try:
            self._durable = self._connect("FULL")
            self._relaxed = self._connect("NORMAL")
            with self._lock, _transaction(self._durable) as db:
                _claim(db, device_id)
                self._ownership = None if deployment is None else _claim_for(db, deployment)
                self._waiting = int(db.execute("SELECT count(*) FROM unsent").fetchone()[0])
            self._truncate_log_if_empty()
        except (sqlite3.Error, OSError) as error:
            os.close(self._file_lock)
            raise _file_error(error) from None
        except OutboxError:
            os.close(self._file_lock)
            raise

    def append(self, events: Sequence[NewEvent], boot_id: str, ticks_ms: int) -> range:
        """Appends all events or none, and returns their sequence numbers. They are on disk when this returns.

        Args:
            events: the events, in order.
            boot_id: the current boot of the machine.
            ticks_ms: ms since that boot.

        Raises:
            OutboxError: the outbox or the disk is full, the counter is not valid, or the outbox belongs to another deployment. No number
                was used.
        """
        with self._lock:
            if refusal := self.refusal():
                raise refusal
            if self._waiting + len(events) > self.capacity:
                raise OutboxError(
                    "the outbox is full and the event was NOT accepted: connect the device to Kafka",
                    chinese="发件箱已满，没有接受：请让设备连上 Kafka",
                )
            try:
                if self._free_bytes() < RESERVE_BYTES:
                    raise OSError(errno.ENOSPC, "")
                with _transaction(self._durable) as db:
                    first = _next_seq(db)
                    if first is None:
                        raise self._counter_behind(_is_compared(db), accepting=True)
                    seqs = _append(db, first, events, boot_id, ticks_ms)
            except (sqlite3.Error, OSError) as error:
                raise _file_error(error, accepting=True) from None
            self._waiting += len(events)
            return seqs

    def read_unsent(self, after_seq: int, limit: int, except_topics: Sequence[str] = ()) -> list[UnsentEvent]:
        """Returns the next events after a sequence number, in order, without those of `except_topics`."""
        sql = "SELECT seq, topic, key, value, boot, ticks FROM unsent WHERE seq > ? AND topic NOT IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?"
        with self._using(self._relaxed) as db:
            return [UnsentEvent(*row) for row in db.execute(sql, (after_seq, json.dumps(list(except_topics)), limit))]

    def acknowledge(self, acknowledged: Iterable[tuple[int, int | None]]) -> None:
        """Deletes events that Kafka has stored.

        Args:
            acknowledged: the sequence number of each, and its Kafka timestamp (Unix time in ms) if it gets an outcome.
        """
        pairs = list(acknowledged)
        with self._using(self._relaxed):
            awaited = [(seq, at) for seq, at in pairs if at is not None and seq not in self._answered_unsent]
            with _transaction(self._relaxed) as db:
                db.executemany(
                    "INSERT OR REPLACE INTO unanswered VALUES (?1, ?2, coalesce((SELECT findings FROM unsent WHERE seq = ?1), ''))",
                    awaited,
                )
                deleted = db.executemany("DELETE FROM unsent WHERE seq = ?", [(seq,) for seq, _ in pairs]).rowcount
                if awaited:
                    horizon = max(kafka_ms for _, kafka_ms in awaited) - ANSWER_HOURS * 3_600_000
                    db.execute("DELETE FROM unanswered WHERE kafka_ms < ?", (horizon,))
            self._answered_unsent.difference_update(seq for seq, _ in pairs)
            self._waiting -= deleted
            self._truncate_log_if_empty()

    def replace_value(self, seq: int, value: bytes) -> None:
        """Replaces the value of an unsent event, after Kafka's clock showed that the workers reject its time."""
        with self._using(self._durable), _transaction(self._durable) as db:
            db.execute("UPDATE unsent SET value = ? WHERE seq = ?", (value, seq))

    def record_answers(self, seqs: Iterable[int]) -> None:
        """Records that outcomes arrived. An outcome may arrive before the acknowledgement of its event."""
        with self._using(self._relaxed), _transaction(self._relaxed) as db:
            for seq in seqs:
                if not db.execute("DELETE FROM unanswered WHERE seq = ?", (seq,)).rowcount and (
                    db.execute("SELECT 1 FROM unsent WHERE seq = ?", (seq,)).fetchone()
                ):
                    self._answered_unsent.add(seq)

    def findings(self) -> dict[int, str]:
        """Returns the findings of the events that wait for an acknowledgement or an outcome, by number."""
        sql = "SELECT seq, findings FROM {} WHERE findings != ''"
        with self._using(self._relaxed) as db:
            return dict(db.execute(f"{sql.format('unanswered')} UNION {sql.format('unsent')} ORDER BY seq"))

    def oldest_unanswered_ms(self) -> int | None:
        """Returns the Kafka timestamp (Unix time in ms) of the oldest event without an outcome, or None."""
        with self._using(self._relaxed) as db:
            found = db.execute("SELECT min(kafka_ms) FROM unanswered").fetchone()[0]
            return None if found is None else int(found)

    def is_behind(self, seq: int) -> bool:
        """Returns whether Kafka knows a number that the outbox has not assigned.

        Then the counter went back, or another device uses the same device_id.
        """
        with self._using(self._relaxed) as db:
            next_seq = _next_seq(db)
            return next_seq is not None and seq >= next_seq

    def compared(self) -> bool:
        """Returns whether it is known that no other outbox has used the numbers of this one."""
        with self._using(self._relaxed) as db:
            return _is_compared(db)

    def set_compared(self) -> None:
        """Records that Kafka was asked, and has no event of this device that is not from this outbox."""
        with self._using(self._durable), _transaction(self._durable) as db:
            db.execute("UPDATE device SET compared = 1")

    def is_confirmed(self) -> bool:
        """Returns whether the outbox was connected to the Kafka of its deployment under the settings of now."""
        return self._ownership is None or self._ownership.is_confirmed()

    def confirm(self, cluster: str) -> None:
        """Checks that the Kafka which has answered is that of the outbox, and records it. Nothing is sent or read before.

        Args:
            cluster: Kafka's id of the cluster.

        Raises:
            OutboxError: it is that of another deployment. From now on the outbox accepts nothing.
        """
        if self._ownership is None:
            return
        stated, given = self._ownership
        connected = msgspec.structs.replace(given, cluster=cluster)
        self._ownership = Ownership(stated, connected)
        if refusal := self.refusal():
            raise refusal
        if stated != connected:
            with self._using(self._durable), _transaction(self._durable) as db:
                _state(db, connected)
        self._ownership = Ownership(connected, connected)

    def refusal(self) -> OutboxError | None:
        """Returns why this deployment must not use the outbox, or None."""
        problem = None if self._ownership is None else self._ownership.problem()
        return None if problem is None else _error(problem)

    def is_stopped(self) -> bool:
        """Returns whether `stop_accepting` was called."""
        with self._using(self._relaxed) as db:
            return _next_seq(db) is None

    def stop_accepting(self) -> None:
        """Makes `append` fail from now on, also after a restart. Events that wait are still sent."""
        with self._using(self._durable), _transaction(self._durable) as db:
            db.execute("UPDATE device SET next_seq = -1")

    def counter_behind(self) -> OutboxError:
        """Returns the error if Kafka has events of the device that the outbox does not know."""
        with self._using(self._relaxed) as db:
            return self._counter_behind(_is_compared(db))

    def _counter_behind(self, compared: bool, *, accepting: bool = False) -> OutboxError:
        """Describes it. Of an outbox that was not compared, nothing is sent."""
        return _error(messages.counter_behind(self._device_id, 0 if compared else self._waiting, accepting=accepting))

    def status(self) -> OutboxStatus:
        """Returns how full the outbox is."""
        with self._using(self._relaxed) as db:
            unanswered = db.execute("SELECT count(*) FROM unanswered").fetchone()[0]
            return OutboxStatus(self._waiting, self.capacity, int(unanswered))

    def close(self) -> None:
        """Closes the file. Its events stay."""
        with self._lock:
            self._durable.close()
            self._relaxed.close()
            os.close(self._file_lock)

    def _connect(self, synchronous: str) -> sqlite3.Connection:
        if not self._path.exists():
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # not readable by others
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={synchronous}")
        db.execute("PRAGMA secure_delete=ON")  # free pages keep no tokens
        return db

    def _truncate_log_if_empty(self) -> None:
        """Leaves no content of acknowledged events in SQLite's log, if no event waits.

        A failure changes nothing: the next acknowledgement tries again, and closing the outbox deletes the log.
        """
        if self._waiting:
            return
        with contextlib.suppress(sqlite3.Error):
            self._relaxed.execute("PRAGMA busy_timeout=0")  # a program that reads the file must not hold up the device
            self._relaxed.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._relaxed.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")

    def _free_bytes(self) -> int:
        """Returns the free space on the disk, plus that inside the file, which does not shrink."""
        disk = os.statvfs(self._path)
        free = disk.f_bavail * disk.f_frsize
        if free < RESERVE_BYTES:
            pages, size = (self._durable.execute(f"PRAGMA {n}").fetchone()[0] for n in ("freelist_count", "page_size"))
            free += int(pages) * int(size)
        return free

    @contextlib.contextmanager
    def _using(self, db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield db
            except sqlite3.Error as error:
                raise _file_error(error) from None


def lock_outbox(path: Path) -> int:
    """Locks an outbox's file for this process and returns the descriptor of the lock; closing it unlocks the file.

    Raises:
        OutboxError: another process has locked it, or the lock file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        raise OutboxError(
            "the outbox cannot be opened: check its folder, its owner and the disk",
            chinese="发件箱打不开：请检查文件夹、所有者和磁盘",
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise OutboxError(
            "the outbox is in use by another process: stop that process first",
            chinese="发件箱正被另一个程序使用：请先停止那个程序",
        ) from None
    return lock


def erase(path: Path) -> int:
    """Deletes an outbox with its content, and returns how many events were waiting in it for Kafka.

    Raises:
        OutboxError: it is in use, or cannot be deleted.
    """
    lock = lock_outbox(path)
    try:
        waiting = 0
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as db:
            waiting = int(db.execute("SELECT count(*) FROM unsent").fetchone()[0])
        real = path.resolve()  # SQLite keeps its files beside the file that a symbolic link names
        for suffix in ("-wal", "-shm", "-journal", ""):  # the file itself last: the next call finds what a crash leaves
            real.with_name(real.name + suffix).unlink(missing_ok=True)
        for left in (path, path.with_name(f"{path.name}.lock")):
            left.unlink(missing_ok=True)
        return waiting
    except OSError as error:
        raise OutboxError(f"the outbox cannot be deleted ({error.strerror}): check its folder and its owner") from None
    finally:
        os.close(lock)


def _claim(db: sqlite3.Connection, device_id: str) -> None:
    """Creates the tables of a new file or upgrades an older one, and checks whose file it is."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(_UPGRADES):
        raise OutboxError(
            "the outbox was written by a newer release: install that release on this device",
            chinese="发件箱由更新的版本写成：请在这台设备上安装那个版本",
        )
    for statement in ";".join(_UPGRADES[version:]).split(";"):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(_UPGRADES)}")
    owner = db.execute("SELECT device_id FROM device").fetchone()
    if owner is None:
        db.execute("INSERT INTO device (device_id, next_seq, compared) VALUES (?, 0, 0)", (device_id,))
    elif owner[0] != device_id:
        raise OutboxError(
            "the outbox belongs to another device: use that device's device_id, or another file",
            chinese="发件箱属于另一台设备：请用那台设备的 device_id，或换一个文件",
        )


def _claim_for(db: sqlite3.Connection, given: OutboxDeployment) -> Ownership:
    """Returns which deployment the file belongs to. If it states none, as those before version 4, it is the one that opens it first."""
    text = db.execute("SELECT deployment FROM device").fetchone()[0]
    if not text:
        _state(db, given)
        return Ownership(given, given)
    return Ownership(OutboxDeployment.read(text), given)


def _state(db: sqlite3.Connection, deployment: OutboxDeployment) -> None:
    """Records the deployment that the file belongs to."""
    db.execute("UPDATE device SET deployment = ?", (msgspec.json.encode(deployment).decode(),))


def _append(db: sqlite3.Connection, first: int, events: Sequence[NewEvent], boot_id: str, ticks_ms: int) -> range:
    seqs = range(first, first + len(events))
    db.executemany(
        "INSERT INTO unsent VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (seq, event.topic, event.key, event.encode(seq), boot_id, ticks_ms, event.findings)
            for seq, event in zip(seqs, events, strict=True)
        ],
    )
    db.execute("UPDATE device SET next_seq = ?", (seqs.stop,))
    return seqs


def _next_seq(db: sqlite3.Connection) -> int | None:
    """Returns the next sequence number, or None after `stop_accepting`."""
    found = int(db.execute("SELECT next_seq FROM device").fetchone()[0])
    return None if found < 0 else found


def _is_compared(db: sqlite3.Connection) -> bool:
    return bool(db.execute("SELECT compared FROM device").fetchone()[0])


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def _file_error(error: sqlite3.Error | OSError, *, accepting: bool = False) -> OutboxError:
    return _error(messages.file_error(error, accepting=accepting))


def _error(text: Bilingual) -> OutboxError:
    return OutboxError(text.en, chinese=text.zh)
