"""The tokens of all entries, found by text. Each is stored as 16 bytes, a code for domain and key id, and its owning entry."""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence, Set
from operator import eq
from typing import NamedTuple

import numpy as np

from ninezero.agents.logic.fixed_width import by_length
from ninezero.agents.logic.watchlist.columns import NONE, Array, Column, Rows, flags
from ninezero.agents.logic.watchlist.hash_table import FoundRows, HashTable, tags_of
from ninezero.schemas.events import PSEUDONYM_PATTERN
from ninezero.schemas.joined_lines import DOMAINS

DOMAIN_NUMBER: dict[str, int] = {domain: number for number, domain in enumerate(DOMAINS)}

_HEX = 32
"""Hexadecimal digits of a token's digest."""
_LONGEST_KEY = 16
_ZEROS = bytes(ord("0") if chr(byte) in "0123456789abcdef" else byte for byte in range(256))
"""Translates every digit of a digest to 0. What remains is the form of a token."""
_match_token = re.compile(PSEUDONYM_PATTERN).match


class ParsedTokens(NamedTuple):
    """Tokens of valid form, ready to be stored or found. One row for each token."""

    digests: Array
    """16 bytes each."""
    codes: Array
    """Key number * 8 + domain number."""
    tags: Array
    """The tag by which a table finds each token."""

    @property
    def keys(self) -> Array:
        """Number of each token's key id."""
        return self.codes >> 3

    @property
    def domains(self) -> Array:
        """Number of each token's domain."""
        return self.codes & 7

    def hex_digests(self) -> list[str]:
        """Returns the digest of each token in hexadecimal digits."""
        text = self.digests.tobytes().hex()
        return [text[at : at + _HEX] for at in range(0, len(text), _HEX)]

    def at(self, positions: Array | slice) -> ParsedTokens:
        """Returns the tokens at some positions."""
        return ParsedTokens(self.digests[positions], self.codes[positions], self.tags[positions])


class TokenStore:
    """Rows of tokens. The tokens of one owner are linked in the order in which they were given."""

    def __init__(self) -> None:
        self._table = HashTable()
        self._digest = Column(np.uint8, width=16)
        self._code = Column(np.uint32)
        self._owner = Column(np.uint32)
        self._next = Column(np.uint32)
        """For each token, the row of its owner's next token."""
        self._rows = Rows(self._table.link, self._digest, self._code, self._owner, self._next)
        self.key_ids: list[str] = []
        """Every key id that ever occurred, by its number. There are few of them, and they are never removed."""
        self._key_numbers: dict[str, int] = {}

    def parse(self, domains: Array, texts: Sequence[str]) -> ParsedTokens:
        """Parses tokens without storing them.

        Args:
            domains: the number of each token's domain.
            texts: the tokens.

        Raises:
            ValueError: a text does not have the form of a token.
        """
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        digests = np.empty((len(texts), 16), np.uint8)
        keys = np.empty(len(texts), np.uint32)
        for length in np.unique(lengths).tolist():
            if not _HEX + 2 <= length <= _HEX + 1 + _LONGEST_KEY:
                raise ValueError("not a token")
            at = np.flatnonzero(lengths == length)
            some = texts if len(at) == len(texts) else [texts[n] for n in at.tolist()]
            digests[at], keys[at] = self._parse_length(some, length)
        return ParsedTokens(digests, keys * 8 + domains, tags_of(texts))

    def add(self, owners: Array, parsed: ParsedTokens) -> Array:
        """Stores parsed tokens and returns their rows. The tokens of one owner are adjacent.

        Args:
            owners: the row of the entry that owns each token.
            parsed: the tokens.
        """
        rows = self._rows.allocate(len(owners))
        self._digest.array[rows], self._code.array[rows] = parsed.digests, parsed.codes
        self._owner.array[rows] = owners
        self._next.array[rows[:-1]] = np.where(owners[1:] == owners[:-1], rows[1:], NONE)
        self._next.array[rows[-1:]] = NONE
        self._table.add(rows, parsed.tags)
        return rows

    def remove(self, rows: Array) -> None:
        """Removes tokens."""
        self._table.remove(rows)
        self._rows.free(rows)

    def owners(self, domain: str, text: str) -> Sequence[int]:
        """Returns the rows of the entries that own a token in a domain."""
        rows = self._table.find(hash(text) & 0xFFFF_FFFF)  # the value of `tag(text)`, inlined because a call costs time
        if not rows:
            return rows
        number, owner = DOMAIN_NUMBER[domain], self._owner.view
        return [owner[row] for row in rows if self._code.view[row] & 7 == number and self._text(row) == text]

    def owners_of_all(self, domains: Array, texts: Sequence[str]) -> FoundRows:
        """Finds the rows of the entries that own many tokens, as `owners` does for one.

        Args:
            domains: the number of each token's domain.
            texts: the tokens.
        """
        positions, rows = self._table.search_sparse(tags_of(texts))
        same = flags(list(map(eq, self._texts(rows), map(texts.__getitem__, positions.tolist()))))
        same = same & ((self._code.array[rows] & 7) == domains[positions])
        return FoundRows(positions[same], self._owner.array[rows[same]])

    def search(self, tokens: ParsedTokens) -> FoundRows:
        """Finds the rows of the entries that own tokens, each in its domain."""
        positions, rows = self._table.search(tokens.tags)
        same = self._equal(rows, tokens, positions)
        return FoundRows(positions[same], self._owner.array[rows[same]])

    def owned_in_order(self, firsts: Array, tokens: ParsedTokens, starts: Array, counts: Array) -> Array:
        """Returns for each of many owners whether its tokens are `counts[i]` tokens from position `starts[i]` on, in that order.

        Args:
            firsts: the row of each owner's first token.
            tokens: the tokens.
            starts, counts: which of them, for each owner.
        """
        same, rows = np.ones(len(firsts), bool), firsts.copy()
        for step in range(int(counts.max(initial=0))):
            some = np.flatnonzero(counts > step)
            same[some] &= (rows[some] != NONE) & self._equal(rows[some], tokens, starts[some] + step)
            rows[some] = self._next.array[rows[some]]
        same &= rows == NONE
        return same

    def domains_of(self, rows: Array) -> Array:
        """Returns the number of each row's domain."""
        return self._code.array[rows] & 7

    def of_owner(self, first: int) -> dict[str, tuple[str, ...]]:
        """Returns an owner's tokens by domain.

        Args:
            first: the row of its first token.
        """
        found: dict[str, tuple[str, ...]] = {}
        while first:
            domain = DOMAINS[self._code.view[first] & 7]
            found[domain] = (*found.get(domain, ()), self._text(first))
            first = self._next.view[first]
        return found

    def rows_of_owners(self, firsts: Array) -> FoundRows:
        """Finds the rows of all tokens of many owners.

        Args:
            firsts: the row of each owner's first token.
        """
        positions, rows = np.arange(len(firsts)), firsts
        found = []
        while True:
            some = rows != NONE
            positions, rows = positions[some], rows[some]
            found.append(FoundRows(positions, rows))
            if not len(rows):
                return FoundRows(np.concatenate([f.positions for f in found]), np.concatenate([f.rows for f in found]))
            rows = self._next.array[rows]

    def keys_of(self, rows: Array) -> Array:
        """Returns the number of each row's key id."""
        return self._code.array[rows] >> 3

    def _equal(self, rows: Array, tokens: ParsedTokens, positions: Array) -> Array:
        """Returns for each row whether it holds the token at a position."""
        same: Array = self._code.array[rows] == tokens.codes[positions]
        same &= (self._digest.array[rows] == tokens.digests[positions]).all(axis=1)
        return same

    def _text(self, row: int) -> str:
        digest = self._digest.view[row * 16 : row * 16 + 16].hex()
        return f"{self.key_ids[self._code.view[row] >> 3]}.{digest}"

    def _texts(self, rows: Array) -> list[str]:
        """Returns the texts of many rows."""
        digits = binascii.hexlify(self._digest.array[rows].tobytes()).decode()
        keys = map(self.key_ids.__getitem__, (self._code.array[rows] >> 3).tolist())
        return [f"{key}.{digits[n : n + _HEX]}" for key, n in zip(keys, range(0, len(digits), _HEX), strict=True)]

    def _parse_length(self, texts: Sequence[str], length: int) -> tuple[Array, Array]:
        """Returns the digests and key numbers of tokens that all have one length."""
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
            return digests, np.full(len(texts), self._key_number(texts[0]), np.uint32)
        _, first, which = np.unique(
            np.ascontiguousarray(heads).view(f"V{length - _HEX}"), return_index=True, return_inverse=True
        )
        numbers = np.array([self._key_number(texts[n]) for n in first.tolist()], np.uint32)
        return digests, numbers[which.reshape(-1)]

    def _key_number(self, text: str) -> int:
        if not _match_token(text):
            raise ValueError("not a token")
        key = text[: -_HEX - 1]
        if key not in self._key_numbers:
            self._key_numbers[key] = len(self.key_ids)
            self.key_ids.append(key)
        return self._key_numbers[key]


def key_of(text: str) -> str | None:
    """Returns the key id of a token, or None if the text does not have the form of one."""
    return text[: -_HEX - 1] if _match_token(text) else None


def _all_have_form(texts: Sequence[str], key_id: str) -> bool:
    """Returns whether all texts are tokens under one key id, as they usually are."""
    head, count = f"{key_id}.".encode(), len(texts)
    length = len(head) + _HEX
    if set(map(len, texts)) != {length}:
        return False
    raw = "".join(texts).encode("ascii", "replace")
    form = head.translate(_ZEROS) + b"0" * _HEX
    return raw.translate(_ZEROS) == form * count and all(
        raw[n::length] == head[n : n + 1] * count for n in range(len(head))
    )


def well_formed(texts: Sequence[str], key_ids: Set[str] | None) -> Array:
    """Returns for each text whether it is a token under one of the key ids. With None: under the key id of the first text."""
    if key_ids is None:
        key_ids = {key for text in texts[:1] if (key := key_of(text)) is not None}
    if len(key_ids) == 1 and _all_have_form(texts, *key_ids):
        return np.ones(len(texts), bool)
    found = np.zeros(len(texts), bool)
    for group in by_length(texts, {len(key) + 1 + _HEX for key in key_ids}):
        raw = "".join(group.texts).encode("ascii", "replace")
        forms = np.frombuffer(raw.translate(_ZEROS), f"V{group.length}")  # as scalars, which compare as a whole
        heads = np.ascontiguousarray(np.frombuffer(raw, np.uint8).reshape(-1, group.length)[:, :-_HEX])
        for head in (f"{key}.".encode() for key in key_ids if len(key) + 1 + _HEX == group.length):
            has_form = forms == np.void(head.translate(_ZEROS) + b"0" * _HEX)
            found[group.where] |= has_form & (heads.view(f"V{len(head)}").reshape(-1) == np.void(head))
    return found
