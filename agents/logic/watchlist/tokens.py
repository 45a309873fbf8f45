"""The tokens of all entries, found by text: 16 bytes each, a code for domain and key id, and the entry they belong to."""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence, Set

import numpy as np

from ninezero.agents.logic.watchlist.columns import NONE, Array, Column, Rows, Table, of_each_length, tags
from ninezero.schemas.events import PSEUDONYM_PATTERN

KINDS = ("id", "passport", "pass", "phone", "plate")
"""Domains of tokens, in the order in which a match is named."""

KIND = {kind: number for number, kind in enumerate(KINDS)}

_HEX = 32
_ZEROS = bytes(ord("0") if chr(byte) in "0123456789abcdef" else byte for byte in range(256))
"""Turns every digit of a digest into 0."""
_TOKEN = re.compile(PSEUDONYM_PATTERN)


class Tokens:
    """Rows of tokens. An owner's tokens are chained in the order given."""

    def __init__(self) -> None:
        self._table = Table()
        self._digest = Column(np.uint8, width=16)
        self._code = Column(np.uint32)
        """Key id * 8 + domain."""
        self._owner = Column(np.uint32)
        self._sibling = Column(np.uint32)
        self._rows = Rows(self._table.link, self._digest, self._code, self._owner, self._sibling)
        self.key_ids: list[str] = []
        """Every key id met, by number. They are few, and stay."""
        self._keys: dict[str, int] = {}

    def __len__(self) -> int:
        return self._rows.used

    def check(self, kinds: Array, texts: Sequence[str]) -> tuple[Array, Array]:
        """Digests and codes of tokens.

        Raises:
            ValueError: one has not the form of a token.
        """
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        digests = np.empty((len(texts), 16), np.uint8)
        keys = np.empty(len(texts), np.uint32)
        for length in np.unique(lengths).tolist():
            if not _HEX + 2 <= length <= _HEX + 17:
                raise ValueError("not a token")
            at = np.flatnonzero(lengths == length)
            some = texts if len(at) == len(texts) else [texts[n] for n in at.tolist()]
            digests[at], keys[at] = self._parse(some, length)
        return digests, keys * 8 + kinds

    def add(self, owners: Array, texts: Sequence[str], checked: tuple[Array, Array]) -> Array:
        """Stores tokens; those of one owner stand together. Their rows."""
        rows = self._rows.take(len(texts))
        self._digest.array[rows], self._code.array[rows] = checked
        self._owner.array[rows] = owners
        self._sibling.array[rows[:-1]] = np.where(owners[1:] == owners[:-1], rows[1:], NONE)
        self._sibling.array[rows[-1:]] = NONE
        self._table.add(rows, tags(texts))
        return rows

    def remove(self, rows: Array) -> None:
        """Forgets tokens."""
        self._table.remove(rows)
        self._rows.give_back(rows)

    def owners(self, kind: str, text: str) -> Sequence[int]:
        """Owners of a token of that domain."""
        rows = self._table.find(hash(text) & 0xFFFF_FFFF)  # its tag
        if not rows:
            return rows
        number, owner = KIND[kind], self._owner.view
        return [owner[row] for row in rows if self._code.view[row] & 7 == number and self._text(row) == text]

    def may_have(self, texts: Sequence[str]) -> Array:
        """Of each text whether it may be a token here, in whatever domain: the others are none."""
        return self._table.may_have(tags(texts))

    def of(self, first: int) -> dict[str, tuple[str, ...]]:
        """An owner's tokens by domain; `first` is the row of its first."""
        found: dict[str, tuple[str, ...]] = {}
        while first:
            kind = KINDS[self._code.view[first] & 7]
            found[kind] = (*found.get(kind, ()), self._text(first))
            first = self._sibling.view[first]
        return found

    def all_of(self, firsts: Array) -> tuple[Array, Array]:
        """Pairs (position in `firsts`, row) of all tokens of many owners."""
        places, rows = np.arange(len(firsts)), firsts
        found = []
        while True:
            there = rows != NONE
            places, rows = places[there], rows[there]
            found.append((places, rows))
            if not len(rows):
                return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
            rows = self._sibling.array[rows]

    def keys_of(self, rows: Array) -> Array:
        """Numbers of the rows' key ids."""
        return self._code.array[rows] >> 3

    def _text(self, row: int) -> str:
        digest = self._digest.view[row * 16 : row * 16 + 16].hex()
        return f"{self.key_ids[self._code.view[row] >> 3]}.{digest}"

    def _parse(self, texts: Sequence[str], length: int) -> tuple[Array, Array]:
        """Digests and key numbers of tokens that are all of one length."""
        joined = "".join(texts)
        if not joined.isascii():
            raise ValueError("not a token")
        letters = np.frombuffer(joined.encode(), np.uint8).reshape(-1, length)
        digits = letters[:, -_HEX:]
        if ((digits > ord("9")) & (digits < ord("a"))).any():
            raise ValueError("not a token: upper case")
        digests = np.frombuffer(binascii.unhexlify(digits.tobytes()), np.uint8).reshape(-1, 16)
        heads = letters[:, :-_HEX]
        if (heads == heads[0]).all():
            return digests, np.full(len(texts), self._key(texts[0]), np.uint32)
        _, first, which = np.unique(
            np.ascontiguousarray(heads).view(f"V{length - _HEX}"), return_index=True, return_inverse=True
        )
        return digests, np.array([self._key(texts[n]) for n in first.tolist()], np.uint32)[which.reshape(-1)]

    def _key(self, text: str) -> int:
        if not _TOKEN.match(text):
            raise ValueError("not a token")
        key = text[: -_HEX - 1]
        if key not in self._keys:
            self._keys[key] = len(self.key_ids)
            self.key_ids.append(key)
        return self._keys[key]


def well_formed(texts: Sequence[str], keys: Set[str] | None) -> Array:
    """Of each text whether it is a token of one of the keys; without keys, of that which the first text has."""
    if keys is None:
        keys = {text[: -_HEX - 1] for text in texts[:1] if _TOKEN.match(text)}
    found = np.zeros(len(texts), bool)
    for length, at, some in of_each_length(texts, {len(key) + 1 + _HEX for key in keys}):
        raw = "".join(some).encode("ascii", "replace")
        plain = np.frombuffer(raw.translate(_ZEROS), f"V{length}")  # as scalars: compared as a whole
        heads = np.ascontiguousarray(np.frombuffer(raw, np.uint8).reshape(-1, length)[:, :-_HEX])
        for head in (f"{key}.".encode() for key in keys if len(key) + 1 + _HEX == length):
            shaped = plain == np.void(head.translate(_ZEROS) + b"0" * _HEX)
            found[at] |= shaped & (heads.view(f"V{len(head)}").reshape(-1) == np.void(head))
    return found
