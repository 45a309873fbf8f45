"""The page of settings."""

from __future__ import annotations

from ninezero.agents.reference import markdown
from ninezero.streams.settings import EVERYWHERE, SETTINGS, Setting


def _default(setting: Setting) -> str:
    if not setting.needed_on:
        return markdown.code(setting.default)
    return "required" if setting.needed_on == EVERYWHERE else f"required ({', '.join(setting.needed_on)})"


def page() -> str:
    """Returns `docs/reference/settings.md`."""
    rows = [
        (
            markdown.code(name),
            markdown.sentence(setting.meaning),
            _default(setting),
            setting.read_by,
        )
        for name, setting in SETTINGS.items()
    ]
    return markdown.page(
        "Settings",
        "ninezero reads its settings from environment variables, and from the file that `ninezero --settings FILE` or `NINEZERO_SETTINGS`"
        " names; a variable comes before a line of the file, and no other file is read. `ninezero init edge|worker|authority` writes such"
        " a file with every setting explained. A setting that is missing or wrong stops the program at its"
        " start, with a message that names the setting and the remedy, never its value. `ninezero doctor` reports variables"
        " that begin with `NINEZERO_` and are none of these.",
        markdown.table(("setting", "meaning", "default", "read by"), rows),
    )
