"""Where the outbox of a device is, and the move of one: from the place that earlier releases used by default, or to another device_id."""

import contextlib
import errno
import logging
import os
import sqlite3
from pathlib import Path

import msgspec

from ninezero.streams.edge.device.outbox import OutboxError, lock_outbox
from ninezero.streams.edge.device.outbox_summary import read_summary
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.device")

SUFFIX = ".sqlite"


def outbox_file(settings: Settings, device_id: str) -> Path:
    """Returns the file of a device's outbox.

    An outbox in the former default folder is moved, with its events and its counter, in one rename. If the program is killed, the outbox is in
    one of the two places.

    Raises:
        SettingsError: there is no place for outboxes.
        OutboxError: there are outboxes in both places, or it cannot be moved.
    """
    path = settings.outbox_folder() / f"{device_id}{SUFFIX}"
    if settings.former_outbox is not None:
        former = settings.former_outbox / path.name
        if _is_seen(former) and not (_is_seen(path) and former.samefile(path)):
            _move(former, path)
    return path


def former_folder(settings: Settings) -> Path | None:
    """Returns the default folder of earlier releases, below the current one; None if there is none or a setting names another."""
    former = settings.former_outbox
    return former if former is not None and _is_seen(former) else None


def _is_seen(path: Path) -> bool:
    """Returns whether a file exists. It counts as missing if the current folder is one that this account may not enter."""
    try:
        return path.exists()
    except OSError:
        return False


def outbox_files(folder: Path) -> list[Path]:
    """Returns the outboxes in a folder.

    Raises:
        OSError: the folder cannot be read; a folder that does not exist has none.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    except FileNotFoundError:
        return []


def _move(former: Path, path: Path) -> None:
    with contextlib.ExitStack() as locks:
        for one in (former, path):
            locks.callback(os.close, lock_outbox(one))
        if not os.path.lexists(former):  # another process has moved it since it was seen
            former.with_name(f"{former.name}.lock").unlink(missing_ok=True)
            return
        if os.path.lexists(path):
            raise OutboxError(
                f"this device has two outboxes, {former} and {path}: keep the one that it used last, and move the other away",
                chinese=f"这台设备有两个发件箱（{former} 和 {path}）：请保留最后使用的那个，移走另一个",
            )
        try:
            _rename_whole(former, path)
        except (OSError, sqlite3.Error):
            raise OutboxError(
                f"the outbox of this device is in {former.parent} and cannot be moved to {path.parent}: set"
                f" NINEZERO_OUTBOX={former.parent}",
                chinese=f"这台设备的发件箱在 {former.parent}，无法移到 {path.parent}：请设置 NINEZERO_OUTBOX={former.parent}",
            ) from None
        _settle(former, path)
    log.warning("the outbox was moved from %s to %s, the folder of all outboxes", former.parent, path.parent)


def rename(folder: Path, device_id: str, new_id: str) -> int:
    """Gives an outbox of which nothing was sent to another device_id, with its events, and returns their number.

    A new outbox is refused if Kafka has events of its device. Under another device_id its numbers are free. If the program is killed, the
    next call completes the change.

    Raises:
        OutboxError: there is no such outbox, something of it may have been sent, the other device has one, or it cannot be changed.
    """
    former, path = (folder / f"{name}{SUFFIX}" for name in (device_id, new_id))
    if not _is_seen(former):
        raise OutboxError(f"there is no outbox of that device in {folder}: check the name, and NINEZERO_OUTBOX")
    with contextlib.ExitStack() as locks:
        for one in (former, path):
            locks.callback(os.close, lock_outbox(one))
        if os.path.lexists(path):
            raise OutboxError("a device with the new id has an outbox here: choose an id that no device has had")
        try:
            found = read_summary(former)
            if found.compared or found.device_id not in (device_id, new_id):
                raise OutboxError(
                    "nothing was changed: only an outbox of which nothing was sent can be renamed, and this one sends what waits in it when"
                    " its device is started"
                )
            with contextlib.closing(sqlite3.connect(former, isolation_level=None)) as db:
                _hand_over(db, found.device_id, new_id)
            _rename_whole(former, path)
        except (OSError, sqlite3.Error):
            raise OutboxError("the outbox cannot be renamed: check its folder, its owner and the disk") from None
        _settle(former, path)
    return found.waiting


def _hand_over(db: sqlite3.Connection, device_id: str, new_id: str) -> None:
    """Writes another device_id into the outbox and its events, in one transaction. A disposition follows its scan if that is in it."""
    db.execute("PRAGMA secure_delete=ON")  # the values under the former device_id
    db.execute("BEGIN IMMEDIATE")
    changed = []
    for seq, value in db.execute("SELECT seq, value FROM unsent"):
        event = msgspec.json.decode(value)
        event["device_id"] = new_id
        of = event.get("of")
        if of is not None and of["device_id"] == device_id and of["seq"] < seq:
            of["device_id"] = new_id
        changed.append((msgspec.json.encode(event), seq))
    db.executemany("UPDATE unsent SET value = ? WHERE seq = ?", changed)
    db.execute("UPDATE device SET device_id = ?, next_seq = (SELECT coalesce(max(seq) + 1, 0) FROM unsent)", (new_id,))
    db.execute("COMMIT")


def _rename_whole(former: Path, path: Path) -> None:
    """Renames the file of an outbox with all that SQLite keeps beside it.

    Raises:
        OSError, sqlite3.Error: it is where it was.
    """
    if former.is_symlink():  # a rename would move the link, and a relative one would lead nowhere
        raise OSError(errno.ELOOP, "a symbolic link")
    with contextlib.closing(sqlite3.connect(former, isolation_level=None)) as db:
        # Afterwards all of it is in one file, which a rename moves whole.
        (mode,) = db.execute("PRAGMA journal_mode=DELETE").fetchone()
    if mode != "delete":
        raise OSError(errno.EBUSY, "in use")
    former.rename(path)


def _settle(former: Path, path: Path) -> None:
    """Makes a rename durable. A failure is none: the outbox is whole under either name."""
    with contextlib.suppress(OSError):
        for folder in dict.fromkeys((path.parent, former.parent)):
            _sync(folder)
        former.with_name(f"{former.name}.lock").unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Makes a rename in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
