"""The error that reading, checking and writing files of a push raises."""

from collections.abc import Mapping
from typing import Literal

from ninezero.streams.errors import UserError

Asks = Literal["", "columns", "hidden", "sheet"]
"""The question that a person can answer so that a file can be read; empty if there is none."""


class ListFileError(UserError):
    """A file of a push cannot be used.

    The message is one line: the file's number on the command line, what is wrong, and what to do. It quotes nothing of the
    file, and not the file's name, because a name can contain an identity.

    Attributes:
        asks: the question that has to be answered first.
        suggested: for `columns`, the letters of the column that a field seems to have, by what is in it.
    """

    def __init__(
        self, message: str = "", *, chinese: str = "", asks: Asks = "", suggested: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, chinese=chinese)
        self.asks, self.suggested = asks, dict(suggested or {})
