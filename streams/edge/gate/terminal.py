"""Reads lines from a terminal for people and barcode scanners, and leaves nothing that was typed on the screen.

The terminal's own echo is off, so input that is typed while an answer is awaited does not mix with the answers. The current
line is shown on one row (its end, if it is long) and wiped when it is complete. A line ends with CR, LF or CR LF, whichever
the scanner sends.
"""

import codecs
import contextlib
import os
import select
import sys
import termios
import threading
from collections.abc import Iterator
from typing import Any, TextIO

from rich.cells import cell_len

_WIPE = "\r\x1b[2K"
_BACKSPACE, _CTRL_U, _CTRL_D = "\x7f\b", "\x15", "\x04"


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
        with _raw_input(self._keyboard), contextlib.ExitStack() as at_exit:
            at_exit.callback(self._complete)  # wipes the current line after Ctrl-C too
            after_cr = escape = False
            while chunk := os.read(self._keyboard, 4096):
                for char in decode(chunk):
                    if char == "\n" and after_cr:
                        after_cr = False
                        continue
                    after_cr = char == "\r"
                    if escape:  # the sequence of an arrow or editing key: ESC [ … letter
                        escape = not (char.isalpha() or char == "~")
                    elif char == "\x1b":
                        escape = True
                    elif char in "\r\n":
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
            elif char.isprintable():
                self._text += char

    def _show(self) -> None:
        room = os.get_terminal_size(self._screen.fileno()).columns - 1
        shown = self._text[-room:] if room > 0 else ""
        while cell_len(shown) > room:
            shown = shown[1:]
        self._screen.write(f"{_WIPE}{shown}")
        self._screen.flush()


@contextlib.contextmanager
def _raw_input(keyboard: int) -> Iterator[None]:
    """Turns off echo, line editing and the translation of CR to LF. Ctrl-C still interrupts; Ctrl-Z does nothing."""
    before: list[Any] = termios.tcgetattr(keyboard)
    after = termios.tcgetattr(keyboard)
    after[0] &= ~(termios.ICRNL | termios.INLCR | termios.IXON)
    after[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    after[6][termios.VSUSP] = b"\0"
    try:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, after)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
