"""The key ring (CONTRACT §1)."""

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

from ninezero.streams.edge.documents.normal_forms import Domain
from ninezero.streams.edge.documents.pseudonyms import token
from ninezero.streams.errors import UserError

_KEY_ID = re.compile("[A-Za-z0-9]{1,16}")
_KEY_HEX = re.compile("[0-9A-Fa-f]{64}")
_MAX_BYTES = 1 << 20
_MAX_OVERLAP = timedelta(days=366)

Clock = Callable[[], datetime]


class KeyRingError(UserError):
    """The key ring cannot be used: one line, what is wrong and what to do; no path, no key id, no key."""


class KeyInfo(NamedTuple):
    """What may be shown of a key."""

    key_id: str
    active: bool
    not_after: datetime | None


class _StoredKey(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    hex: str
    not_after: Annotated[datetime, msgspec.Meta(tz=True)] | None = None

    def __repr__(self) -> str:
        return "_StoredKey(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # rich's tracebacks print locals by this
        return []


class _StoredRing(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    active: str
    keys: dict[str, _StoredKey]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class KeyRing:
    """The keys of one deployment, read once. Scans use the active key, pushes every key of the ring.

    `not_after` ends a key's use for *scans* only. A push still carries its token: devices scan offline or with an older
    copy of the ring, and their late events (up to 13 days) meet the list as it stands when they arrive.
    """

    __slots__ = ("_clock", "_keys", "_not_after", "_secret", "active")

    def __init__(self, active: str, keys: dict[str, tuple[bytes, datetime | None]], clock: Clock = _utc_now) -> None:
        self.active = active
        self._keys = keys
        self._secret, self._not_after = keys[active]
        self._clock = clock

    @classmethod
    def load(cls, path: str | Path, *, clock: Clock = _utc_now) -> "KeyRing":
        """Raises KeyRingError when the file is missing, readable by others than its owner, or no key ring."""
        stored = _read(Path(path))[0]
        return cls(stored.active, {i: (bytes.fromhex(k.hex), k.not_after) for i, k in stored.keys.items()}, clock)

    def token(self, domain: Domain, normalised: str) -> str:
        """For scans: the token under the active key. Raises KeyRingError once that key is past its `not_after`."""
        if self._not_after is not None and self._clock() > self._not_after:
            raise KeyRingError("the active key is past its not_after: install the current key ring on this device")
        return token(self.active, self._secret, domain, normalised)

    def tokens(self, domain: Domain, normalised: str) -> list[str]:
        """For pushes: one token a key, in the order of the ring, keys past their `not_after` included."""
        return [token(key_id, secret, domain, normalised) for key_id, (secret, _) in self._keys.items()]

    def describe(self) -> list[KeyInfo]:
        """What `keys list` shows; no key bytes."""
        return [KeyInfo(key_id, key_id == self.active, not_after) for key_id, (_, not_after) in self._keys.items()]

    def __repr__(self) -> str:
        return f"KeyRing({len(self._keys)} keys)"


def new_ring(path: str | Path) -> str:
    """Write a ring with one new random key, mode 0600, and return the key's id. Raises KeyRingError if there is one."""
    path, exists, key_id = Path(path), False, _next_id(())
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
    """Add a new active key and return its id; the old one may be used for scans for `overlap` more (0 to 366 days).

    The file is replaced in one step, with its mode and owner; a crash leaves the old ring. No key leaves the ring, so
    pushes go on matching devices that still have the old one. Distribute the ring to the pushing side first: a token
    under a key that a list lacks is held (`unknown_key`).
    """
    if not timedelta(0) <= overlap <= _MAX_OVERLAP:
        raise KeyRingError("the overlap is out of range: give 0 to 366 days")
    path = Path(path).resolve()  # through a symbolic link, the ring itself is replaced
    with _locked_folder(path) as folder:
        stored, status = _read(path)
        end, old = clock().astimezone(UTC).replace(microsecond=0) + overlap, stored.keys[stored.active]
        if old.not_after is not None and old.not_after < end:
            end = old.not_after
        key_id = _next_id(stored.keys)
        keys = {**stored.keys, stored.active: _StoredKey(old.hex, end), key_id: _StoredKey(secrets.token_hex(32))}
        successor = path.with_name(f"{path.name}.new")  # one name, so that what a crash leaves is found and erased
        successor.unlink(missing_ok=True)
        _write_new(successor, _StoredRing(active=key_id, keys=keys), like=status)
        successor.replace(path)
        os.fsync(folder)
    return key_id


def _next_id(key_ids: Iterable[str]) -> str:
    """`k`, one more than the highest number, and four random letters: `k1xbtq`, `k2mzrf`, …

    The letters tell apart the keys of rings that were made, or rotated, in two places: scans under one of them are then
    held (`unknown_key`) and never compared with the tokens of the other, which would match nobody.
    """
    numbers = [int(found[1]) for key_id in key_ids if (found := re.fullmatch("k([0-9]{1,8})[a-z]*", key_id))]
    return f"k{max(numbers, default=0) + 1}" + "".join(secrets.choice("bcdfghjklmnpqrstvwxz") for _ in range(4))


def _content(path: Path) -> tuple[bytes, os.stat_result]:
    """The file and what the very file that was read looks like; at most a little over `_MAX_BYTES`."""
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
            "there is no key ring where NINEZERO_KEYS says: copy the deployment's, or make the first with `ninezero keys new`"
        ) from None
    except OSError:
        raise KeyRingError("the key ring cannot be read: check the owner and folders of NINEZERO_KEYS") from None


def _read(path: Path) -> tuple[_StoredRing, os.stat_result]:
    content, status = _content(path)
    if not stat.S_ISREG(status.st_mode):
        raise KeyRingError("the key ring is not a regular file: point NINEZERO_KEYS to the ring itself")
    if stat.S_IMODE(status.st_mode) & ~0o600:
        raise KeyRingError("others may use the key ring's file: chmod 600 it, and rotate if it was ever shared")
    ring = _decode(content)
    if ring is None:
        raise KeyRingError(
            'the key ring is not {"active": …, "keys": {id: {"hex", "not_after"}}}: restore it from its copy'
        )
    if not all(map(_KEY_ID.fullmatch, ring.keys)):
        raise KeyRingError("the key ring has a key id that is not 1 to 16 letters and digits: correct it")
    if not all(_KEY_HEX.fullmatch(key.hex) for key in ring.keys.values()):
        raise KeyRingError("the key ring has a key that is not 64 hex digits: restore the ring from its copy")
    if ring.active not in ring.keys:
        raise KeyRingError("the key ring's active key is not among its keys: restore the ring from its copy")
    return ring, status


def _decode(content: bytes) -> _StoredRing | None:
    """None on any fault: msgspec's messages quote what they met, which may be a key."""
    if len(content) > _MAX_BYTES:
        return None
    try:
        return msgspec.json.decode(content, type=_StoredRing)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _write_new(path: Path, ring: _StoredRing, like: os.stat_result | None = None) -> None:
    """Create the file, on disk when this returns; leaves none behind when it fails."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            if like is not None and like.st_uid != os.fstat(fd).st_uid:
                os.fchown(fd, like.st_uid, -1)
            os.fchmod(fd, 0o600 if like is None else stat.S_IMODE(like.st_mode))  # whatever the umask
            file.write(msgspec.json.format(msgspec.json.encode(ring), indent=2) + b"\n")
            file.flush()
            os.fsync(fd)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


@contextmanager
def _locked_folder(path: Path, *, make: bool = False) -> Iterator[int]:
    """The ring's folder, open for fsync and locked against a second rotation; its faults become one-line errors."""
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
    """Overwrites and deletes the ring's file, and what a killed rotation left of its successor; how many keys it held.

    A ring that is damaged, or readable by others, is erased as well and counts as no key. What a disk keeps of overwritten blocks is
    beyond a program's reach. Raises KeyRingError when there is none, or it cannot be deleted.
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
        raise KeyRingError("there is no key ring where NINEZERO_KEYS says")
    return keys
