"""Identities become tokens: normalised text, a keyed hash, and the ring of keys. No error here quotes an input.

`token = key_id + "." + hex(HMAC-SHA256(key, domain + NUL + normalised))[:32]`. Resident numbers are enumerable, so a bare
hash would be reversible; a key that only the edge holds is what protects them.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

Domain = Literal["id", "passport", "phone", "plate", "pass"]

_DROPPED = set("._/'\u00b7\u2022\u2027\u2212\u2219\u22c5\u25cf\u30fb\uff0e")
_PLAIN = re.compile(r"[A-Z0-9]+")
_PLATE = re.compile(r"[A-Z0-9\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


class KeyRingError(Exception):
    """The key ring cannot be used: one line, with the remedy, without key material."""


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    hex: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-fA-F]{64}\Z")]
    not_after: datetime | None = None


class _Ring(msgspec.Struct, forbid_unknown_fields=True):
    active: str
    keys: dict[Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9]{1,16}\Z")], _Key]


def normalise(domain: Domain, text: str) -> str | None:
    """The text that is hashed, or None where there is none to hash (empty, or a character that may not be there).

    NFKC, upper case, without blanks, control characters, dashes and dots. A 15-digit resident number becomes its 18-digit
    form (GB 11643, century 19); a phone number E.164 without `+` (default region CN).
    """
    if domain == "phone":
        return _phone(text)
    cleaned = _clean(text)
    allowed = _PLATE if domain == "plate" else _PLAIN
    if not allowed.fullmatch(cleaned):
        return None
    if domain == "id" and len(cleaned) == 15 and cleaned.isdigit():
        return _eighteen(cleaned)
    return cleaned


def passport(state: str, number: str) -> str | None:
    """Issuing state + `/` + number, both as in the machine-readable zone without fillers; None without a state."""
    cleaned_state, cleaned_number = _clean(state.replace("<", "")), _clean(number.replace("<", ""))
    if not _PLAIN.fullmatch(cleaned_state) or not _PLAIN.fullmatch(cleaned_number):
        return None
    return f"{cleaned_state}/{cleaned_number}"


def token(key_id: str, key: bytes, domain: Domain, normalised: str) -> str:
    """The pseudonym of a normalised text in a domain."""
    message = domain.encode() + b"\0" + normalised.encode()
    return f"{key_id}.{hmac.digest(key, message, 'sha256').hex()[:32]}"


class KeyRing:
    """The keys of a ring; scans use the active one, pushes every one."""

    def __init__(self, active: str, keys: dict[str, bytes]) -> None:
        self.active, self._keys = active, keys

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Reads a ring.

        Raises:
            KeyRingError: missing, readable by others, malformed, or without a usable active key.
        """
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o177:
                raise KeyRingError(f"{path} may be read by others: chmod 600")
            ring = msgspec.json.decode(path.read_bytes(), type=_Ring)
        except OSError as error:
            raise KeyRingError(f"the key ring {path} cannot be read ({error.strerror}): ninezero keys new") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise KeyRingError(f"{path} is not a key ring: restore it, or make one with ninezero keys new") from None
        now = datetime.now(UTC)
        usable = {
            key_id: bytes.fromhex(key.hex)
            for key_id, key in ring.keys.items()
            if key.not_after is None or key.not_after.astimezone(UTC) > now
        }
        if ring.active not in usable:
            raise KeyRingError(f"{path} has no usable active key: rotate it")
        return cls(ring.active, usable)

    def token(self, domain: Domain, normalised: str) -> str:
        """The token under the active key, for scans."""
        return token(self.active, self._keys[self.active], domain, normalised)

    def tokens(self, domain: Domain, normalised: str) -> list[str]:
        """A token for every key of the ring, for pushes."""
        return [token(key_id, key, domain, normalised) for key_id, key in self._keys.items()]


def new_ring(path: Path, key_id: str = "k1") -> None:
    """Makes a ring with one random key, mode 0600.

    Raises:
        KeyRingError: there is one already, or the folder cannot be written.
    """
    ring = _Ring(active=key_id, keys={key_id: _Key(hex=secrets.token_hex(32))})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(ring))
            os.fsync(file.fileno())
    except FileExistsError:
        raise KeyRingError(
            f"{path} exists: a new ring would make every token of the old one unknown; keep using it, or name another file"
        ) from None
    except OSError as error:
        raise KeyRingError(f"{path} cannot be written ({error.strerror})") from None


def _clean(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", text).upper() if c not in _DROPPED and not _dropped(c))


def _dropped(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] == "Z" or category in ("Cc", "Cf", "Pd")


def _eighteen(fifteen: str) -> str:
    digits = fifteen[:6] + "19" + fifteen[6:]
    return digits + "10X98765432"[sum(w * int(d) for w, d in zip(_WEIGHTS, digits, strict=True)) % 11]


def _phone(text: str) -> str | None:
    import phonenumbers

    try:
        number = phonenumbers.parse(unicodedata.normalize("NFKC", text), "CN")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
