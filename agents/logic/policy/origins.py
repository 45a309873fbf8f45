"""Where a person comes from, as seen from the district that screens them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

Place = Literal["other district", "other province"]


def home_of(division: str, default: str) -> str:
    """Returns the home of a site: the first six digits of its division, or the default if it has none.

    Args:
        division: division code of the site, empty if it has none.
        default: six-digit division code of the deployment's district.
    """
    return division[:6] or default


def place_of(origin: str | None, home: str, exempt: Collection[str]) -> Place | None:
    """Returns the place of an origin, or None if it is home, exempt or not stated precisely enough.

    Unknown division codes are judged by their digits. Every country code but `CN` is another province, `HK`, `MO` and `TW` included.

    Args:
        origin: six-digit division code, ISO 3166 alpha-2 code, or None.
        home: six-digit division code of the district.
        exempt: the first 2, 4 or all 6 digits of division codes, and country codes.
    """
    if origin in (None, "CN", home) or origin in exempt or origin[:2] in exempt or origin[:4] in exempt:
        return None
    return "other district" if origin[:2] == home[:2] else "other province"
