"""Which batch a push is: a new one, one that was interrupted, or one whose receipt is there already.

The name of a batch states what is in it, so the same files with the same options are the same batch, on every machine, whatever
interrupted the first attempt. Nothing is stored for this: the receipts say what became of it. The name also states the day, because a
name can be used again when its receipt has expired. So a batch without a receipt is continued on its day; later its name must be given.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import NamedTuple

import msgspec

from ninezero.schemas.events import PushBatch, PushLine, PushReceipt, encode

_DIGEST_BYTES = 5
_LIST_CHARACTERS = 30
"""Characters of the name of a list in the name of a batch."""


class BatchContent:
    """A digest of what a batch does to its list: its tokens, windows, category, mode and legal basis.

    Who pushes and when is no part of it. The end that `--days` gives to a line without dates follows the day of the push, so such a
    line is the same only on the same day.

    Args:
        head: the batch without its lines.
        day: the local day of the push.
        days: the days for which a line without an end is valid, or None.
        open_end: the end of a line that states neither start nor end, or None.
    """

    def __init__(self, head: PushBatch, day: date, days: int | None, open_end: datetime | None) -> None:
        about = (head.authority, head.list, head.category, head.mode, head.withdraw_reason, head.legal_basis)
        self._list, self._day, self._open_end = head.list, day, open_end
        self._digest = hashlib.blake2b(encode(about), digest_size=_DIGEST_BYTES)
        self._of_that_day = encode((days, f"{day}"))
        self._yesterday = self._digest.copy()
        self._of_yesterday = encode((days, f"{day - timedelta(days=1)}"))

    def add(self, line: PushLine) -> None:
        """Adds the next line."""
        if self._open_end is not None and line.valid_from is None and line.valid_to == self._open_end:
            encoded = encode(msgspec.structs.replace(line, valid_to=None))
            self._digest.update(encoded + self._of_that_day)
            self._yesterday.update(encoded + self._of_yesterday)
        else:
            encoded = encode(line)
            self._digest.update(encoded)
            self._yesterday.update(encoded)

    @property
    def digest(self) -> str:
        """The digest of the lines so far, in hex."""
        return self._digest.hexdigest()

    @property
    def digest_of_yesterday(self) -> str:
        """The digest that the same lines had a day before. It differs if a line has no end of its own."""
        return self._yesterday.hexdigest()

    def batch_id(self, attempt: int = 1) -> str:
        """Returns the name of the batch. Each attempt after the first has another name."""
        name = f"{self._list[:_LIST_CHARACTERS]}-{self._day:%Y%m%d}-{self.digest}"
        return name if attempt == 1 else f"{name}-{attempt}"


class SentBefore(NamedTuple):
    """What the receipts of a list say about a batch that is to be pushed."""

    standing: PushReceipt | None
    """The receipt of the same batch, if it is applied and the list has not changed since, or is held and can be confirmed."""
    yesterday: PushReceipt | None
    """The receipt of the batch that the same files were yesterday, if it is another one, was not rejected, and the list has not changed since."""
    batch_id: str
    """The name under which the batch can be sent: a new one, or one without a receipt, which continues what was interrupted."""


def category_of(receipts: Iterable[PushReceipt], authority: str, list_: str) -> str | None:
    """Returns the category of the batch that was applied to a list last, or None if no receipt of the last seven days tells."""
    applied = [one.category for one in _latest(receipts, authority, list_).values() if one.status == "applied"]
    return applied[-1] if applied else None


def next_sequence(receipts: Iterable[PushReceipt], authority: str, list_: str) -> int | None:
    """Returns the sequence number of the next batch of a list, or None if no receipt tells.

    It is above the last one that was applied and above those of the batches that are held, so that each can be confirmed in its turn.
    The clock of this machine has no part in it: it may be wrong.

    Args:
        receipts: the receipts of the last seven days, the oldest first.
        authority: the authority of the list.
        list_: the list.
    """
    latest = _latest(receipts, authority, list_).values()
    if not latest:
        return None
    last = max(receipt.sequence or 0 for receipt in latest)
    return last + 1 + sum(receipt.status == "held" for receipt in latest)


def sent_before(content: BatchContent, receipts: Iterable[PushReceipt], authority: str, list_: str) -> SentBefore:
    """Looks for a batch among the receipts.

    Args:
        content: the content of the batch, with all lines.
        receipts: the receipts of the last seven days, the oldest first.
        authority: the authority of the batch.
        list_: its list.
    """
    latest = _latest(receipts, authority, list_)
    last = max((receipt.sequence or 0 for receipt in latest.values()), default=0)
    found: dict[str, PushReceipt] = {}
    name = re.compile(rf"{re.escape(list_[:_LIST_CHARACTERS])}-[0-9]{{8}}-([0-9a-f]+)(-[0-9]+)?")
    for receipt in latest.values():
        named = name.fullmatch(receipt.batch_id)
        if named and receipt.status != "rejected" and (receipt.sequence or 0) == last:
            found[named[1]] = receipt
    standing = found.get(content.digest)
    yesterday = found.get(content.digest_of_yesterday) if standing is None else None
    attempt = 1
    while content.batch_id(attempt) in latest:
        attempt += 1
    return SentBefore(standing, yesterday, content.batch_id(attempt))


def _latest(receipts: Iterable[PushReceipt], authority: str, list_: str) -> dict[str, PushReceipt]:
    """Returns the last receipt of each batch of a list, without answers to confirmations that changed nothing."""
    return {
        receipt.batch_id: receipt
        for receipt in receipts
        if (receipt.authority, receipt.list) == (authority, list_) and receipt.confirmation is None
    }
