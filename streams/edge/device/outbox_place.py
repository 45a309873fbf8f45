"""Where the outbox of a device is, and the move of one from the place that earlier releases used by default."""

import contextlib
import errno
import logging
import os
import sqlite3
from pathlib import Path

from ninezero.streams.edge.device.outbox import OutboxError, lock_outbox
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
            if former.is_symlink():  # a rename would move the link, and a relative one would lead nowhere
                raise OSError(errno.ELOOP, "a symbolic link")
            with contextlib.closing(sqlite3.connect(former, isolation_level=None)) as db:
                # Afterwards all of it is in one file, which a rename moves whole.
                (mode,) = db.execute("PRAGMA journal_mode=DELETE").fetchone()
            if mode != "delete":
                raise OSError(errno.EBUSY, "in use")
            former.rename(path)
        except (OSError, sqlite3.Error):
            raise OutboxError(
                f"the outbox of this device is in {former.parent} and cannot be moved to {path.parent}: set"
                f" NINEZERO_OUTBOX={former.parent}",
                chinese=f"这台设备的发件箱在 {former.parent}，无法移到 {path.parent}：请设置 NINEZERO_OUTBOX={former.parent}",
            ) from None
        with contextlib.suppress(OSError):  # it is moved, and whole in either folder
            for folder in (path.parent, former.parent):
                _sync(folder)
            former.with_name(f"{former.name}.lock").unlink(missing_ok=True)
    log.warning("the outbox was moved from %s to %s, the folder of all outboxes", former.parent, path.parent)


def _sync(folder: Path) -> None:
    """Makes a rename in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
