"""Lines from a terminal, for people and for barcode scanners: nothing typed stays on the screen.

The terminal itself echoes nothing, so what is typed ahead while an answer is awaited does not get between the answers; the
line under way is shown on one row, its end if it is long, and wiped as it is taken. A line ends with CR, LF or CR LF,
whichever the scanner is set to send.
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

WIPE = "\r\x1b[2K"
_ERASE, _KILL, _END = "\x7f\b", "\x15", "\x04"


class Terminal:
    """The line under way. `printing` keeps it out of the way of what others print, from any thread."""

    def __init__(self, keyboard: TextIO = sys.stdin, screen: TextIO = sys.stdout) -> None:
        self._keyboard, self._screen = keyboard.fileno(), screen
        self._lock, self._text = threading.RLock(), ""

    @contextlib.contextmanager
    def printing(self) -> Iterator[None]:
        """Wipes the line under way, and shows it again afterwards."""
        with self._lock:
            self._screen.write(WIPE)
            yield
            self._show()

    def lines(self) -> Iterator[str]:
        """Each line as it is ended; ends with Ctrl-D on an empty line, or with the terminal."""
        decode = codecs.getincrementaldecoder(self._screen.encoding)("replace").decode
        with _quiet(self._keyboard), contextlib.ExitStack() as ending:
            ending.callback(self._take)  # Ctrl-C leaves nothing to be read either
            after_cr = escape = False
            while some := os.read(self._keyboard, 4096):
                for char in decode(some):
                    if char == "\n" and after_cr:
                        after_cr = False
                        continue
                    after_cr = char == "\r"
                    if escape:  # a key that moves or edits, such as an arrow: ESC [ … letter
                        escape = not (char.isalpha() or char == "~")
                    elif char == "\x1b":
                        escape = True
                    elif char in "\r\n":
                        yield self._take()
                    elif char == _END:
                        if not self._text:
                            return
                    else:
                        self._type(char)
                if not select.select([self._keyboard], [], [], 0)[0]:
                    with self._lock:
                        self._show()

    def _take(self) -> str:
        with self._lock:
            text, self._text = self._text, ""
            self._screen.write(WIPE)
            self._screen.flush()
            return text

    def _type(self, char: str) -> None:
        with self._lock:
            if char in _ERASE:
                self._text = self._text[:-1]
            elif char == _KILL:
                self._text = ""
            elif char.isprintable():
                self._text += char

    def _show(self) -> None:
        room = os.get_terminal_size(self._screen.fileno()).columns - 1
        shown = self._text[-room:] if room > 0 else ""
        while cell_len(shown) > room:
            shown = shown[1:]
        self._screen.write(f"{WIPE}{shown}")
        self._screen.flush()


@contextlib.contextmanager
def _quiet(keyboard: int) -> Iterator[None]:
    """No echo, no line editing and no CR to LF by the terminal; Ctrl-C still interrupts, Ctrl-Z does nothing."""
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
