"""The fields of a passage as `ninezero scan` reads it, from the types and their docstrings: for the help and the documentation."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from ninezero.schemas.faults import form
from ninezero.streams.edge.device.travellers import Passage, Traveller


class Field(NamedTuple):
    """One field: its place, such as `people[].role`, its form, whether it is required, and its meaning."""

    place: str
    form: str
    required: bool
    meaning: str


def fields() -> Iterator[Field]:
    """Yields the fields of a passage, then those of a person in it."""
    yield from _of(Passage, "")
    yield from _of(Traveller, "people[].")


def _of(kind: type[Any], before: str) -> Iterator[Field]:
    section = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:")[2]
    meanings = {
        name.rstrip("_"): " ".join(text.split()) for name, text in re.findall(r"^ +(\w+): (.+?)$", section, re.M)
    }
    schema = msgspec.json.schema_components([kind])[1][kind.__name__]
    for name, member in schema["properties"].items():
        yield Field(f"{before}{name}", form(member), name in schema["required"], meanings[name])
