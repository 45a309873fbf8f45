"""A passage while it is typed or scanned at the screen, line by line."""

import re
import unicodedata
from typing import Any, Literal

from ninezero.streams.edge.device.travellers import Passage, Traveller

_TEMPERATURE = re.compile(r"([0-9]{2}(?:\.[0-9]{1,2})?) ?(?:°?C|℃)?", re.IGNORECASE)
_RESIDENT = re.compile(r"[0-9]{15}|[0-9]{17}[0-9Xx]")
_PHONE = re.compile(r"\+[0-9 ()-]{6,20}|1[0-9]{10}")
_MRZ = re.compile("|".join(f"[A-Z0-9<]{{{length}}}" for length in (30, 36, 44, 72, 88, 90)))
_PLATE = re.compile(r"[\u4e00-\u9fff].{4,9}|.{6}[\u4e00-\u9fff]")
_NAMED = re.compile(r"(id|passport|phone|plate|pass|from)[ :=]\s*(.+)", re.IGNORECASE)
_MRZ_LINES = {30: 3, 36: 2, 44: 2}
"""Lines of a machine-readable zone, by characters in a line."""

_SHOWN_NAMES = {"id": "identity card", "from": "origin", "mrz": "travel document"}


class Draft:
    """The passage that is being entered. Its replies never repeat what was entered."""

    def __init__(self) -> None:
        self.people: list[dict[str, Any]] = [{}]
        self.plate: str | None = None
        self.vehicle = False
        self.direction: Literal["in", "out"] = "in"
        self._mrz: list[str] = []

    def enter(self, text: str) -> str:
        """Applies one line and returns what it was recognised as, or why it was not used."""
        text = unicodedata.normalize("NFKC", text).strip()
        named = _NAMED.fullmatch(text)
        if named:
            return self._set(named[1].lower(), named[2])
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
        return self._enter_document(text)

    def passage(self) -> Passage:
        """Returns the passage as entered so far."""
        vehicle = self.vehicle or self.plate is not None or len(self.people) > 1
        roles = ["driver" if vehicle else "pedestrian", *["passenger"] * (len(self.people) - 1)]
        return Passage(
            kind="vehicle" if vehicle else "pedestrian",
            direction=self.direction,
            plate=self.plate,
            people=[Traveller(role=role, **fields) for role, fields in zip(roles, self.people, strict=True)],  # type: ignore[arg-type]  # `fields` maps names to str and float: `enter` stores each value under its field's name, and the device validates the event
        )

    def is_empty(self) -> bool:
        """Returns whether nothing was entered."""
        return self.people == [{}] and self.plate is None and not self.vehicle

    def lacks_document_line(self) -> bool:
        """Returns whether a travel document was begun and a line of it is missing."""
        return bool(self._mrz)

    def _enter_document(self, text: str) -> str:
        zone = text.upper().replace(" ", "")
        if _MRZ.fullmatch(zone) and ("<" in zone or self._mrz):
            return self._enter_zone(zone)
        if self._mrz:
            self._mrz = []
            return "this is not a line of the travel document, and it was not used: scan the whole document again"
        if _RESIDENT.fullmatch(text):
            return self._set("id", text)
        if _PHONE.fullmatch(text):
            return self._set("phone", text)
        if _PLATE.fullmatch(text):
            return self._set("plate", text)
        return "not recognised, and not used: begin with what it is, for example: pass …  (? for help)"

    def _enter_zone(self, zone: str) -> str:
        """Applies one line of a machine-readable zone, or all its lines joined."""
        width = next(width for width, lines in _MRZ_LINES.items() if len(zone) in (width, width * lines))
        if self._mrz and len(self._mrz[0]) != width:
            self._mrz = []
        self._mrz += [zone[start : start + width] for start in range(0, len(zone), width)]
        if len(self._mrz) < _MRZ_LINES[width]:
            return f"document line {len(self._mrz)} of {_MRZ_LINES[width]}"
        lines, self._mrz = self._mrz[: _MRZ_LINES[width]], []
        return self._set("mrz", lines)

    def _set(self, field: str, value: str | list[str]) -> str:
        """Sets a field. A second, different identity is not used: it could be the next person's."""
        shown = _SHOWN_NAMES.get(field, field)
        if field == "from":
            self.people[-1]["origin"] = str(value).upper()
        elif field == "plate":
            if self.plate not in (None, value):
                return f"the passage has another {shown} already, and this one was not used: u clears the passage"
            self.plate = str(value)
        elif self.people[-1].setdefault("pass_" if field == "pass" else field, value) != value:
            return f"this person has another {shown} already, and this one was not used: + begins the next person"
        return shown
