"""A passage while it is typed or scanned at the screen, line by line.

A line is used, or answered with a question. While a question about a document or value is open, nothing else is used: it could
belong to the next person. Each line can be taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Self

from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.device.travellers import Passage
from ninezero.streams.edge.gate import line_reader, texts, words
from ninezero.streams.edge.gate.item_application import Change, apply, apply_all, begun_with, insisted, next_person
from ninezero.streams.edge.gate.items import Command, Fact, Identity, Item, Unclear, ZoneLines
from ninezero.streams.edge.gate.passage_state import Person, Question, State, complete


class Reply(NamedTuple):
    """The answer to one line."""

    text: Bilingual
    used: bool


@dataclass(frozen=True, repr=False)
class _Step:
    """A line that can be taken back. `what` is None if the line was not used."""

    before: State
    what: Bilingual | None


class Draft:
    """The passage that is being entered. Its replies never repeat an identity.

    Args:
        today: returns the date with which birth and expiry dates are compared.
    """

    def __init__(self, today: Callable[[], date] = date.today) -> None:
        self._today = today
        self._state = State()
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
            change = next_person(self._state)
            return self._record(change) if change.used else Reply(change.text, False)
        if command:
            return Reply(texts.NOTHING_TO_REPLACE if command == "replace" else texts.NOT_RECOGNISED, False)
        items = line_reader.understand(text, self._today(), zone_begun=bool(self._state.zone))
        if self._state.zone and not _are_zone_lines(items):
            return Reply(texts.NOT_THIS_DOCUMENT, False)
        return self._record(apply_all(self._state, items, self._today()))

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
        return texts.NOTHING_ENTERED if self.is_empty() else complete(state)

    def rejected(self) -> Self:
        """Notes that the device did not accept the passage: until it is sent again or changed, nothing is added to it."""
        self._rejected = True
        return self

    def is_empty(self) -> bool:
        """Returns whether nothing was entered that a passage would hold."""
        state = self._state
        return state.people == (Person(),) and not state.is_vehicle and not state.zone and not state.question

    def _record(self, change: Change) -> Reply:
        """Keeps a change as a step. Of several lines in a row that were not used, one step is kept."""
        before = self._state
        while before.zone and not change.state.zone:  # the lines of a document that is complete are one step
            before = self._steps.pop().before
        what = change.text if change.used or change.state.question else None
        if what or not self._steps or self._steps[-1].what:
            self._steps.append(_Step(before, what))
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

    def _answer(self, question: Question, command: Command | None, text: str) -> Reply:
        """Applies the answer to the open question: a command, or the same kind of document scanned again."""
        before, item = self._steps[-1].before, question.item
        again = None if command else line_reader.understand(text, self._today())
        if command == "replace":
            change = insisted(before, item)
        elif command == "next" and _is_personal(item):
            change = begun_with(before, item)
            if not change.used:
                return Reply(change.text, False)
        elif isinstance(again, list) and len(again) == 1 and _same_kind(again[0], item):
            change = apply(before, again[0], self._today())
        else:
            return Reply(texts.FIRST_ANSWER.format(question=question.text), False)
        self._steps.pop()  # taking the answer back takes the line back that it was about
        self._state = before
        return self._record(change)


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
