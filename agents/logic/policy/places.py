"""Where the people of many events come from, as a column."""

from __future__ import annotations

from typing import Any

import numpy as np

from ninezero.agents.logic.policy.origins import Place, place_of
from ninezero.agents.logic.policy.subjects import Subjects
from ninezero.schemas.policies import HOME_OF_SITE

PLACES: tuple[Place | None, ...] = (None, "other district", "other province")
"""The places. A column has positions in this tuple."""

LIMIT = 1 << 16
"""Number of places that are remembered before all are forgotten."""

_NOWHERE = np.uint8(0)


class Places:
    """The places of origins under policies with one home and the same exempt origins.

    Args:
        home: six-digit division code, or `site` for the home of each event's site.
        exempt: the exempt origins.
    """

    def __init__(self, home: str, exempt: frozenset[str]) -> None:
        self._home, self._exempt = home, exempt
        self._known: dict[tuple[str, str | None], int] = {}
        """Places by home and origin."""

    def column(self, people: Subjects) -> Any:
        """Returns the place of each person. One number stands for all if nobody comes from elsewhere."""
        origins = people.origins
        if self._home == HOME_OF_SITE:
            if not any(place_of(origin, "", self._exempt) for origin in origins):
                return _NOWHERE  # wherever home is
            homes, of_people = people.homes
        else:
            homes, of_people = [self._home], None
        if len(self._known) > LIMIT:
            self._known.clear()
        if of_people is None:
            numbers = {origin: self._number(homes[0], origin) for origin in origins}
            if not any(numbers.values()):
                return _NOWHERE
            return np.fromiter(map(numbers.__getitem__, people.values("origin")), np.uint8, people.size)
        table = np.array([[self._number(home, origin) for origin in origins] for home in homes], np.uint8)
        columns = {origin: n for n, origin in enumerate(origins)}
        return table[of_people, np.fromiter(map(columns.__getitem__, people.values("origin")), np.intp, people.size)]

    def _number(self, home: str, origin: str | None) -> int:
        number = self._known.get((home, origin))
        if number is None:
            number = self._known[home, origin] = PLACES.index(place_of(origin, home, self._exempt))
        return number
