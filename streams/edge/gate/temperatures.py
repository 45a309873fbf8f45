"""Reads a temperature as guards type it: `36.5`, `36,5`, `36.5度`, `36度5`, `36.5 °C`."""

import re

LOWEST, BELOW = 20.0, 50.0
"""A number outside this range is not a temperature of a person. Within it the workers judge what is plausible."""

PLAUSIBLE = (30.0, 45.0)
"""Outside these bounds (both plausible) the workers do not use a temperature by the default policy: it must be measured again."""

_UNIT = r"(?:度|摄氏度|°|[°o]?c|deg(?:rees?)?)"
_FORMS = re.compile(
    rf"(?P<whole>[0-9]{{2}})(?:[.,。·'、](?P<fraction>[0-9]{{1,2}}))?\s*(?:{_UNIT}\s*c?)?"
    r"|(?P<degrees>[0-9]{2})[度点](?P<tenths>[0-9]{1,2})度?",
    re.IGNORECASE,
)


def read(text: str) -> float | None:
    """Returns the temperature in °C, or None if the text is not one, or not that of a person.

    Args:
        text: the text in NFKC, in which `℃` is `°C`.
    """
    found = _FORMS.fullmatch(text.strip())
    if found is None:
        return None
    whole, fraction = found["whole"] or found["degrees"], found["fraction"] or found["tenths"] or "0"
    celsius = float(f"{whole}.{fraction}")
    return celsius if LOWEST <= celsius < BELOW else None
