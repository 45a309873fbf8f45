"""The fault tests name functions of the product in strings: each name must exist."""

from __future__ import annotations

import pkgutil

import pytest

from tests.faults.failpoints import ONCE, PLACES


@pytest.mark.parametrize("place", sorted({place for places in PLACES.values() for place in places}))
def test_a_failpoint_names_a_function_of_the_product(place: str) -> None:
    assert callable(pkgutil.resolve_name(place))


def test_the_places_that_are_called_once_are_failpoints() -> None:
    assert {place.partition(":")[2] for places in PLACES.values() for place in places} >= ONCE
