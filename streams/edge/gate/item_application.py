"""What an item makes of a passage: it is used, or a question asks whose it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from ninezero.streams.edge.bilingual import Bilingual, joined
from ninezero.streams.edge.documents.normal_forms import Domain
from ninezero.streams.edge.gate import documents, texts
from ninezero.streams.edge.gate.items import Fact, Identity, Item, Unclear, ZoneLines
from ninezero.streams.edge.gate.passage_state import Person, Question, State

MOST_PEOPLE = 80
"""The contract's bound for one passage."""


_DOCUMENTS: frozenset[Domain] = frozenset({"id", "passport"})
"""Documents of one person alone. A family can share a phone."""

_MISREAD_DISTANCE = 2
"""Characters by which two readings of one number differ at most."""


@dataclass(frozen=True, repr=False)
class Change:
    """What a line makes of the state, its answer, and whether the line was used."""

    state: State
    text: Bilingual
    used: bool = True


def apply_all(state: State, items: list[Item] | Unclear, today: date) -> Change:
    """Applies the items of one line: all of them, or none."""
    if isinstance(items, Unclear):
        return Change(replace(state, zone=()), items.question, used=False)
    if len(items) == 1:
        return apply(state, items[0], today)
    changed, said = state, list[Bilingual]()
    for item in items:
        change = apply(changed, item, today)
        if not change.used:
            return Change(state, texts.ONE_AT_A_TIME.format(why=change.text), used=False)
        changed = change.state
        said.append(change.text)
    return Change(changed, joined(said))


def apply(state: State, item: Item, today: date) -> Change:
    """Applies one item."""
    if isinstance(item, ZoneLines):
        return _apply_zone(state, item, today)
    if isinstance(item, Fact):
        return _apply_fact(state, item)
    return _apply_plate(state, item) if item.domain == "plate" else _apply_document(state, item)


def _apply_zone(state: State, zone: ZoneLines, today: date) -> Change:
    """Applies lines of a machine-readable zone. Its first line always begins a new one."""
    if not zone.first and not state.zone:
        return Change(state, texts.NOT_THE_FIRST_LINE, used=False)
    lines = zone.lines if zone.first else (*state.zone, *zone.lines)
    width, count = len(lines[0]), documents.ZONE_LINES[len(lines[0])]
    if any(len(line) != width for line in lines):
        return Change(state, texts.NOT_THIS_DOCUMENT, used=False)
    if len(lines) < count:
        return Change(replace(state, zone=lines), texts.ZONE_LINE.format(n=len(lines), count=count))
    document = documents.of_zone(lines, today)
    closed = replace(state, zone=())
    if isinstance(document, Unclear):
        return Change(closed, document.question, used=False)
    return _apply_document(closed, document)


def _apply_document(state: State, new: Identity) -> Change:
    """Applies a person's document or phone."""
    for number, person in enumerate(state.people[:-1], 1):
        other = person.documents.get(new.domain)
        if other and other.normal == new.normal and new.domain in _DOCUMENTS:
            return Change(state, texts.SAME_AS_PERSON.format(n=number, what=new.label), used=False)
    if "no_document" in state.last.facts and new.domain in _DOCUMENTS:
        return Change(state, texts.NOT_USED.format(what=new.label, why=texts.NO_DOCUMENT), used=False)
    held = state.last.documents
    old = held.get(new.domain)
    others = [held[domain] for domain in _DOCUMENTS if domain in held and domain != new.domain]
    if others and old is None and new.domain in _DOCUMENTS and "temperature" in state.last.facts:
        return _asked(state, new, texts.WHOSE.format(old=others[0].label, new=new.label))
    set_new = state.with_last(replace(state.last, documents={**held, new.domain: new}))
    compared = _compare(state, old, new, set_new)
    return replace(compared, text=_for_person(state, compared.text)) if compared.used else compared


def _apply_plate(state: State, new: Identity) -> Change:
    return _compare(state, state.plate, new, replace(state, plate=new))


def _compare(state: State, old: Identity | None, new: Identity, set_new: State) -> Change:
    """Applies an identity beside what there is of its kind: nothing, the same, a misread one, or another one."""
    words_of_new = joined([new.label, _findings(new)]) if new.findings else new.label
    if old is None:
        return Change(set_new, words_of_new)
    if old.normal == new.normal:
        return Change(state, texts.SAME.format(what=new.label))
    if _differ_slightly(old.normal, new.normal):
        if new.misread and not old.misread:
            return Change(state, texts.MISREAD_AGAIN.format(what=new.label, why=new.findings), used=False)
        if old.misread:
            return Change(set_new, joined([words_of_new, texts.REPLACED_MISREAD]))
    personal = new.domain != "plate"
    if new.misread:
        text = texts.PROBABLY_MISREAD if personal else texts.PLATE_PROBABLY_MISREAD
        return _asked(state, new, text.format(what=new.label, why=new.findings))
    return _asked(state, new, (texts.ANOTHER if personal else texts.ANOTHER_PLATE).format(what=new.label))


def _findings(identity: Identity) -> Bilingual:
    """Returns what was found wrong with an identity: to be scanned again, or to be checked."""
    return (texts.SCAN_AGAIN if identity.misread else texts.CHECK).format(why=identity.findings)


def _apply_fact(state: State, fact: Fact) -> Change:
    if fact.name == "direction":
        return Change(replace(state, direction="in" if fact.value == "in" else "out"), fact.words)
    if fact.name == "vehicle":
        on_foot = not fact.value
        if on_foot and (state.plate or len(state.people) > 1):
            return Change(state, texts.STILL_A_VEHICLE, used=False)
        return Change(replace(state, vehicle=bool(fact.value)), fact.words)
    facts = state.last.facts
    if fact.name == "no_document" and not _DOCUMENTS.isdisjoint(state.last.documents):
        return Change(state, texts.HAS_DOCUMENT, used=False)
    if fact.name == "temperature" and "temperature" in facts:
        fact = replace(fact, name="confirmed", words=texts.CONFIRMED.format(value=fact.value))
        if "confirmed" not in facts and state.last.documents.keys() >= _DOCUMENTS:
            return _asked(state, fact, texts.WHOSE_TEMPERATURE.format(value=fact.value))
    if fact.name == "confirmed" and "temperature" not in facts:
        return Change(state, texts.FIRST_TEMPERATURE_MISSING, used=False)
    old = facts.get(fact.name)
    if old and (old.value != fact.value or fact.name == "confirmed"):
        return _asked(state, fact, texts.ANOTHER_VALUE.format(old=old.words, new=fact.words))
    said = joined([fact.words, *([fact.remark] if fact.remark else [])])
    if old:
        return Change(state, texts.SAME.format(what=fact.words))
    return Change(_with_fact(state, fact), _for_person(state, said))


def next_person(state: State) -> Change:
    number = len(state.people)
    if state.zone:
        return Change(state, texts.LINE_MISSING, used=False)
    if state.last.is_empty():
        return Change(state, texts.PERSON_IS_EMPTY.format(n=number), used=False)
    if number >= MOST_PEOPLE:
        return Change(state, texts.PEOPLE_FULL, used=False)
    said = [texts.PERSON.format(n=number + 1)] + ([] if state.is_vehicle else [texts.KINDS["vehicle"]])
    return Change(replace(state, people=(*state.people, Person())), joined(said))


def begun_with(state: State, item: Identity | Fact) -> Change:
    """Begins the next person with the item that a question is about."""
    added = next_person(state)
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


def insisted(state: State, item: Identity | Fact) -> Change:
    """Uses the item that a question is about, in place of the one that there is, if there is one."""
    if isinstance(item, Fact):
        said = texts.REPLACED.format(what=item.words) if item.name in state.last.facts else item.words
        return Change(_with_fact(state, item), _for_person(state, said))
    old = state.plate if item.domain == "plate" else state.last.documents.get(item.domain)
    said = texts.REPLACED.format(what=item.label) if old else item.label
    said = joined([said, _findings(item)]) if item.findings else said
    if item.domain == "plate":
        return Change(replace(state, plate=item), said)
    new = replace(state.last, documents={**state.last.documents, item.domain: item})
    return Change(state.with_last(new), _for_person(state, said))


def _asked(state: State, item: Identity | Fact, question: Bilingual) -> Change:
    return Change(replace(state, question=Question(item, question)), question, used=False)


def _with_fact(state: State, fact: Fact) -> State:
    return state.with_last(replace(state.last, facts={**state.last.facts, fact.name: fact}))


def _for_person(state: State, text: Bilingual) -> Bilingual:
    """Returns the text with the person's number before it, if there are several."""
    number = len(state.people)
    return joined([texts.PERSON.format(n=number), text]) if number > 1 else text


def _differ_slightly(one: str, other: str) -> bool:
    """Returns whether two normal forms can be two readings of one number."""
    return abs(len(one) - len(other)) <= _MISREAD_DISTANCE and _distance(one, other) <= _MISREAD_DISTANCE


def _distance(one: str, other: str) -> int:
    """Returns the edit distance of two texts (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]
