"""Reads lines from a terminal for people and barcode scanners, and leaves nothing that was typed on the screen.

The terminal's own echo is off, so input that is typed while an answer is awaited does not mix with the answers. The current
line is shown on one row (its end, if it is long) and wiped when it is complete. A line ends with CR, LF, CR LF, Tab or a
separator of bar codes (GS, RS, …), whichever the scanner sends. Only CR and LF can end an empty line.
"""

import codecs
import contextlib
import os
import re
import select
import sys
import termios
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from rich.cells import cell_len

_WIPE = "\r\x1b[2K"
_BACKSPACE, _CTRL_U, _CTRL_D, _ESCAPE = "\x7f\b", "\x15", "\x04", "\x1b"
_LINE_ENDS, _FIELD_ENDS = "\r\n", "\t\x1c\x1d\x1e\x1f"
_LONGEST = 20_000
_USUAL_COLUMNS = 80
"""The width of a terminal that states none."""
"""Longest line that is kept, in characters. Of a longer one the rest is dropped; the reader of lines refuses it."""


class Terminal:
    """The terminal and the line that is being typed. Other threads print through `printing`."""

    def __init__(self, keyboard: TextIO = sys.stdin, screen: TextIO = sys.stdout) -> None:
        self._keyboard, self._screen = keyboard.fileno(), screen
        self._lock, self._text = threading.RLock(), ""

    @contextlib.contextmanager
    def printing(self) -> Iterator[None]:
        """Wipes the current line for the time of the block, and shows it again afterwards."""
        with self._lock:
            self._screen.write(_WIPE)
            yield
            self._show()

    def lines(self) -> Iterator[str]:
        """Yields each complete line. Ends with Ctrl-D on an empty line, or when the terminal is closed."""
        decode = codecs.getincrementaldecoder(self._screen.encoding)("replace").decode
        keys = _Keys()
        with _raw_input(self._keyboard), contextlib.ExitStack() as at_exit:
            at_exit.callback(self._complete)  # wipes the current line after Ctrl-C too
            while chunk := os.read(self._keyboard, 4096):
                for char in decode(chunk):
                    if keys.is_part_of_the_one_before(char):
                        continue
                    if char in _LINE_ENDS or (char in _FIELD_ENDS and self._text):
                        yield self._complete()
                    elif char == _CTRL_D:
                        if not self._text:
                            return
                    else:
                        self._type(char)
                if not select.select([self._keyboard], [], [], 0)[0]:
                    with self._lock:
                        self._show()

    def _complete(self) -> str:
        with self._lock:
            text, self._text = self._text, ""
            self._screen.write(_WIPE)
            self._screen.flush()
            return text

    def _type(self, char: str) -> None:
        with self._lock:
            if char in _BACKSPACE:
                self._text = self._text[:-1]
            elif char == _CTRL_U:
                self._text = ""
            elif char.isprintable() and len(self._text) < _LONGEST:
                self._text += char

    def _show(self) -> None:
        room = (os.get_terminal_size(self._screen.fileno()).columns or _USUAL_COLUMNS) - 1
        shown = self._text[-room:] if room > 0 else ""
        while cell_len(shown) > room:
            shown = shown[1:]
        self._screen.write(f"{_WIPE}{shown}")
        self._screen.flush()


class _Keys:
    """Recognises characters that belong to the key before: the LF of CR LF, and the sequence of an arrow or editing key."""

    def __init__(self) -> None:
        self._sequence, self._after_cr = "", False

    def is_part_of_the_one_before(self, char: str) -> bool:
        """Returns whether a character has no meaning of its own."""
        if self._sequence:
            return self._is_in_sequence(char)
        if char == _ESCAPE:
            self._sequence, self._after_cr = char, False
            return True
        after_cr, self._after_cr = self._after_cr, char == "\r"
        return after_cr and char == "\n"

    def _is_in_sequence(self, char: str) -> bool:
        """A sequence is ESC [ … and a character from @ to ~ (ECMA-48), or ESC O and one character. ESC alone has no meaning."""
        if self._sequence == _ESCAPE:
            self._sequence = char if char in "[O" else ""
            return bool(self._sequence) or self.is_part_of_the_one_before(char)
        if self._sequence == "O" or "@" <= char <= "~":
            self._sequence = ""
        return True


def piped_lines(stream: Iterable[str]) -> Iterator[str]:
    """Yields the lines of an input that is not a terminal, as `Terminal.lines` does: what a Tab ends is a line too."""
    for line in stream:
        fields = [field for field in re.split(f"[{_FIELD_ENDS}]", line.rstrip("\r\n")) if field]
        yield from fields or [""]


@contextlib.contextmanager
def _raw_input(keyboard: int) -> Iterator[None]:
    """Turns off echo, line editing and the translation of CR to LF. Ctrl-C still interrupts; Ctrl-Z and Ctrl-\\ do nothing.

    Ctrl-\\ is FS, which a scanner sends between the fields of a code: it must not end the device.
    """
    before: list[Any] = termios.tcgetattr(keyboard)
    after = termios.tcgetattr(keyboard)
    after[0] &= ~(termios.ICRNL | termios.INLCR | termios.IXON)
    after[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    after[6][termios.VSUSP] = after[6][termios.VQUIT] = b"\0"
    try:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, after)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
