"""The states and organisations that issue travel documents, by their codes in the machine-readable zone and by their names.

Codes: ICAO Doc 9303-3 section 5. `schemas/states/README.md` says where the file of codes and names comes from.
"""

import re
import unicodedata
from functools import cache
from importlib.resources import files

from ninezero.streams.edge.documents.characters import clean

_ALIASES = {"DEU": "D", "HKG": "CHN", "MAC": "CHN"}
"""Codes of ISO 3166-1 that no zone carries as the issuing state, and the code that it carries (CONTRACT §1)."""
_LONGEST = 100
_SEPARATORS = re.compile(r"[()\[\],;:/|\s-]+")
_CITIZENS = re.compile("(?<=.)(?:籍|公民)$")


def issuing_state(text: str) -> str | None:
    """Returns the code of an issuing state as in the MRZ, without fillers; None if the text is no such code.

    Args:
        text: a code as written, in any case and width, such as `D<<`, `uto` or `DEU`.
    """
    code = clean(text[:_LONGEST]).replace("<", "")
    code = _ALIASES.get(code, code)
    return code if code in _states() else None


def named_state(text: str) -> str | None:
    """Returns the code of an issuing state that a list names by its code, its name or both: `德国`, `Germany`, `D 德国`.

    The result is None if a part of the text is unknown, or if its parts are different states.
    """
    if len(text) > _LONGEST:
        return None
    whole = _code_or_name(text)
    if whole is not None:
        return whole
    parts = {_code_or_name(part) for part in _SEPARATORS.split(unicodedata.normalize("NFKC", text)) if part}
    return parts.pop() if len(parts) == 1 else None


def _code_or_name(text: str) -> str | None:
    name = _CITIZENS.sub("", unicodedata.normalize("NFKC", text).strip())
    return issuing_state(text) or _codes_by_name().get(_folded(name))


def _folded(name: str) -> str:
    """Returns a name without case, accents, blanks and punctuation."""
    return "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if c.isalnum())


@cache
def _states() -> dict[str, list[str]]:
    """Returns the names of each code."""
    lines = (files("ninezero.schemas") / "states" / "issuing_states.txt").read_text("utf-8").splitlines()
    parts = (line.partition(" ") for line in lines)
    return {code: names.split(";") if names else [] for code, _, names in parts}


@cache
def _codes_by_name() -> dict[str, str]:
    return {_folded(name): code for code, names in _states().items() for name in names}
