"""Where a person comes from, as seen from the district that screens them."""

from __future__ import annotations

from typing import Literal

Place = Literal["other district", "other province"]


def place_of(origin: str | None, home: str) -> Place | None:
    """Returns the place of an origin, or None if it is home or not stated precisely enough.

    Unknown division codes are judged by their digits. Every country code but `CN` is another province, `HK`, `MO` and `TW` included.

    Args:
        origin: six-digit division code, ISO 3166 alpha-2 code, or None.
        home: six-digit division code of the district.
    """
    if origin in (None, "CN", home):
        return None
    return "other district" if origin[:2] == home[:2] else "other province"
