"""The version of a JSON file that a program at the edge keeps: its member `version`, 1 if it has none."""

import msgspec


class _Versioned(msgspec.Struct):
    version: int = 1


def is_newer(content: bytes, known: int) -> bool:
    """Returns whether a file states a higher version than the program knows. A file that is no JSON object states none."""
    try:
        return msgspec.json.decode(content, type=_Versioned).version > known
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
