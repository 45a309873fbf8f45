"""The durable outbox of a device: an event is in it before `scan()` returns, and leaves when Kafka acknowledged it.

SQLite in WAL mode. Every event is on disk (`synchronous=FULL`) before `add` returns; what an acknowledgement changes
needs no such care, since losing it to a power cut only means a resend, which is counted once. The sequence counter lives
in the same transaction as the event, so it has no gaps. No content stays behind an acknowledgement: only the number of an
event whose outcome is still awaited.

A counter that went back (an old copy of the file was restored, or two machines have copies of one) can't be seen in the
file. The uplink sees it when Kafka has an outcome of a number that was not given here yet; from then on nothing is
accepted (`disown`), since events under numbers that were used before would not be counted.
"""

import contextlib
import errno
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ninezero.streams.errors import UserError

CAPACITY = 200_000
"""Events: a week of a busy checkpoint."""

RESERVE_BYTES = 8 << 20
"""Free disk that is left for acknowledgements: events can only leave a full disk by writing to it."""

ANSWER_HOURS = 24
"""An outcome can be read for as long as its topic keeps it."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS device (device_id TEXT NOT NULL, next_seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS unsent (
    seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
    boot TEXT NOT NULL, ticks INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS unanswered (seq INTEGER PRIMARY KEY, kafka_ms INTEGER NOT NULL);
"""


class OutboxError(UserError):
    """The event was *not* accepted: one line, what is wrong and what to do."""


class Row(NamedTuple):
    """An event that Kafka has not acknowledged; `ticks` are milliseconds since the boot named `boot`."""

    seq: int
    topic: str
    key: bytes
    value: bytes
    boot: str
    ticks: int


class New(NamedTuple):
    """An event to be: `make` gets its sequence number and returns its value."""

    topic: str
    key: bytes
    make: Callable[[int], bytes]


class Fill(NamedTuple):
    """How full it is: events that wait for Kafka, room for events in all, events acknowledged without an outcome."""

    events: int
    capacity: int
    unanswered: int


class Outbox:
    """One device's events on their way. Open in one process at a time; threads may share it.

    Raises:
        OutboxError: the file belongs to another device, is in use, or cannot be read.
    """

    def __init__(self, path: str | Path, device_id: str, capacity: int = CAPACITY) -> None:
        self._path, self.capacity = Path(path), capacity
        self._lock = threading.Lock()
        self._early: set[int] = set()
        self._held = self.hold(self._path)
        try:
            self._durable = self._connect("FULL")
            self._relaxed = self._connect("NORMAL")
            with self._lock, self._transaction(self._durable) as db:
                self._own(db, device_id)
                self._events = int(db.execute("SELECT count(*) FROM unsent").fetchone()[0])
        except (sqlite3.Error, OSError) as error:
            os.close(self._held)
            raise _fault(error) from None
        except OutboxError:
            os.close(self._held)
            raise

    def add(self, new: Sequence[New], boot: str, ticks: int) -> range:
        """Takes events in, all or none, and returns their sequence numbers; on disk when it returns.

        Raises:
            OutboxError: it is full, or the disk is, or its counter is lost; nothing was taken in, no number was used.
        """
        with self._lock:
            if self._events + len(new) > self.capacity:
                raise OutboxError(
                    "the outbox is full and the event was NOT accepted: bring the device in reach of Kafka"
                )
            try:
                if self._room() < RESERVE_BYTES:
                    raise OSError(errno.ENOSPC, "")
                with self._transaction(self._durable) as db:
                    first = _next_seq(db)
                    if first is None:
                        raise OutboxError(
                            "the outbox has lost count and the event was NOT accepted: start a new one under a new device_id"
                        )
                    seqs = range(first, first + len(new))
                    db.executemany(
                        "INSERT INTO unsent VALUES (?, ?, ?, ?, ?, ?)",
                        [
                            (seq, event.topic, event.key, event.make(seq), boot, ticks)
                            for seq, event in zip(seqs, new, strict=True)
                        ],
                    )
                    db.execute("UPDATE device SET next_seq = ?", (seqs.stop,))
            except (sqlite3.Error, OSError) as error:
                raise _fault(error, " and the event was NOT accepted") from None
            self._events += len(new)
            return seqs

    def after(self, seq: int, limit: int, without: Sequence[str] = ()) -> list[Row]:
        """The next events after a sequence number, in order; not those of the topics `without`."""
        marks = ",".join("?" * len(without))
        sql = f"SELECT * FROM unsent WHERE seq > ? AND topic NOT IN ({marks}) ORDER BY seq LIMIT ?"  # noqa: S608  # only as many question marks as there are topics are put in; the names are bound
        with self._using(self._relaxed) as db:
            return [Row(*row) for row in db.execute(sql, (seq, *without, limit))]

    def acknowledge(self, acknowledged: Iterable[tuple[int, int | None]]) -> None:
        """Lets events go that Kafka has: (seq, Kafka's time in ms if an outcome is awaited, else None)."""
        pairs = list(acknowledged)
        with self._using(self._relaxed):
            awaited = [(seq, at) for seq, at in pairs if at is not None and seq not in self._early]
            with self._transaction(self._relaxed) as db:
                gone = db.executemany("DELETE FROM unsent WHERE seq = ?", [(seq,) for seq, _ in pairs]).rowcount
                db.executemany("INSERT OR REPLACE INTO unanswered VALUES (?, ?)", awaited)
                if awaited:
                    horizon = max(kafka_ms for _, kafka_ms in awaited) - ANSWER_HOURS * 3_600_000
                    db.execute("DELETE FROM unanswered WHERE kafka_ms < ?", (horizon,))
            self._early.difference_update(seq for seq, _ in pairs)
            self._events -= gone

    def restamp(self, seq: int, value: bytes) -> None:
        """Gives an event another value, after Kafka's clock showed that the worker refuses the one it had."""
        with self._using(self._durable), self._transaction(self._durable) as db:
            db.execute("UPDATE unsent SET value = ? WHERE seq = ?", (value, seq))

    def answered(self, seqs: Iterable[int]) -> None:
        """Notes outcomes; one may come before the acknowledgement of its event is seen."""
        with self._using(self._relaxed), self._transaction(self._relaxed) as db:
            for seq in seqs:
                if not db.execute("DELETE FROM unanswered WHERE seq = ?", (seq,)).rowcount and (
                    db.execute("SELECT 1 FROM unsent WHERE seq = ?", (seq,)).fetchone()
                ):
                    self._early.add(seq)

    def oldest_unanswered(self) -> int | None:
        """Kafka's time, in ms, of the oldest event without an outcome."""
        with self._using(self._relaxed) as db:
            found = db.execute("SELECT min(kafka_ms) FROM unanswered").fetchone()[0]
            return None if found is None else int(found)

    def lags(self, seq: int) -> bool:
        """Whether a number that Kafka knows was never given here: the counter went back, or another device has the name."""
        with self._using(self._relaxed) as db:
            next_seq = _next_seq(db)
            return next_seq is not None and seq >= next_seq

    def disown(self) -> None:
        """Accepts nothing more, also after a restart. What it holds may still be sent."""
        with self._using(self._durable), self._transaction(self._durable) as db:
            db.execute("UPDATE device SET next_seq = -1")

    def fill(self) -> Fill:
        """How full it is."""
        with self._using(self._relaxed) as db:
            unanswered = db.execute("SELECT count(*) FROM unanswered").fetchone()[0]
            return Fill(self._events, self.capacity, int(unanswered))

    def close(self) -> None:
        """Closes the file; what is in it stays."""
        with self._lock:
            self._durable.close()
            self._relaxed.close()
            os.close(self._held)

    @staticmethod
    def hold(path: Path) -> int:
        """Takes hold of an outbox's file for this process; the descriptor ends it."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            raise OutboxError("the outbox cannot be opened: check its folder, its owner and the disk") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise OutboxError("the outbox is in use by another process: stop that one first") from None
        return lock

    def _connect(self, synchronous: str) -> sqlite3.Connection:
        if not self._path.exists():
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # not readable by others
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={synchronous}")
        db.execute("PRAGMA secure_delete=ON")  # tokens do not linger in free pages
        return db

    def _own(self, db: sqlite3.Connection, device_id: str) -> None:
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        owner = db.execute("SELECT device_id FROM device").fetchone()
        if owner is None:
            db.execute("INSERT INTO device VALUES (?, 0)", (device_id,))
        elif owner[0] != device_id:
            raise OutboxError("the outbox belongs to another device: give that device's name, or another file")

    def _room(self) -> int:
        """Bytes: free on the disk, and in the file, which does not shrink."""
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
                raise _fault(error) from None

    @contextlib.contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise


def _next_seq(db: sqlite3.Connection) -> int | None:
    """None: the counter is lost."""
    found = int(db.execute("SELECT next_seq FROM device").fetchone()[0])
    return None if found < 0 else found


def _fault(error: sqlite3.Error | OSError, outcome: str = "") -> OutboxError:
    name = error.sqlite_errorname if isinstance(error, sqlite3.Error) else ""
    if name in ("SQLITE_FULL", "SQLITE_IOERR_WRITE") or getattr(error, "errno", None) == errno.ENOSPC:
        return OutboxError(f"the disk of the outbox is full{outcome}: free some space")
    if name in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
        return OutboxError(
            f"the outbox file is damaged{outcome}: keep it for analysis, and start a new one under a new device_id"
        )
    return OutboxError(f"the outbox cannot be used{outcome}: check its folder, its owner and the disk")


def erase(path: Path) -> int:
    """Deletes an outbox with all that is in it; how many events waited in it for Kafka.

    Raises:
        OutboxError: it is in use, or cannot be deleted.
    """
    lock = Outbox.hold(path)
    try:
        waiting = 0
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as db:
            waiting = int(db.execute("SELECT count(*) FROM unsent").fetchone()[0])
        for suffix in ("", "-wal", "-shm", "-journal", ".lock"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return waiting
    except OSError as error:
        raise OutboxError(f"the outbox cannot be deleted ({error.strerror})") from None
    finally:
        os.close(lock)
