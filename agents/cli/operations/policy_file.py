"""Reads a policy from a JSON file. A message names the line and the field of a fault, and contains nothing of the file."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ninezero.agents.cli.console import CommandError
from ninezero.schemas.faults import describe
from ninezero.schemas.policies import MAX_POLICY_BYTES, Name, PolicyRecord

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.S)
"""The words of a JSON text."""

_PLACE = re.compile(r"([a-z_]+(?:\[[0-9]+\]|\.[a-z_]+)*)(?:: rule ([0-9]+))?")
"""The field at the beginning of a sentence about a fault; of an unknown rule, its number among the outcomes."""


class Member(NamedTuple):
    """A member of an object, and its line."""

    name: str
    line: int


class PolicyFile(NamedTuple):
    """A policy that has the form of one, and where its fields are."""

    record: PolicyRecord
    positions: Positions

    def located(self, fault: str) -> str:
        """Returns a sentence about a fault with the line of its field before it."""
        return self.positions.located(fault)


class Positions:
    """The lines of the fields of a JSON text, by path, such as `outcomes.fever` or `plausible_c[0]`. The text may be incomplete."""

    def __init__(self, text: str) -> None:
        self.lines: dict[str, int] = {}
        self.twice: list[int] = []
        """The lines of names that an object has already."""
        self.members: dict[str, list[Member]] = {}
        """The members of each object, in order, by its path."""
        line, done = 1, 0
        stack: list[_Level] = []
        for token in _TOKENS.finditer(text):
            line, done = line + text.count("\n", done, token.start()), token.start()
            word, level = token[0], stack[-1] if stack else None
            if level is not None and not level.is_list and level.name is None and word.startswith('"'):
                level.name = _unquoted(word)
                self.members.setdefault(level.path, []).append(Member(level.name, line))
                if level.name in level.names:
                    self.twice.append(line)
                level.names.add(level.name)
                self.lines.setdefault(level.place(), line)
            elif word in "{[":
                place = level.place() if level else ""
                self.lines.setdefault(place, line)
                stack.append(_Level(place, word == "["))
            elif word in "}]":
                del stack[-1:]
            elif word == "," and level is not None:
                level.number, level.name = level.number + 1, None
            elif level is not None and level.is_list:
                self.lines.setdefault(level.place(), line)

    def located(self, fault: str) -> str:
        """Returns a sentence about a fault with the line of its field before it."""
        found = _PLACE.match(fault)
        line = self.lines.get(found[1]) if found else None
        if found and found[2]:
            line = self.members[found[1]][int(found[2]) - 1].line
        return fault if line is None or fault.endswith(": missing") else f"line {line}: {fault}"


class _Level:
    """An object or list around a place in the text."""

    def __init__(self, path: str, is_list: bool) -> None:
        self.path, self.is_list, self.number = path, is_list, 0
        self.name: str | None = None
        self.names: set[str] = set()

    def place(self) -> str:
        """Returns the path of the member that is read."""
        if self.is_list:
            return f"{self.path}[{self.number}]"
        return f"{self.path}.{self.name}" if self.path else self.name or ""


def read_policy_file(path: Path) -> PolicyFile:
    """Reads a policy. Whether its values are allowed is not checked.

    Raises:
        CommandError: the file cannot be read, or does not have the form of a policy.
    """
    try:
        with path.open("rb") as source:
            content = source.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise CommandError(f"the file cannot be read ({error.strerror}): check its path and your rights") from None
    if len(content) > MAX_POLICY_BYTES:
        raise CommandError(f"the file has more than {MAX_POLICY_BYTES >> 10} KiB: a policy has at most that")
    content = content.removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        raise CommandError("the file is empty: start from a policy that ninezero policy show NAME@VERSION prints")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise CommandError("the file is not UTF-8: save the policy as JSON in UTF-8") from None
    fault = ""
    try:
        record = msgspec.json.decode(content, type=PolicyRecord)
    except RecursionError:
        raise CommandError("the file has brackets within brackets: write a policy as docs/policy.md shows it") from None
    except msgspec.ValidationError as error:
        fault = describe(PolicyRecord, error)
    except msgspec.DecodeError as error:
        raise CommandError(f"{_place(text, str(error))}: correct it") from None
    positions = Positions(text)
    if fault:
        raise CommandError(f"{_with_place(positions, content, fault)}: correct it")
    if positions.twice:
        raise CommandError(f"line {positions.twice[0]}: this name is in the object already: keep one of the two")
    return PolicyFile(record, positions)


def _place(text: str, message: str) -> str:
    """Returns where a text is not JSON."""
    if "truncated" in message:
        return f"line {text.rstrip().count(chr(10)) + 1}: it is not JSON: it ends too early"
    found = re.search(r"\(byte (\d+)\)", message)
    line = text.encode()[: int(found[1])].count(b"\n") + 1 if found else 1
    return f"line {line}: it is not JSON"


def _with_place(positions: Positions, content: bytes, fault: str) -> str:
    """Returns a sentence about a value of the wrong form with its line. msgspec does not say which member of an object has it."""
    if fault.startswith("outcomes"):
        with contextlib.suppress(ValueError, RecursionError, AttributeError):
            for number, pair in enumerate(msgspec.json.decode(content)["outcomes"].items()):
                if not all(_has_form(one, Name) for one in pair):
                    return f"line {positions.members['outcomes'][number].line}: {fault}"
    unknown = [one.line for one in positions.members.get("", ()) if one.name not in PolicyRecord.__struct_fields__]
    if fault.startswith("unknown field") and unknown:
        return f"line {unknown[0]}: {fault}"
    return positions.located(fault)


def _has_form(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _unquoted(word: str) -> str:
    """Returns the text of a JSON string; one that is not JSON as it is written."""
    try:
        return msgspec.json.decode(word, type=str)
    except msgspec.DecodeError:
        return word
