"""The screen of a device in a terminal, for a person with a keyboard or a barcode scanner."""

import contextlib
import io
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager

from rich.console import Console
from rich.text import Text

from ninezero.streams.edge.device.answers import Answer
from ninezero.streams.edge.device.device import Device, DeviceError
from ninezero.streams.edge.device.outbox import OutboxError
from ninezero.streams.edge.documents.key_ring import KeyRingError
from ninezero.streams.edge.gate.passage_draft import Draft
from ninezero.streams.edge.gate.terminal import Terminal
from ninezero.streams.settings import Settings

WAIT_SECONDS = 5.0
"""Time that the screen waits for an answer before it shows *not checked*."""

BACKLOG_SHOWN = 100
"""With more events than this in the outbox the screen shows their number, even if Kafka answers."""

HELP = """Scan or type one item per line. An empty line sends the passage.
  document   identity number, MRZ lines, phone or plate: recognised by its form
  otherwise  id … · passport UTO/… · phone … · plate … · pass … · from 370102 (or US)
  36.5       temperature; a second one is the confirmation
  green, yellow, red   health code
  +          next person          v   vehicle without a plate
  out        leaving              u   clear this passage
  ?          this help            q   quit"""

SHOWN_OUTCOMES = {
    "clear": ("放行 CLEAR", "black on green"),
    "refer": ("转诊 REFER", "white on red"),
    "quarantine": ("隔离 QUARANTINE", "white on red"),
    "turn_back": ("劝返 TURN BACK", "black on yellow"),
    "hold": ("等待复核 HOLD", "black on yellow"),
    "order_ended": ("应急令已终止 ORDER ENDED", "white on blue"),
    "not_checked": ("未核验 NOT CHECKED", "white on magenta"),
}
"""The words and the style of each outcome."""


class Screen:
    """Shows the passages of one device and their answers. An answer that arrives after *not checked* is shown as well."""

    def __init__(self) -> None:
        for stream in (sys.stdin, sys.stdout):  # a terminal without UTF-8 shows the characters that it has
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        self._console = Console(highlight=False)
        self._lines: Iterable[str] = sys.stdin
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
        self._console.print(Text(f"ninezero · {device.site_id} · {device.device_id} · ? for help", style="bold"))
        try:
            self._read_lines(device)
        finally:
            if isinstance(self._lines, Generator):
                self._lines.close()  # restores the terminal, after Ctrl-C too

    def _read_lines(self, device: Device) -> None:
        draft = Draft()
        for line in self._lines:
            command = line.strip().lower()
            if command == "q":
                break
            with self._printing():
                if command == "?":
                    self._console.print(HELP)
                elif command == "u":
                    draft = Draft()
                    self._console.print("passage cleared")
                elif command:
                    self._console.print(f"  {draft.enter(line)}", markup=False)
                elif draft.lacks_document_line():
                    self._console.print(
                        "  a line of the travel document is missing: scan it again, or u clears the passage"
                    )
            complete = not draft.is_empty() and not draft.lacks_document_line()
            if not command and complete and self._scan(device, draft):
                draft = Draft()
        if not draft.is_empty():
            self._console.print("the last passage was not sent: end it with an empty line")

    def _scan(self, device: Device, draft: Draft) -> bool:
        """Returns whether the passage was accepted. If not, the draft stays, to be corrected or sent again."""
        try:
            ticket = device.scan_all([draft.passage()])[0]
        except (DeviceError, OutboxError, KeyRingError) as error:
            with self._printing():
                self._console.print(Text(f" NOT ACCEPTED: {error} ", style="white on magenta"))
                self._console.print("  an empty line tries again, u clears the passage")
            return False
        ticket.wait(WAIT_SECONDS)
        with self._lock, self._printing():
            self._not_checked.add(ticket.seq)
            answer = ticket.wait(0)  # read after the line above, so an answer is shown here or by `show_late`
            if answer.outcome != "not_checked":
                self._not_checked.discard(ticket.seq)
            show(answer, self._console)
            status = device.status()
            if not status.connected or status.waiting > BACKLOG_SHOWN:
                self._console.print(f"  {status.waiting} of {status.capacity} events wait for Kafka")
            if status.problem:
                self._console.print(Text(f"  {status.problem}"))
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
    """Prints an answer in colour, with the numbers of the people whom it concerns, from 1."""
    words, style = SHOWN_OUTCOMES[answer.outcome]
    whom = f" · person {', '.join(str(index + 1) for index in answer.people)}" if answer.people else ""
    console.print(Text(f" {words}{whom} ", style=style), Text(f"#{answer.seq}", style="dim"))
