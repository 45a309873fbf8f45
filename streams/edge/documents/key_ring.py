"""The key ring: the keys that make pseudonyms, in one file of mode 0600 (CONTRACT §1).

No message, repr or log line made here contains a key or a path: errors state the problem and the remedy, and quote nothing.
"""

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from ninezero.schemas.faults import describe
from ninezero.streams.edge.documents.normal_forms import Domain
from ninezero.streams.edge.documents.pseudonyms import token
from ninezero.streams.edge.file_version import is_newer
from ninezero.streams.errors import UserError

_KEY_ID = re.compile("[A-Za-z0-9]{1,16}")
_KEY_HEX = re.compile("[0-9A-Fa-f]{64}")
VERSION = 1
"""Version of the file. A file without the member `version` has version 1."""
_MAX_BYTES = 1 << 20
"""Largest key ring that is read."""
_MAX_OVERLAP = timedelta(days=366)

Clock = Callable[[], datetime]
"""Returns the current time."""


class KeyRingError(UserError):
    """The key ring cannot be used: one line with the problem and the remedy. It contains no path, key id or key."""


class KeyInfo(NamedTuple):
    """The public facts of a key: its id, whether scans use it, and until when they may use it."""

    key_id: str
    active: bool
    not_after: datetime | None


class _StoredKey(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    hex: str
    not_after: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    def __repr__(self) -> str:
        return "_StoredKey(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # rich prints the locals of a traceback with this
        return []


class _StoredRing(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    active: str
    keys: dict[str, _StoredKey]
    version: Annotated[int, msgspec.Meta(ge=1)] = VERSION


def _utc_now() -> datetime:
    return datetime.now(UTC)


class KeyRing:
    """The keys of one deployment. Scans carry a token of the active key; pushes carry a token of every key.

    `not_after` ends the use of a key for scans only. Pushes still carry its tokens: a device may be offline or have an older
    copy of the ring, and its events, up to 13 days old, are compared with the list as it is when they arrive.

    Attributes:
        active: the id of the active key.
    """

    __slots__ = ("_clock", "_keys", "_not_after", "_secret", "active")

    def __init__(self, active: str, keys: dict[str, tuple[bytes, datetime | None]], clock: Clock = _utc_now) -> None:
        self.active = active
        self._keys = keys
        self._secret, self._not_after = keys[active]
        self._clock = clock

    @classmethod
    def load(cls, path: str | Path, *, clock: Clock = _utc_now) -> "KeyRing":
        """Reads the ring from its file.

        Raises:
            KeyRingError: the file is missing, is readable by others than its owner, or is not a key ring.
        """
        stored = _read(Path(path))[0]
        return cls(stored.active, {i: (bytes.fromhex(k.hex), k.not_after) for i, k in stored.keys.items()}, clock)

    def token(self, domain: Domain, normalised: str) -> str:
        """Returns the token of a normal form under the active key, for a scan.

        Raises:
            KeyRingError: the active key is past its `not_after`.
        """
        if self._not_after is not None and self._clock() > self._not_after:
            raise KeyRingError(
                "the active key is past its not_after: install the current key ring on this device",
                chinese="密钥已过期：请在这台设备上安装现行密钥",
            )
        return token(self.active, self._secret, domain, normalised)

    def tokens(self, domain: Domain, normalised: str) -> list[str]:
        """Returns a token under each key, in the order of the ring, for a push. It includes keys past their `not_after`."""
        return [token(key_id, secret, domain, normalised) for key_id, (secret, _) in self._keys.items()]

    def describe(self) -> list[KeyInfo]:
        """Returns what `ninezero keys list` shows."""
        return [KeyInfo(key_id, key_id == self.active, not_after) for key_id, (_, not_after) in self._keys.items()]

    def __repr__(self) -> str:
        return f"KeyRing({len(self._keys)} keys)"


def new_ring(path: str | Path) -> str:
    """Writes a ring with one new random key, in mode 0600, and returns the key's id.

    Raises:
        KeyRingError: there is a ring already, or it cannot be written.
    """
    path, exists, key_id = Path(path), False, _new_key_id(())
    with _locked_folder(path, make=True) as folder:
        try:
            _write_new(path, _StoredRing(active=key_id, keys={key_id: _StoredKey(hex=secrets.token_hex(32))}))
            os.fsync(folder)
        except FileExistsError:
            exists = True
    if exists:
        raise KeyRingError("there is a key ring already and it is not overwritten: use `ninezero keys rotate`")
    return key_id


def rotate(path: str | Path, overlap: timedelta, *, clock: Clock = _utc_now) -> str:
    """Adds a new active key and returns its id.

    The file is replaced atomically and keeps its mode and owner; after a crash it is the old ring. No key leaves the ring, so
    pushes still match the scans of devices with the old ring. Distribute the new ring to the pushing side first: a token
    under a key that a list lacks is held (`unknown_key`).

    Args:
        path: the ring's file.
        overlap: how long the old key may still be used for scans, 0 to 366 days.
        clock: returns the current time.

    Raises:
        KeyRingError: the overlap is out of range, or the ring cannot be read or written.
    """
    if not timedelta(0) <= overlap <= _MAX_OVERLAP:
        raise KeyRingError("the overlap is out of range: give 0 to 366 days")
    path = Path(path).resolve()  # replace the ring itself, not a symbolic link to it
    with _locked_folder(path) as folder:
        stored, status = _read(path)
        end, old = clock().astimezone(UTC).replace(microsecond=0) + overlap, stored.keys[stored.active]
        if old.not_after is not None and old.not_after < end:
            end = old.not_after
        key_id = _new_key_id(stored.keys)
        keys = {**stored.keys, stored.active: _StoredKey(old.hex, end), key_id: _StoredKey(secrets.token_hex(32))}
        successor = path.with_name(
            f"{path.name}.new"
        )  # always the same name, so that `erase` finds what a crash leaves
        successor.unlink(missing_ok=True)
        _write_new(successor, _StoredRing(active=key_id, keys=keys), like=status)
        successor.replace(path)
        os.fsync(folder)
    return key_id


def _new_key_id(key_ids: Iterable[str]) -> str:
    """Returns `k`, the highest number plus one, and four random letters: `k1xbtq`, `k2mzrf`, …

    The letters distinguish keys that were made in two places. Without them, scans under one key would be compared with
    tokens of the other and never match; with them, such scans are held (`unknown_key`).
    """
    numbers = [int(found[1]) for key_id in key_ids if (found := re.fullmatch("k([0-9]{1,8})[a-z]*", key_id))]
    return f"k{max(numbers, default=0) + 1}" + "".join(secrets.choice("bcdfghjklmnpqrstvwxz") for _ in range(4))


def _content(path: Path) -> tuple[bytes, os.stat_result]:
    """Returns the first `_MAX_BYTES` + 1 bytes of the file, and the status of the same open file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            regular = stat.S_ISREG(status.st_mode)
            return (os.read(fd, _MAX_BYTES + 1) if regular else b""), status
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise KeyRingError(
            "there is no key ring at NINEZERO_KEYS: copy that of the deployment, or make the first with `ninezero keys new`"
        ) from None
    except OSError:
        raise KeyRingError("the key ring cannot be read: check the owner and the folder of NINEZERO_KEYS") from None


def _read(path: Path) -> tuple[_StoredRing, os.stat_result]:
    content, status = _content(path)
    if not stat.S_ISREG(status.st_mode):
        raise KeyRingError("the key ring is not a regular file: set NINEZERO_KEYS to the ring itself")
    if stat.S_IMODE(status.st_mode) & ~0o600:
        raise KeyRingError(
            "others may use the key ring's file: chmod 600 the file, and rotate the keys if it was ever shared"
        )
    if is_newer(content, VERSION):
        raise KeyRingError("the key ring was written by a newer release: install that release on this machine")
    ring = _decode(content)
    if isinstance(ring, str):
        raise KeyRingError(
            f'the key ring is not {{"active": …, "keys": {{id: {{"hex", "not_after"}}}}}} ({ring}): restore it from its copy'
        )
    if not all(map(_KEY_ID.fullmatch, ring.keys)):
        raise KeyRingError("the key ring has a key id that is not 1 to 16 letters and digits: correct it")
    if not all(_KEY_HEX.fullmatch(key.hex) for key in ring.keys.values()):
        raise KeyRingError("the key ring has a key that is not 64 hex digits: restore the ring from its copy")
    if ring.active not in ring.keys:
        raise KeyRingError("the key ring's active key is not among its keys: restore the ring from its copy")
    return ring, status


def _decode(content: bytes) -> _StoredRing | str:
    """Returns the ring, or what is wrong with it without a key or key id: the messages of msgspec quote the input."""
    if len(content) > _MAX_BYTES:
        return "it has over 1 MiB"
    try:
        return msgspec.json.decode(content, type=_StoredRing)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return describe(_StoredRing, error)


def _write_new(path: Path, ring: _StoredRing, like: os.stat_result | None = None) -> None:
    """Creates the file; it is on disk when this returns. If that fails, it leaves no file behind."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            if like is not None and like.st_uid != os.fstat(fd).st_uid:
                os.fchown(fd, like.st_uid, -1)
            os.fchmod(fd, 0o600 if like is None else stat.S_IMODE(like.st_mode))  # independent of the umask
            file.write(msgspec.json.format(msgspec.json.encode(ring), indent=2) + b"\n")
            file.flush()
            os.fsync(fd)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


@contextmanager
def _locked_folder(path: Path, *, make: bool = False) -> Iterator[int]:
    """Opens the ring's folder for fsync, locked against a second rotation. OS errors in the block become KeyRingErrors."""
    try:
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
        finally:
            os.close(folder)
    except BlockingIOError:
        raise KeyRingError("the key ring is being changed by another process: try again") from None
    except OSError:
        raise KeyRingError(
            "the key ring cannot be written: check the folder of NINEZERO_KEYS and its free space"
        ) from None


def erase(path: str | Path) -> int:
    """Overwrites and deletes the ring's file and what an interrupted rotation left, and returns how many keys it held.

    A ring that is damaged, or readable by others, is erased too and counts as no key. A program cannot reach the old blocks
    that a disk may keep.

    Raises:
        KeyRingError: there is no ring, or it cannot be deleted.
    """
    path = Path(path).resolve()
    try:
        keys = len(_read(path)[0].keys)
    except KeyRingError:
        keys = 0
    with _locked_folder(path) as folder:
        found = [file for file in (path, path.with_name(f"{path.name}.new")) if file.is_file()]
        for file in found:
            with file.open("r+b") as content:
                content.write(bytes(file.stat().st_size))
                content.flush()
                os.fsync(content.fileno())
            file.unlink()
        os.fsync(folder)
    if not found:
        raise KeyRingError("there is no key ring at NINEZERO_KEYS")
    return keys
