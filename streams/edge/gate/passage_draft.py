"""A passage while it is typed or scanned at the screen, line by line.

A line is used, or answered with a question. While a question about a document or value is open, nothing else is used: it could
belong to the next person. Each line can be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal, NamedTuple, Self

from ninezero.streams.edge.bilingual import Bilingual, joined
from ninezero.streams.edge.device.travellers import Passage, Traveller
from ninezero.streams.edge.documents.normal_forms import Domain
from ninezero.streams.edge.gate import documents, line_reader, texts, words
from ninezero.streams.edge.gate.items import Command, Fact, Identity, Item, Unclear, ZoneLines

MOST_PEOPLE = 80
"""The contract's bound for one passage."""


class Reply(NamedTuple):
    """The answer to one line."""

    text: Bilingual
    used: bool


@dataclass(frozen=True, repr=False)
class _Person:
    """One person as entered so far."""

    documents: Mapping[Domain, Identity] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return not self.documents and not self.facts


@dataclass(frozen=True, repr=False)
class _Question:
    """An item that is not used until the guard says whose it is."""

    item: Identity | Fact
    text: Bilingual


@dataclass(frozen=True, repr=False)
class _State:
    """Everything entered so far. A line makes a new state, so that taking it back is to return to the one before."""

    people: tuple[_Person, ...] = (_Person(),)
    plate: Identity | None = None
    vehicle: bool = False
    direction: Literal["in", "out"] = "in"
    zone: tuple[str, ...] = ()
    question: _Question | None = None

    @property
    def last(self) -> _Person:
        return self.people[-1]

    @property
    def is_vehicle(self) -> bool:
        return self.vehicle or self.plate is not None or len(self.people) > 1

    def with_last(self, person: _Person) -> _State:
        return replace(self, people=(*self.people[:-1], person))


@dataclass(frozen=True, repr=False)
class _Change:
    """What a line makes of the state, and its answer."""

    state: _State
    text: Bilingual
    used: bool = True


@dataclass(frozen=True, repr=False)
class _Step:
    """A line that can be taken back. `what` is None if the line was not used."""

    before: _State
    what: Bilingual | None


class Draft:
    """The passage that is being entered. Its replies never repeat an identity.

    Args:
        today: returns the date with which birth and expiry dates are compared.
    """

    def __init__(self, today: Callable[[], date] = date.today) -> None:
        self._today = today
        self._state = _State()
        self._steps: list[_Step] = []
        self._asked_again = False
        self._rejected = False

    def enter(self, line: str) -> Reply:
        """Applies one line and returns what was understood, or why it was not used."""
        text = line_reader.prepared(line)
        self._asked_again = False
        command = words.command(text)
        if command == "take_back":
            return self._take_back()
        if self._rejected:
            return Reply(texts.TRY_AGAIN, False)
        if question := self._state.question:
            return self._answer(question, command, text)
        if command == "next":
            change = _next_person(self._state)
            return self._record(change) if change.used else Reply(change.text, False)
        if command:
            return Reply(texts.NOTHING_TO_REPLACE if command == "replace" else texts.NOT_RECOGNISED, False)
        items = line_reader.understand(text, self._today(), zone_begun=bool(self._state.zone))
        if self._state.zone and not _are_zone_lines(items):
            return Reply(texts.NOT_THIS_DOCUMENT, False)
        return self._record(_apply_all(self._state, items, self._today()))

    def end(self) -> Passage | Bilingual:
        """Returns the passage for an empty line, or the question that must be answered before it is complete."""
        state = self._state
        if state.question:
            return texts.FIRST_ANSWER.format(question=state.question.text)
        if state.zone:
            return texts.LINE_MISSING
        if len(state.people) > 1 and state.last.is_empty():
            return texts.PERSON_IS_EMPTY.format(n=len(state.people))
        unused = bool(self._steps) and self._steps[-1].what is None
        if unused and not self._asked_again and not self._rejected:
            self._asked_again = True
            return texts.ENTER_AGAIN
        return texts.NOTHING_ENTERED if self.is_empty() else _passage(state)

    def rejected(self) -> Self:
        """Notes that the device did not accept the passage: until it is sent again or changed, nothing is added to it."""
        self._rejected = True
        return self

    def is_empty(self) -> bool:
        """Returns whether nothing was entered that a passage would hold."""
        state = self._state
        return state.people == (_Person(),) and not state.is_vehicle and not state.zone and not state.question

    def _record(self, change: _Change) -> Reply:
        """Keeps a change as a step. Of several lines in a row that were not used, one step is kept."""
        what = change.text if change.used or change.state.question else None
        if what or not self._steps or self._steps[-1].what:
            self._steps.append(_Step(self._state, what))
        self._state = change.state
        return Reply(change.text, change.used)

    def _take_back(self) -> Reply:
        if not self._steps:
            return Reply(texts.NOTHING_TO_TAKE_BACK, False)
        self._rejected = False
        step = self._steps.pop()
        dropped = step.what is None or self._state.question is not None
        self._state = step.before
        return Reply(
            texts.TAKEN_BACK.format(what=texts.UNUSED_LINE if dropped or step.what is None else step.what), True
        )

    def _answer(self, question: _Question, command: Command | None, text: str) -> Reply:
        """Applies the answer to the open question: a command, or the same kind of document scanned again."""
        before, item = self._steps[-1].before, question.item
        again = None if command else line_reader.understand(text, self._today())
        if command == "replace":
            change = _replaced(before, item)
        elif command == "next" and _is_personal(item):
            change = _begun_with(before, item)
            if not change.used:
                return Reply(change.text, False)
        elif isinstance(again, list) and len(again) == 1 and _same_kind(again[0], item):
            change = _apply(before, again[0], self._today())
        else:
            return Reply(texts.FIRST_ANSWER.format(question=question.text), False)
        self._steps.pop()  # taking the answer back takes the line back that it was about
        self._state = before
        return self._record(change)


# -- what an item makes of the state -----------------------------------------------------------------------------------


def _apply_all(state: _State, items: list[Item] | Unclear, today: date) -> _Change:
    """Applies the items of one line: all of them, or none."""
    if isinstance(items, Unclear):
        return _Change(replace(state, zone=()), items.question, used=False)
    if len(items) == 1:
        return _apply(state, items[0], today)
    changed, said = state, list[Bilingual]()
    for item in items:
        change = _apply(changed, item, today)
        if not change.used:
            return _Change(state, texts.ONE_AT_A_TIME.format(why=change.text), used=False)
        changed = change.state
        said.append(change.text)
    return _Change(changed, joined(said))


def _apply(state: _State, item: Item, today: date) -> _Change:
    if isinstance(item, ZoneLines):
        return _apply_zone(state, item, today)
    if isinstance(item, Fact):
        return _apply_fact(state, item)
    return _apply_plate(state, item) if item.domain == "plate" else _apply_document(state, item)


def _apply_zone(state: _State, zone: ZoneLines, today: date) -> _Change:
    """Applies lines of a machine-readable zone. Its first line always begins a new one."""
    if not zone.first and not state.zone:
        return _Change(state, texts.NOT_THE_FIRST_LINE, used=False)
    lines = zone.lines if zone.first else (*state.zone, *zone.lines)
    width, count = len(lines[0]), documents.ZONE_LINES[len(lines[0])]
    if any(len(line) != width for line in lines):
        return _Change(state, texts.NOT_THIS_DOCUMENT, used=False)
    if len(lines) < count:
        return _Change(replace(state, zone=lines), texts.ZONE_LINE.format(n=len(lines), count=count))
    document = documents.of_zone(lines, today)
    closed = replace(state, zone=())
    if isinstance(document, Unclear):
        return _Change(closed, document.question, used=False)
    return _apply_document(closed, document)


def _apply_document(state: _State, new: Identity) -> _Change:
    """Applies a person's document or phone."""
    for number, person in enumerate(state.people[:-1], 1):
        other = person.documents.get(new.domain)
        if other and other.normal == new.normal and new.domain != "phone":
            return _Change(state, texts.SAME_AS_PERSON.format(n=number, what=new.label), used=False)
    if "no_document" in state.last.facts and new.domain != "phone":
        return _Change(state, texts.NOT_USED.format(what=new.label, why=texts.NO_DOCUMENT), used=False)
    old = state.last.documents.get(new.domain)
    set_new = state.with_last(replace(state.last, documents={**state.last.documents, new.domain: new}))
    compared = _compare(state, old, new, set_new)
    return replace(compared, text=_for_person(state, compared.text)) if compared.used else compared


def _apply_plate(state: _State, new: Identity) -> _Change:
    return _compare(state, state.plate, new, replace(state, plate=new))


def _compare(state: _State, old: Identity | None, new: Identity, set_new: _State) -> _Change:
    """Applies an identity beside what there is of its kind: nothing, the same, a misread one, or another one."""
    remark = texts.SCAN_AGAIN if new.misread else texts.CHECK
    words_of_new = joined([new.label, remark.format(why=new.findings)]) if new.findings else new.label
    if old is None:
        return _Change(set_new, words_of_new)
    if old.normal == new.normal:
        return _Change(state, texts.SAME.format(what=new.label))
    if _distance(old.normal, new.normal) <= _MISREAD_DISTANCE:
        if new.misread and not old.misread:
            return _Change(state, texts.MISREAD_AGAIN.format(what=new.label, why=new.findings), used=False)
        if old.misread:
            return _Change(set_new, joined([words_of_new, texts.REPLACED_MISREAD]))
    personal = new.domain != "plate"
    if new.misread:
        text = texts.PROBABLY_MISREAD if personal else texts.PLATE_PROBABLY_MISREAD
        return _asked(state, new, text.format(what=new.label, why=new.findings))
    return _asked(state, new, (texts.ANOTHER if personal else texts.ANOTHER_PLATE).format(what=new.label))


def _apply_fact(state: _State, fact: Fact) -> _Change:
    if fact.name == "direction":
        return _Change(replace(state, direction="in" if fact.value == "in" else "out"), fact.words)
    if fact.name == "vehicle":
        on_foot = not fact.value
        if on_foot and (state.plate or len(state.people) > 1):
            return _Change(state, texts.STILL_A_VEHICLE, used=False)
        return _Change(replace(state, vehicle=bool(fact.value)), fact.words)
    facts = state.last.facts
    if fact.name == "no_document" and any(domain != "phone" for domain in state.last.documents):
        return _Change(state, texts.HAS_DOCUMENT, used=False)
    if fact.name == "temperature" and "temperature" in facts:
        fact = replace(fact, name="confirmed", words=texts.CONFIRMED.format(value=fact.value))
    if fact.name == "confirmed" and "temperature" not in facts:
        return _Change(state, texts.FIRST_TEMPERATURE_MISSING, used=False)
    old = facts.get(fact.name)
    if old and (old.value != fact.value or fact.name == "confirmed"):
        return _asked(state, fact, texts.ANOTHER_VALUE.format(old=old.words, new=fact.words))
    said = joined([fact.words, *([fact.remark] if fact.remark else [])])
    if old:
        return _Change(state, texts.SAME.format(what=fact.words))
    return _Change(_with_fact(state, fact), _for_person(state, said))


def _next_person(state: _State) -> _Change:
    number = len(state.people)
    if state.zone:
        return _Change(state, texts.LINE_MISSING, used=False)
    if state.last.is_empty():
        return _Change(state, texts.PERSON_IS_EMPTY.format(n=number), used=False)
    if number >= MOST_PEOPLE:
        return _Change(state, texts.PEOPLE_FULL, used=False)
    said = [texts.PERSON.format(n=number + 1)] + ([] if state.is_vehicle else [texts.KINDS["vehicle"]])
    return _Change(replace(state, people=(*state.people, _Person())), joined(said))


def _begun_with(state: _State, item: Identity | Fact) -> _Change:
    """Begins the next person with the item that a question is about."""
    added = _next_person(state)
    if not added.used:
        return added
    if isinstance(item, Fact):
        if item.name == "confirmed":  # the first measurement of the next person
            item = replace(item, name="temperature", words=texts.TEMPERATURE.format(value=item.value))
        change = _apply_fact(added.state, item)
    else:
        change = _apply_document(added.state, item)
    said = [change.text] if state.is_vehicle or not change.used else [change.text, texts.KINDS["vehicle"]]
    return replace(change, text=joined(said))


def _replaced(state: _State, item: Identity | Fact) -> _Change:
    """Uses the item that a question is about in place of the one that there is."""
    if isinstance(item, Fact):
        return _Change(_with_fact(state, item), _for_person(state, texts.REPLACED.format(what=item.words)))
    said = texts.REPLACED.format(what=item.label)
    if item.domain == "plate":
        return _Change(replace(state, plate=item), said)
    new = replace(state.last, documents={**state.last.documents, item.domain: item})
    return _Change(state.with_last(new), _for_person(state, said))


def _asked(state: _State, item: Identity | Fact, question: Bilingual) -> _Change:
    return _Change(replace(state, question=_Question(item, question)), question, used=False)


def _with_fact(state: _State, fact: Fact) -> _State:
    return state.with_last(replace(state.last, facts={**state.last.facts, fact.name: fact}))


def _for_person(state: _State, text: Bilingual) -> Bilingual:
    """Returns the text with the person's number before it, if there are several."""
    number = len(state.people)
    return joined([texts.PERSON.format(n=number), text]) if number > 1 else text


def _are_zone_lines(items: list[Item] | Unclear) -> bool:
    return isinstance(items, list) and isinstance(items[0], ZoneLines)


def _is_personal(item: Identity | Fact) -> bool:
    return isinstance(item, Fact) or item.domain != "plate"


def _same_kind(new: Item, asked: Identity | Fact) -> bool:
    """Returns whether a new item can be the document of the question, scanned again."""
    if not isinstance(asked, Identity):
        return False
    return (
        asked.domain == "passport"
        if isinstance(new, ZoneLines)
        else isinstance(new, Identity) and new.domain == asked.domain
    )


# -- the complete passage ----------------------------------------------------------------------------------------------


def summary(passage: Passage) -> Bilingual:
    """Returns what is sent, in one line without an identity: the kind, the direction and the number of people."""
    said = [texts.SENT, texts.KINDS[passage.kind], texts.DIRECTIONS[passage.direction]]
    return joined([*said, texts.PEOPLE.format(n=len(passage.people))])


def _passage(state: _State) -> Passage:
    roles: list[Any] = ["driver" if state.is_vehicle else "pedestrian", *["passenger"] * (len(state.people) - 1)]
    return Passage(
        kind="vehicle" if state.is_vehicle else "pedestrian",
        direction=state.direction,
        plate=None if state.plate is None else str(state.plate.written),
        people=[_traveller(role, person) for role, person in zip(roles, state.people, strict=True)],
    )


_FIELDS = {
    "temperature": "temperature_c",
    "confirmed": "temperature_confirmed_c",
    "health_code": "health_code",
    "origin": "origin",
}
"""The fields of `Traveller` for the facts about a person."""


def _traveller(role: Any, person: _Person) -> Traveller:
    fields: dict[str, Any] = {name: person.facts[fact].value for fact, name in _FIELDS.items() if fact in person.facts}
    for domain, document in person.documents.items():
        if isinstance(document.written, tuple):
            fields["mrz"] = list(document.written)
        else:
            fields["pass_" if domain == "pass" else domain] = document.written
    return Traveller(role=role, **fields)


# -- misread numbers ---------------------------------------------------------------------------------------------------

_MISREAD_DISTANCE = 2
"""Characters by which two readings of one number differ at most."""


def _distance(one: str, other: str) -> int:
    """Returns the edit distance of two texts (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]
