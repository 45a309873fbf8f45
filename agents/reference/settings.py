"""The page of settings."""

from __future__ import annotations

from ninezero.agents.reference import markdown
from ninezero.streams.settings import SETTINGS


def page() -> str:
    """Returns `docs/reference/settings.md`."""
    rows = [
        (
            markdown.code(name),
            markdown.sentence(setting.meaning),
            "required" if setting.required else markdown.code(setting.default),
            setting.read_by,
        )
        for name, setting in SETTINGS.items()
    ]
    return markdown.page(
        "Settings",
        "ninezero reads its settings from environment variables. A setting that is missing or wrong stops the program at its"
        " start, with a message that names the setting and the remedy, never its value. `ninezero doctor` reports variables"
        " that begin with `NINEZERO_` and are none of these.",
        markdown.table(("setting", "meaning", "default", "read by"), rows),
    )
