"""A passage as it is typed."""

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
