"""Records of the list register: each list that a batch was ever applied to, at the key `authority|list`."""

from __future__ import annotations

from msgspec import Struct

from ninezero.schemas.events import Category, Identifier, Seq, Time


class ListEntry(Struct):
    """A list, and the last batch that was applied to it.

    While the topic `watchlist` lacks a list that is not `dropped`, nobody is screened. The category is None if it was not known when
    the list was registered.
    """

    authority: Identifier
    list: Identifier
    category: Category | None
    sequence: Seq
    batch_id: str
    at: Time
    dropped: bool = False


def list_key(entry: ListEntry) -> bytes:
    """Returns the key of a record."""
    return f"{entry.authority}|{entry.list}".encode()
