"""The terminal screen of a device, for a person with a keyboard or a barcode scanner: a line in, an answer out."""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from streams.edge.device import Answer, Device, DeviceError, Passage, Traveller
from streams.edge.outbox import OutboxError
from streams.edge.pseudonyms import KeyRingError

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
_MRZ = re.compile(r"[A-Z0-9<]{30}|[A-Z0-9<]{36}|[A-Z0-9<]{44}")
_PLATE = re.compile(r"[\u4e00-\u9fff].{4,9}|.{6}[\u4e00-\u9fff]")
_NAMED = re.compile(r"(id|passport|phone|plate|pass|from)[ :=]\s*(.+)", re.IGNORECASE)
_MRZ_LINES = {30: 3, 36: 2, 44: 2}


class Draft:
    """The passage at the gate, as far as it is typed. Replies never repeat what was typed."""

    def __init__(self) -> None:
        self.people: list[dict[str, Any]] = [{}]
        self.plate: str | None = None
        self.vehicle = False
        self.direction = "in"
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
            self.direction = text.lower()
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
            direction=self.direction,  # type: ignore[arg-type]  # in or out
            plate=self.plate,
            people=[Traveller(role=role, **seen) for role, seen in zip(roles, self.people, strict=True)],  # type: ignore[arg-type]
        )

    def empty(self) -> bool:
        """Nothing was typed."""
        return self.people == [{}] and self.plate is None and not self.vehicle

    def _document(self, text: str) -> str:
        zone = text.upper().replace(" ", "")
        if self._mrz or (_MRZ.fullmatch(zone) and "<" in zone):
            return self._zone(zone)
        if _RESIDENT.fullmatch(text):
            return self._put("id", text)
        if _PHONE.fullmatch(text):
            return self._put("phone", text)
        if _PLATE.fullmatch(text):
            return self._put("plate", text)
        return "not understood, nothing was taken: say what it is, for example: pass …  (? for help)"

    def _zone(self, zone: str) -> str:
        self._mrz.append(zone)
        wanted = _MRZ_LINES.get(len(self._mrz[0]), 0)
        if len(self._mrz) < wanted:
            return f"document line {len(self._mrz)} of {wanted}"
        self.people[-1]["mrz"], self._mrz = self._mrz, []
        return "travel document"

    def _put(self, what: str, text: str) -> str:
        if what == "plate":
            self.plate = text
        elif what == "from":
            self.people[-1]["origin"] = text.upper()
        else:
            self.people[-1]["pass" if what == "pass" else what] = text
        return {"id": "identity card", "from": "origin"}.get(what, what)


def run(device: Device, lines: Iterable[str], console: Console) -> None:
    """Reads lines until they end or `q` is typed. What was typed is wiped off the screen as it is taken."""
    console.print(Text(f"ninezero · {device.site_id} · {device.device_id} · ? for help", style="bold"))
    draft = Draft()
    for line in lines:
        if console.is_terminal:
            console.file.write("\x1b[1A\x1b[2K")  # the line just typed: nobody else need read it
        command = line.strip().lower()
        if command == "q":
            break
        if command == "?":
            console.print(HELP, highlight=False)
        elif command == "u":
            draft = Draft()
            console.print("started anew", highlight=False)
        elif command:
            console.print(f"  {draft.take(line)}", highlight=False)
        elif not draft.empty():
            _scan(device, draft, console)
            draft = Draft()
    if not draft.empty():
        console.print("the last passage was not sent: end it with an empty line", highlight=False)


def _scan(device: Device, draft: Draft, console: Console) -> None:
    try:
        ticket = device.scan_all([draft.passage()])[0]
    except (DeviceError, OutboxError, KeyRingError) as error:
        console.print(Text(f" NOT ACCEPTED: {error} ", style="white on magenta"))
        return
    show(ticket.wait(WAIT_SECONDS), console)
    status = device.status()
    if not status.connected or status.waiting > 100:
        console.print(f"  {status.waiting} of {status.capacity} events wait for Kafka", highlight=False)


def show(answer: Answer, console: Console) -> None:
    """An answer, in large."""
    words, style = SHOWN[answer.said]
    whom = f" · person {', '.join(str(index + 1) for index in answer.people)}" if answer.people else ""
    console.print(Text(f" {words}{whom} ", style=style), Text(f"#{answer.seq}", style="dim"))
