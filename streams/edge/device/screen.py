"""The terminal screen of a device, for a person with a keyboard or a barcode scanner: a line in, an answer out."""

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
from ninezero.streams.edge.device.draft import Draft
from ninezero.streams.edge.device.outbox import OutboxError
from ninezero.streams.edge.device.terminal import Terminal
from ninezero.streams.edge.documents.key_ring import KeyRingError
from ninezero.streams.settings import Settings

WAIT_SECONDS = 5.0

HELP = """Scan or type, one thing a line; an empty line sends the passage.
  document   identity number, MRZ lines, phone, plate: known by their form
  otherwise  id … · passport UTO/… · phone … · plate … · pass … · from 370102 (or US)
  36.5       temperature; a second one is the confirmation
  green, yellow, red   health code
  +          next person          v   vehicle without a plate
  out        leaving              u   start this passage anew
  ?          this help            q   end"""

SHOWN = {
    "clear": ("放行 CLEAR", "black on green"),
    "refer": ("转诊 REFER", "white on red"),
    "quarantine": ("隔离 QUARANTINE", "white on red"),
    "turn_back": ("劝返 TURN BACK", "black on yellow"),
    "hold": ("等待复核 HOLD", "black on yellow"),
    "order_ended": ("应急令已终止 ORDER ENDED", "white on blue"),
    "not_checked": ("未核验 NOT CHECKED", "white on magenta"),
}


class Screen:
    """The screen of one device. An answer that comes after its scan was shown as not checked is shown when it comes."""

    def __init__(self) -> None:
        for stream in (sys.stdin, sys.stdout):  # a terminal without UTF-8 shows what it can
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        self._console = Console(highlight=False)
        self._lines: Iterable[str] = sys.stdin
        self._printing: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
        if sys.stdin.isatty() and sys.stdout.isatty():
            terminal = Terminal()
            self._lines, self._printing = terminal.lines(), terminal.printing
        self._lock = threading.Lock()
        self._unchecked: set[int] = set()

    def late(self, answer: Answer) -> None:
        """Takes every answer, from the device's thread."""
        with self._lock:
            if answer.seq in self._unchecked:
                self._unchecked.discard(answer.seq)
                with self._printing():
                    show(answer, self._console)

    def run(self, device: Device) -> None:
        """Reads lines until they end or `q` is typed. Identities are wiped off the screen as they are taken."""
        self._console.print(Text(f"ninezero · {device.site_id} · {device.device_id} · ? for help", style="bold"))
        try:
            self._follow(device)
        finally:
            if isinstance(self._lines, Generator):
                self._lines.close()  # gives the terminal back, after Ctrl-C too

    def _follow(self, device: Device) -> None:
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
                    self._console.print("started anew")
                elif command:
                    self._console.print(f"  {draft.take(line)}", markup=False)
                elif draft.unfinished():
                    self._console.print("  a line of the travel document is missing: scan it again, or u starts anew")
            if not command and not draft.empty() and not draft.unfinished() and self._scan(device, draft):
                draft = Draft()
        if not draft.empty():
            self._console.print("the last passage was not sent: end it with an empty line")

    def _scan(self, device: Device, draft: Draft) -> bool:
        """Whether it was accepted; if not, the draft stays, to be corrected or sent again."""
        try:
            ticket = device.scan_all([draft.passage()])[0]
        except (DeviceError, OutboxError, KeyRingError) as error:
            with self._printing():
                self._console.print(Text(f" NOT ACCEPTED: {error} ", style="white on magenta"))
                self._console.print("  an empty line tries again, u starts anew")
            return False
        ticket.wait(WAIT_SECONDS)
        with self._lock, self._printing():
            self._unchecked.add(ticket.seq)
            answer = ticket.wait(0)  # after the line above: an answer comes either here or late, and is not lost
            if answer.said != "not_checked":
                self._unchecked.discard(ticket.seq)
            show(answer, self._console)
            status = device.status()
            if not status.connected or status.waiting > 100:
                self._console.print(f"  {status.waiting} of {status.capacity} events wait for Kafka")
            if status.problem:
                self._console.print(Text(f"  {status.problem}"))
        return True


def run(settings: Settings, site_id: str, device_id: str) -> int:
    """The whole screen; how many events are left waiting for Kafka."""
    screen = Screen()
    with Device(settings, site_id=site_id, device_id=device_id, on_answer=screen.late) as device:
        screen.run(device)
        device.flush(5)
        return device.status().waiting


def show(answer: Answer, console: Console) -> None:
    """An answer, in large."""
    words, style = SHOWN[answer.said]
    whom = f" · person {', '.join(str(index + 1) for index in answer.people)}" if answer.people else ""
    console.print(Text(f" {words}{whom} ", style=style), Text(f"#{answer.seq}", style="dim"))
