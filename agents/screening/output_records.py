"""Records of many items stay below a size that readers can handle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

RECORD_BYTES = 400_000
"""Most bytes of a record of outcomes or decisions, unless a single item needs more."""

_T = TypeVar("_T")


def encode_within_limit(
    encode: Callable[[Any], bytes], make: Callable[[list[_T]], Any], items: list[_T]
) -> list[bytes]:
    """Encodes all items in as few records as the limit allows. A record that is too large is halved.

    Args:
        encode: encodes a record.
        make: returns a record that holds the given items.
        items: at least one item.

    Returns:
        the values of the records, in the order of the items.
    """
    value = encode(make(items))
    if len(value) <= RECORD_BYTES or len(items) == 1:
        return [value]
    half = len(items) // 2
    return encode_within_limit(encode, make, items[:half]) + encode_within_limit(encode, make, items[half:])
