"""The screen of a device in a terminal, for a person with a keyboard or a barcode scanner."""

import contextlib
import io
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.device.answers import Answer
from ninezero.streams.edge.device.device import Device, DeviceError
from ninezero.streams.edge.device.outbox import OutboxError
from ninezero.streams.edge.device.travellers import Passage
from ninezero.streams.edge.documents.key_ring import KeyRingError
from ninezero.streams.edge.gate import line_reader, texts, words
from ninezero.streams.edge.gate.passage_draft import Draft
from ninezero.streams.edge.gate.passage_state import summary
from ninezero.streams.edge.gate.scan_again import scan_again
from ninezero.streams.edge.gate.terminal import Terminal, piped_lines
from ninezero.streams.settings import Settings

WAIT_SECONDS = 5.0
"""Time that the screen waits for an answer before it shows *not checked*."""

BACKLOG_SHOWN = 100
"""With more events than this in the outbox the screen shows their number, even if Kafka answers."""

STYLES = {
    "clear": "black on green",
    "refer": "white on red",
    "quarantine": "white on red",
    "turn_back": "black on yellow",
    "hold": "black on yellow",
    "order_ended": "white on blue",
    "not_checked": "white on magenta",
}
"""The style of each outcome."""


class Screen:
    """Shows the passages of one device and their answers. An answer that arrives after *not checked* is shown as well."""

    def __init__(self) -> None:
        for stream in (sys.stdin, sys.stdout):  # a terminal without UTF-8 shows the characters that it has
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        self._console = Console(highlight=False)
        self._lines: Iterable[str] = piped_lines(sys.stdin)
        self._printing: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
        if sys.stdin.isatty() and sys.stdout.isatty():
            terminal = Terminal()
            self._lines, self._printing = terminal.lines(), terminal.printing
        self._lock = threading.Lock()
        self._not_checked: set[int] = set()

    def show_late(self, answer: Answer) -> None:
        """Shows an answer if its scan was shown as not checked. The device's thread calls this with every answer."""
        with self._lock:
            if answer.seq in self._not_checked:
                self._not_checked.discard(answer.seq)
                with self._printing():
                    show(answer, self._console)

    def run(self, device: Device) -> None:
        """Reads lines until the input ends or `q` is entered. Each line is wiped from the terminal when it is entered."""
        title = f"ninezero · {device.site_id} · {device.device_id} · {texts.HELP_HINT}"
        self._console.print(Text(title, style="bold"))
        try:
            self._read_lines(device)
        finally:
            if isinstance(self._lines, Generator):
                self._lines.close()  # restores the terminal, after Ctrl-C too

    def _read_lines(self, device: Device) -> None:
        draft = Draft()
        for line in self._lines:
            command = words.command(line_reader.prepared(line))
            if command == "quit":
                break
            if not line.strip():
                draft = self._end(device, draft)
                continue
            with self._printing():
                if command == "help":
                    show_help(self._console)
                elif command == "clear":
                    draft = Draft()
                    self._say(texts.CLEARED)
                else:
                    reply = draft.enter(line)
                    self._say(reply.text, used=reply.used)
        if not draft.is_empty():
            self._say(texts.NOT_SENT, used=False)

    def _end(self, device: Device, draft: Draft) -> Draft:
        """Sends the passage if it is complete, and returns the draft with which to continue."""
        ended = draft.end()
        if isinstance(ended, Passage):
            return Draft() if self._scan(device, ended) else draft.rejected()
        with self._printing():
            self._say(ended, used=False)
        return draft

    def _say(self, text: Bilingual, *, used: bool = True) -> None:
        """Prints a text in both languages, in two rows if one is too short. `!` marks what was not used."""
        mark, style = ("  ", "") if used else ("! ", "bold yellow")
        fits = cell_len(f"{mark}{text.zh}  {text.en}") < self._console.width
        rows = [f"{mark}{text.zh}  {text.en}"] if fits else [f"{mark}{text.zh}", f"{mark}{text.en}"]
        for row in rows:
            self._console.print(Text(row, style=style), soft_wrap=True)

    def _scan(self, device: Device, passage: Passage) -> bool:
        """Returns whether the passage was accepted."""
        try:
            ticket = device.scan_all([passage])[0]
        except (DeviceError, OutboxError, KeyRingError) as error:
            with self._printing():
                for row in texts.NOT_ACCEPTED.format(why=Bilingual(error.chinese, str(error))):
                    self._console.print(Text(f" {row} ", style="white on magenta"), soft_wrap=True)
                self._say(texts.TRY_AGAIN)
            return False
        with self._printing():
            self._say(summary(passage))
        ticket.wait(WAIT_SECONDS)
        with self._lock, self._printing():
            self._not_checked.add(ticket.seq)
            answer = ticket.wait(0)  # read after the line above, so an answer is shown here or by `show_late`
            if answer.outcome != "not_checked":
                self._not_checked.discard(ticket.seq)
            show(answer, self._console)
            status = device.status()
            if not status.connected or status.waiting > BACKLOG_SHOWN:
                self._say(texts.WAITING.format(waiting=status.waiting, capacity=status.capacity))
            if status.problem:
                self._say(Bilingual(status.problem_chinese, status.problem))
        return True


def run(settings: Settings, site_id: str, device_id: str) -> int:
    """Opens the device, shows its screen until the user quits, and returns how many events still wait for Kafka.

    Raises:
        DeviceError, KeyRingError, OutboxError: the device cannot be opened.
    """
    screen = Screen()
    with Device(settings, site_id=site_id, device_id=device_id, on_answer=screen.show_late) as device:
        screen.run(device)
        device.flush(5)
        return device.status().waiting


def show(answer: Answer, console: Console) -> None:
    """Prints an answer in colour, with the numbers of the people whom it concerns, from 1, and what should be scanned again."""
    zh, en = texts.OUTCOMES[answer.outcome]
    if answer.people:
        whom = texts.PERSON.format(n=", ".join(str(index + 1) for index in answer.people))
        zh, en = f"{whom.zh} {zh}", f"{en} · {whom.en}"
    shown = Text(f" {zh} {en} ", style=STYLES[answer.outcome])
    console.print(shown, Text(f"#{answer.seq}", style="dim"))
    for row in scan_again(answer.findings) or ():
        console.print(Text(f"! {row}", style="bold yellow"), soft_wrap=True)


def show_help(console: Console) -> None:
    """Prints what can be entered, in both languages."""
    for row in texts.HELP_INTRODUCTION:
        console.print(Text(row))
    table = Table.grid(padding=(0, 2))
    for entered, meaning in texts.HELP_ITEMS:
        table.add_row(Text(entered), Text(meaning.zh), Text(meaning.en))
    console.print(table)
