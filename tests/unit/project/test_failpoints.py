"""The fault tests: each failpoint is a function of the product, and each documented fault is a fault."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

from tests.faults.failpoints import ONCE, PLACES
from tests.faults.run import COLUMNS, FAULTS

RELIABILITY = Path(__file__).parents[3] / "docs" / "reliability.md"


@pytest.mark.parametrize("place", sorted({place for places in PLACES.values() for place in places}))
def test_a_failpoint_names_a_function_of_the_product(place: str) -> None:
    assert callable(pkgutil.resolve_name(place))


def test_the_places_that_are_called_once_are_failpoints() -> None:
    assert {place.partition(":")[2] for places in PLACES.values() for place in places} >= ONCE


def test_the_table_of_faults_in_the_documents_names_faults_that_exist() -> None:
    text = RELIABILITY.read_text()
    header, _, *rows = re.findall(r"^\| (.*) \|$", text, re.M)
    assert tuple(header.split(" | ")) == COLUMNS
    documented = {row.split(" | ")[0].removesuffix(" *") for row in rows}
    assert {name for name in documented if name not in FAULTS} == {"soak of 7 minutes"}
    assert FAULTS.keys() - documented == {"none"}
