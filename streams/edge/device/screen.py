"""The terminal screen of a device, for a person with a keyboard or a barcode scanner: a line in, an answer out."""

import contextlib
import io
import re
import sys
import threading
import unicodedata
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from ninezero.streams.edge.device.device import Answer, Device, DeviceError, Passage, Traveller
from ninezero.streams.edge.device.outbox import OutboxError
from ninezero.streams.edge.device.terminal import Terminal
from ninezero.streams.edge.documents.pseudonyms import KeyRingError
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

_TEMPERATURE = re.compile(r"([0-9]{2}(?:\.[0-9]{1,2})?) ?(?:°?C|℃)?", re.IGNORECASE)
_RESIDENT = re.compile(r"[0-9]{15}|[0-9]{17}[0-9Xx]")
_PHONE = re.compile(r"\+[0-9 ()-]{6,20}|1[0-9]{10}")
_MRZ = re.compile("|".join(f"[A-Z0-9<]{{{length}}}" for length in (30, 36, 44, 72, 88, 90)))
_PLATE = re.compile(r"[\u4e00-\u9fff].{4,9}|.{6}[\u4e00-\u9fff]")
_NAMED = re.compile(r"(id|passport|phone|plate|pass|from)[ :=]\s*(.+)", re.IGNORECASE)
_MRZ_LINES = {30: 3, 36: 2, 44: 2}


class Draft:
    """The passage at the gate, as far as it is typed. Replies never repeat what was typed."""

    def __init__(self) -> None:
        self.people: list[dict[str, Any]] = [{}]
        self.plate: str | None = None
        self.vehicle = False
        self.direction: Literal["in", "out"] = "in"
        self._mrz: list[str] = []

    def take(self, text: str) -> str:
        """Takes a line; what it was, in a word or two."""
        text = unicodedata.normalize("NFKC", text).strip()
        named = _NAMED.fullmatch(text)
        if named:
            return self._put(named[1].lower(), named[2])
        if text == "+":
            self.people.append({})
            return f"person {len(self.people)}"
        if text.lower() == "v":
            self.vehicle = True
            return "vehicle"
        if text.lower() in ("in", "out"):
            self.direction = "in" if text.lower() == "in" else "out"
            return self.direction
        if text.lower() in ("green", "yellow", "red"):
            self.people[-1]["health_code"] = text.lower()
            return "health code"
        if found := _TEMPERATURE.fullmatch(text):
            second = "temperature_c" in self.people[-1]
            self.people[-1]["temperature_confirmed_c" if second else "temperature_c"] = float(found[1])
            return "temperature confirmed" if second else "temperature"
        return self._document(text)

    def passage(self) -> Passage:
        """The whole, ready to be scanned."""
        vehicle = self.vehicle or self.plate is not None or len(self.people) > 1
        roles = ["driver" if vehicle else "pedestrian", *["passenger"] * (len(self.people) - 1)]
        return Passage(
            kind="vehicle" if vehicle else "pedestrian",
            direction=self.direction,
            plate=self.plate,
            people=[Traveller(role=role, **seen) for role, seen in zip(roles, self.people, strict=True)],  # type: ignore[arg-type]  # `seen` is a dict of str and float: `take` puts each under its field's name, and the workers' own types are checked before it is sent
        )

    def empty(self) -> bool:
        """Nothing was typed."""
        return self.people == [{}] and self.plate is None and not self.vehicle

    def unfinished(self) -> bool:
        """A travel document lacks a line."""
        return bool(self._mrz)

    def _document(self, text: str) -> str:
        zone = text.upper().replace(" ", "")
        if _MRZ.fullmatch(zone) and ("<" in zone or self._mrz):
            return self._zone(zone)
        if self._mrz:
            self._mrz = []
            return "that was no line of the travel document, nothing was taken: scan the document again"
        if _RESIDENT.fullmatch(text):
            return self._put("id", text)
        if _PHONE.fullmatch(text):
            return self._put("phone", text)
        if _PLATE.fullmatch(text):
            return self._put("plate", text)
        return "not understood, nothing was taken: say what it is, for example: pass …  (? for help)"

    def _zone(self, zone: str) -> str:
        """A line of a machine-readable zone, or all its lines in one."""
        width = next(width for width, lines in _MRZ_LINES.items() if len(zone) in (width, width * lines))
        if self._mrz and len(self._mrz[0]) != width:
            self._mrz = []
        self._mrz += [zone[start : start + width] for start in range(0, len(zone), width)]
        if len(self._mrz) < _MRZ_LINES[width]:
            return f"document line {len(self._mrz)} of {_MRZ_LINES[width]}"
        lines, self._mrz = self._mrz[: _MRZ_LINES[width]], []
        return self._put("mrz", lines)

    def _put(self, what: str, given: str | list[str]) -> str:
        """Takes a value. Another one in the place of an identity is refused: it could be the next person's."""
        said = {"id": "identity card", "from": "origin", "mrz": "travel document"}.get(what, what)
        if what == "from":
            self.people[-1]["origin"] = str(given).upper()
        elif what == "plate":
            if self.plate not in (None, given):
                return f"there is another {said} already, nothing was taken: u starts this passage anew"
            self.plate = str(given)
        elif self.people[-1].setdefault("pass_" if what == "pass" else what, given) != given:
            return f"this person has another {said} already, nothing was taken: + first for the next person"
        return said


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
