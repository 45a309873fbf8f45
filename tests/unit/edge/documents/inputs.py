"""Shared by the test files of this folder: published vectors, specimens, and strategies for text."""

from __future__ import annotations

import json
import typing
from datetime import date
from importlib.resources import files
from pathlib import Path

from hypothesis import strategies as st

from ninezero.schemas import events
from ninezero.streams.edge.documents.normal_forms import check_character

SCHEMAS = Path(str(files("ninezero.schemas")))
DOCUMENT_VECTORS = json.loads((SCHEMAS / "vectors" / "documents.json").read_bytes())
PSEUDONYM_VECTORS = json.loads((SCHEMAS / "vectors" / "pseudonyms.json").read_bytes())
FLAGS = set(typing.get_args(events.QualityFlag))
TODAY = date(2026, 1, 1)
PASSPORT = ["P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L898902C36UTO7408122F1204159ZE184226B<<<<<10"]
"""The specimen of ICAO Doc 9303-4. It expired in 2012."""

kinds = st.sampled_from(["id", "passport", "phone", "plate", "pass"])
plausible = st.text(alphabet="0123456789０１٣AOXax鲁挂使领ＷJ〇 -·•_./'+<#\0\n\u200b\u3000\ud800", max_size=24)
"""Text of characters that occur in documents, and of some that attackers use."""
texts = st.text(max_size=40) | st.text(st.characters(), max_size=40) | plausible
birth_dates = st.dates(date(1900, 1, 1), TODAY)


def with_check_character(seventeen: str) -> str:
    """Returns a resident number with its check character."""
    return seventeen + check_character(seventeen)
