"""A passage is what the answers to its lines said. Whose a line is, is asked if it is not sure."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ninezero.streams.edge.device.travellers import Passage
from ninezero.streams.edge.documents.mrz import mrz
from ninezero.streams.edge.documents.normal_forms import normalise, passport
from ninezero.streams.edge.gate.passage_draft import Draft

TODAY = date(2026, 11, 1)
ID, OTHER, THIRD = "11010519491231002X", "440524188001010014", "310105199001010028"
MISREAD = "11010519491231020X"
MRZ = ["P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L898902C36UTO7408122F1204159ZE184226B<<<<<10"]


def entered(*lines: str) -> Draft:
    draft = Draft(lambda: TODAY)
    for line in lines:
        draft.enter(line)
    return draft


def last_reply(*lines: str) -> str:
    return entered(*lines[:-1]).enter(lines[-1]).text.en


def sent(*lines: str) -> Passage:
    passage = entered(*lines).end()
    assert isinstance(passage, Passage), passage
    return passage


def asked(*lines: str) -> str:
    """Returns the question that answers an empty line after these lines."""
    question = entered(*lines).end()
    assert not isinstance(question, Passage)
    return question.en


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (ID, ID.lower()), (ID, "１１０１０５ 19491231 002ｘ"), (ID, "110105491231002"), (MISREAD, MISREAD.lower()),
        ("鲁A1234O", "鲁A·1234O"), ("鲁A12345", "plate 鲁a-12345"), ("13800138000", "+86 138 0013 8000"), ("pass JZ-7", "通行证 jz7"),
        ("UTO/L898902C3", "护照 uto L898902C3"), ("UTO/L898902C3", "".join(MRZ)), ("绿码", "green"), ("from 湖北", "来自 湖北省"),
    ],
)  # fmt: skip
def test_another_spelling_is_the_same_document(one: str, same: str) -> None:
    assert "the same as before" in last_reply(one, same)


@pytest.mark.parametrize(
    ("misread", "right"),
    [
        (MISREAD, ID),
        ("110105194912310021", ID),
        ("鲁A1234O", "鲁A12340"),
        (MRZ[0] + "L898902C86" + MRZ[1][10:], "".join(MRZ)),
    ],
)
def test_scanning_again_replaces_what_was_misread(misread: str, right: str) -> None:
    assert "scan again" in last_reply(misread)
    assert "replaces the one that was misread" in last_reply(misread, "36.5", right)
    assert "the one before stays" in last_reply(right, misread)
    passage = sent(misread, "36.5", right, "-", right)
    assert passage == sent("36.5", right)


def test_an_invalid_number_is_not_another_document() -> None:
    invalid = OTHER[:-1] + "5"
    assert "was probably misread" in last_reply(ID, invalid) and "another" not in last_reply(ID, invalid)
    assert [person.id for person in sent(ID, invalid, OTHER, "+").people] == [ID, OTHER], (
        "scanned again, then the next person's"
    )
    assert sent(ID, invalid, ID) == sent(ID), "scanned again, and it is the same card"


def test_another_document_is_not_used_until_the_guard_says_whose_it_is() -> None:
    lines = (ID, "38.0", OTHER)
    assert "this person has another identity card already, and this one was not used" in last_reply(*lines)
    for line in ("36.6", "绿码", "pass JZ-7", "v", "out", "from 湖北", THIRD + "1", "?!"):
        assert last_reply(*lines, line).startswith("not used, first answer"), line
    assert asked(*lines, "36.6").startswith("not used, first answer")
    two = sent(*lines, "+", "36.6")
    assert [(p.id, p.temperature_c, p.temperature_confirmed_c) for p in two.people] == [
        (ID, 38.0, None),
        (OTHER, 36.6, None),
    ]
    assert sent(*lines, "=") == sent("38.0", OTHER)
    assert sent(*lines, "-") == sent(*lines, "=", "-") == sent(*lines, "+", "-") == sent(ID, "38.0")


def test_a_second_kind_of_document_after_the_temperature_is_asked_about() -> None:
    """The next person's temperature would otherwise confirm that of the first, and take a fever back."""
    lines = (ID, "38.0", "".join(MRZ))
    assert "+ it is the next person's" in last_reply(*lines)
    assert [p.temperature_c for p in sent(*lines, "+", "36.6").people] == [38.0, 36.6]
    assert sent(*lines, "=") == sent(ID, "".join(MRZ), "38.0")
    two = (ID, "".join(MRZ), "38.0", "36.6")
    assert "this person has two documents" in last_reply(*two)
    assert sent(*two, "=").people[0].temperature_confirmed_c == 36.6
    assert sent(*two, "+").people[1].temperature_c == 36.6
    assert sent(*two[:-1], "复测 36.6") == sent(*two, "=")


def test_the_card_of_the_person_before_is_not_used_twice() -> None:
    assert "person 1 has this identity card already" in last_reply(ID, "+", ID)
    assert [person.phone for person in sent(ID, "13800138000", "+", OTHER, "13800138000").people] == ["13800138000"] * 2


def test_a_second_temperature_confirms_and_a_third_is_asked_about() -> None:
    passage = sent("体温 38.0", "36.8")
    assert (passage.people[0].temperature_c, passage.people[0].temperature_confirmed_c) == (38.0, 36.8)
    assert "+ it is the next person's" in last_reply("38.0", "36.8", "36.6")
    assert sent("38.0", "36.8", "36.6", "+").people[1].temperature_c == 36.6
    assert sent("38.0", "36.8", "36.6", "=") == sent("38.0", "36.6")
    assert "first temperature is missing" in last_reply("复测 36.6")


def test_a_pedestrian_stays_one() -> None:
    passage = sent("体温 36.5", "from 湖北", "绿码")
    assert (passage.kind, passage.plate, passage.people[0].temperature_c, passage.people[0].origin) == (
        "pedestrian",
        None,
        36.5,
        "420000",
    )


def test_a_line_that_was_not_used_is_asked_about_before_the_passage_is_sent() -> None:
    draft = entered(ID, "36.5", "from 火星")
    first, second = draft.end(), draft.end()
    assert "the last line was not used" in str(first) and isinstance(second, Passage)
    assert isinstance(entered(ID, "from 火星", "36.5").end(), Passage)
    assert entered(ID, "36.5", "rubbish", "more", "-").end() == sent(ID, "36.5"), "it is taken back, and nothing else"


def test_every_line_can_be_taken_back() -> None:
    draft = entered("鲁A12345", ID, "36.5", "绿码", "+", OTHER, "".join(MRZ), "out")
    for what in ("out", "travel document", "identity card", "person 2", "green", "36.5", "identity card", "plate"):
        reply = draft.enter("撤回")
        assert reply.used and reply.text.en.startswith("taken back") and what in reply.text.en
    assert draft.is_empty() and not draft.enter("-").used


def test_a_travel_document_is_complete_or_asked_about() -> None:
    assert "document line 1 of 2" in last_reply(MRZ[0])
    assert sent(*MRZ).people[0].mrz == MRZ
    assert "scan the whole document again" in last_reply(MRZ[0], "36.5")
    assert "a line of the travel document is missing" in asked(MRZ[0], "36.5")
    assert sent(MRZ[0], "36.5", MRZ[1]).people[0].temperature_c is None
    assert sent(MRZ[0], *MRZ) == sent(*MRZ), "its first line begins it again"
    assert "not the first line" in last_reply(MRZ[1])
    assert "scan again" in last_reply(MRZ[0], "0" * 44)
    assert entered(MRZ[0], "-").is_empty() and entered(*MRZ, "-").is_empty() and entered(MRZ[0], *MRZ, "-").is_empty()
    assert sent("UTO/X1234567", *MRZ, "=") == sent(*MRZ), "the question comes with its last line"
    assert sent("UTO/X1234567", "UTO/Y7654321", *MRZ, "=") == sent(*MRZ), "scanned again while a question is open"


def test_nobody_is_added_without_being_entered() -> None:
    assert "has nothing yet" in last_reply("+")
    assert "person 2 has nothing yet" in asked(ID, "+")
    assert len(sent(ID, "+", "+", "无证件").people) == 2
    full = entered(*["无证件", "+"] * 79, "无证件")
    assert "at most 80 people" in full.enter("+").text.en


def test_a_passage_that_the_device_rejected_takes_nothing_of_the_next_one() -> None:
    draft = entered(ID, "36.5").rejected()
    assert not draft.enter("36.6").used and not draft.enter("+").used
    assert draft.end() == sent(ID, "36.5")
    assert draft.enter("-").used and draft.enter("36.7").used


@pytest.mark.parametrize(
    "text",
    [
        "来自 " + "省" * 8000,
        "pass " + "A" * 8000,
        "a." * 4000,
        "9" * 8000,
        "（" * 8000,
        "{" * 8000,
        "from " + "北京" * 4000,
        "<" * 8000,
        "\ufdfa" * 8000,
    ],
)
def test_no_line_takes_long(text: str) -> None:
    began = time.process_time()
    draft = entered(text, "36.5", text[:-1])
    assert isinstance(draft.end(), (Passage, tuple)) and time.process_time() - began < 1


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.text(max_size=30) | st.text("0123456789０X./-+=<>{}[]:,鲁A体温来自湖北码 \t\ud800", max_size=30), max_size=6
    )
)
def test_no_text_makes_the_screen_fail(lines: list[str]) -> None:
    draft = Draft(lambda: TODAY)
    for line in lines:
        reply = draft.enter(line)
        assert reply.text.zh and reply.text.en
    draft.end()


def test_no_repr_holds_what_was_entered() -> None:
    draft = entered("鲁A12345", ID, "通行证 JZ-7", *MRZ, OTHER)
    shown = repr([draft, vars(draft), draft._state, draft._steps, draft._state.last, draft._state.question])
    for secret in (ID, OTHER, "JZ", "L898902C3", "A12345"):
        assert secret not in shown


# -- random lines ------------------------------------------------------------------------------------------------------


class Typed(NamedTuple):
    """A line of the pool, and the identity in it by its name in an answer."""

    line: str
    name: str = ""
    normal: str = ""


POOL = [
    *[Typed(line, "identity card", normalise("id", line) or "") for line in (ID, ID.lower(), OTHER, THIRD, MISREAD, OTHER[:-1] + "5", "110105491231002")],
    *[Typed(line, "plate", normalise("plate", line) or "") for line in ("鲁A12345", "鲁A·12345", "鲁A1234O", "鲁A12340", "WJ鲁1234X")],
    *[Typed(line, "phone", normalise("phone", line) or "") for line in ("13800138000", "+86 138-0013-8000", "13900139000")],
    *[Typed(f"pass {line}", "pass", normalise("pass", line) or "") for line in ("JZ-7", "jz7", "JZ-8")],
    *[Typed("".join(zone), "travel document", passport(mrz(zone, TODAY).state, mrz(zone, TODAY).number) or "") for zone in [MRZ]],
    Typed("UTO/L898902C3", "passport", "UTO/L898902C3"),
    Typed("UTO/L898902C4", "passport", "UTO/L898902C4"),
    *map(Typed, ["36.5", "体温37.5", "38.2度", "36,6", "复测36.8", "绿码", "黄码", "red", "无证件", "v", "行人", "in", "out", "来自湖北", "日本", "370102", "from火星", "火星", "rubbish", "张三", "365"]),
    *[Typed(line) for line in ("from 济南", "from 朝阳", "36.5 绿码", "36.5 ok", MRZ[0], MRZ[1], "].1", "]C136.4")],
]  # fmt: skip
COMMANDS = ["+", "+", "+", "-", "-", "=", "撤回", "下一人"]


@dataclass
class Listener:
    """Writes a passage down from the answers alone. It knows which identity was in a line, since answers do not repeat it."""

    people: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    plate: str | None = None
    vehicle: bool = False
    direction: str = "in"

    def hear(self, answer: str, typed: Typed) -> None:
        """Applies the answer to a line that was used."""
        for part in re.split(" · ", answer.replace(": replaced", "")):
            if part.endswith("the same as before"):
                continue
            if added := re.fullmatch("person ([0-9]+)", part):
                while len(self.people) < int(added[1]):
                    self.people.append({})
            elif part in ("in", "out"):
                self.direction = part
            elif part in ("vehicle", "pedestrian"):
                self.vehicle = part == "vehicle" or len(self.people) > 1
            elif found := re.fullmatch("temperature (confirmed )?([0-9.]+) °C", part):
                self.people[-1]["confirmed" if found[1] else "temperature"] = float(found[2])
            elif found := re.fullmatch("health code (.+)", part):
                self.people[-1]["health_code"] = found[1]
            elif found := re.fullmatch("from .*?([0-9]{6}|[A-Z]{2})", part):
                self.people[-1]["origin"] = found[1]
            elif part == typed.name == "plate":
                self.plate = typed.normal
            elif part == typed.name or (typed.name == "" and part == "travel document"):
                kind = "passport" if part == "travel document" else part
                self.people[-1][kind] = typed.normal or "UTO/L898902C3"
            else:
                assert re.match("no document|scan again|check: |replaces the one|document line", part), part

    def expects(self, passage: Passage) -> bool:
        """Returns whether the passage is what was heard."""
        people = [
            {
                "temperature": p.temperature_c, "confirmed": p.temperature_confirmed_c, "origin": p.origin, "health_code": p.health_code,
                "identity card": p.id and normalise("id", p.id), "phone": p.phone and normalise("phone", p.phone),
                "pass": p.pass_ and normalise("pass", p.pass_),
                "passport": passport(mrz(p.mrz, TODAY).state, mrz(p.mrz, TODAY).number) if p.mrz else p.passport,
            }
            for p in passage.people
        ]  # fmt: skip
        heard = [{**dict.fromkeys(people[0]), "health_code": "none", **person} for person in self.people]
        kind = "vehicle" if self.vehicle or self.plate or len(self.people) > 1 else "pedestrian"
        plate = passage.plate and normalise("plate", passage.plate)
        return (people, passage.kind, passage.direction, plate) == (heard, kind, self.direction, self.plate)


def test_a_passage_is_always_what_the_answers_said() -> None:
    seen: Counter[str] = Counter()
    rng = random.Random(19)
    for _ in range(700):
        draft, heard = Draft(lambda: TODAY), [Listener()]
        pending, question = Typed(""), False
        for _ in range(rng.randint(1, 25)):
            typed = rng.choice(POOL) if rng.random() < (0.3 if question else 0.75) else Typed(rng.choice(COMMANDS))
            reply = draft.enter(typed.line)
            assert reply.text.zh and reply.text.en, "every line is answered in both languages"
            assert not (typed.normal and typed.normal[-6:] in str(reply.text)), "no answer repeats an identity"
            seen["used" if reply.used else "not used"] += 1
            question = not reply.used and reply.text.en.endswith("- drop it")
            if reply.used and reply.text.en.startswith("taken back"):
                seen["taken back"] += 1
                if "not used" not in reply.text.en:
                    heard.pop()
                continue
            if reply.used:
                now = deepcopy(heard[-1])
                now.hear(reply.text.en, pending if typed.line in COMMANDS else typed)
                heard.append(now)
                seen["answered with +"] += typed.line in ("+", "下一人") and "identity" in reply.text.en
                seen["replaced"] += "replace" in reply.text.en
            elif question:
                seen["asked"] += 1
                if not reply.text.en.startswith("not used, first answer"):
                    pending = typed
        for _ in range(2):
            passage = draft.end()
            if isinstance(passage, Passage):
                assert heard[-1].expects(passage)
                seen["sent with several people"] += len(passage.people) > 1
                seen["sent"] += 1
                break
            seen["asked before sending"] += 1
    assert all(
        seen[case] > 50
        for case in ("sent", "sent with several people", "asked", "answered with +", "replaced", "taken back")
    ), seen
