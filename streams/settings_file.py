"""The settings file: a line `NAME=VALUE` each, as shells, systemd and Docker Compose read it.

Values may stand in single or double quotes and are used as they are: nothing in them is expanded. `#` begins a comment line.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

from ninezero.streams.errors import UserError

MAX_BYTES = 1 << 16
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_PASSWORD_IN_ADDRESS = re.compile(r"[a-z]+://[^/@]*:[^/@]+@")


class SettingsError(UserError):
    """A setting is missing or wrong. The message names it and says what to do; it never quotes the value."""


def read(path: Path, known: Collection[str]) -> dict[str, str]:
    """Returns the settings of a file by name; those with an empty value are left out.

    Args:
        path: the file.
        known: the names that it may have.

    Raises:
        SettingsError: the file cannot be read, a line is wrong, or others can read a password in it.
    """
    try:
        with path.open("rb") as file:
            content, mode = file.read(MAX_BYTES + 1), path.stat().st_mode
    except OSError as error:
        raise SettingsError(
            f"the settings file cannot be read ({error.strerror}): correct --settings or NINEZERO_SETTINGS, or write one with"
            " ninezero init"
        ) from None
    if len(content) > MAX_BYTES:
        raise SettingsError("the settings file has over 64 KiB: name the file that ninezero init wrote")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise SettingsError("the settings file is not UTF-8: save it as UTF-8") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if (text := line.strip()) and not text.startswith("#"):
            name, value = _setting(number, text, known)
            if name in found:
                raise _wrong(number, f"{name} stands in the file twice", "remove one of the lines")
            found[name] = value
    if stat.S_IMODE(mode) & 0o077 and _holds_password(found):
        raise SettingsError("others can read the settings file, and it holds a password: chmod 600 the file")
    return {name: value for name, value in found.items() if value}


def _setting(number: int, text: str, known: Collection[str]) -> tuple[str, str]:
    """Returns the name and the value of a line."""
    parts = _LINE.fullmatch(text)
    if parts is None:
        raise _wrong(number, "it is not NAME=VALUE", "write a setting, or # before a comment")
    name, value = parts[1], parts[2].strip()
    if name not in known:
        shown = name if re.fullmatch("NINEZERO_[A-Z_]{1,40}", name) else "the name"
        close = get_close_matches(name.upper(), known, n=1)
        raise _wrong(
            number,
            f"{shown} is not a setting",
            f"did you mean {close[0]}?" if close else "see docs/reference/settings.md",
        )
    if not value.isprintable():
        raise _wrong(
            number, f"an invisible character stands in {name}", "write the value by hand instead of pasting it"
        )
    if value[:1] in ("'", '"'):
        quote, inner = value[0], value[1:-1]
        if len(value) < 2 or value[-1] != quote or quote in inner:
            raise _wrong(number, f"the quotes of {name} do not match", "put one pair around the whole value, or none")
        return name, inner
    if re.search(r"\s#", value):
        raise _wrong(number, f"a comment stands behind {name}", "put it on a line of its own, or the value in quotes")
    return name, value


def _holds_password(found: dict[str, str]) -> bool:
    return any(
        value and (name.endswith("_PASSWORD") or _PASSWORD_IN_ADDRESS.match(value)) for name, value in found.items()
    )


def _wrong(number: int, problem: str, remedy: str) -> SettingsError:
    return SettingsError(f"the settings file, line {number}: {problem}: {remedy}")
