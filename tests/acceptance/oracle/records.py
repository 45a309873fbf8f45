"""Malformed records and the paths of their faults (§2, §4)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .terms import ARRIVALS, DAY, FLAGS, MIB, MINUTE, PUSHES, SCANS, TOKEN, Ambiguous, Record, at, instant

Paths = set[str | None]
Check = Callable[[Any, str, Paths], None]

_PERSON_NAMES = ("role", "tokens", "temperature_c", "temperature_confirmed_c", "health_code", "origin", "quality")
_SCAN_NAMES = ("device_id", "seq", "site_id", "observed_at", "kind", "direction", "plate", "people")
_ARRIVAL_NAMES = ("mode", "service", "stage", "transfer_id", "destination", "person")
_CONFIRMATION_NAMES = ("confirms", "authority", "confirmed_by", "at")
NAMES = {*_PERSON_NAMES, *_SCAN_NAMES, *_ARRIVAL_NAMES, "id", "passport", "phone", "pass"}
"""Field names of the contract that a path may repeat even where the field does not belong."""

IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _fault(path: str, out: Paths) -> None:
    out.add(path)
    if path == "":
        out.add(None)


def _matches(pattern: re.Pattern[str]) -> Check:
    def check(value: Any, path: str, out: Paths) -> None:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            _fault(path, out)

    return check


def _identifier(value: Any, path: str, out: Paths) -> None:
    if not isinstance(value, str) or IDENTIFIER.fullmatch(value) is None or re.search("[0-9]{11}", value):
        _fault(path, out)


def _one_of(*allowed: str) -> Check:
    def check(value: Any, path: str, out: Paths) -> None:
        if not isinstance(value, str) or value not in allowed:
            _fault(path, out)

    return check


def _integer(minimum: int) -> Check:
    def check(value: Any, path: str, out: Paths) -> None:
        if isinstance(value, float) and value.is_integer():
            raise Ambiguous("1.0 for an integer")
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            _fault(path, out)
        elif value >= 1 << 53:
            raise Ambiguous("no upper bound is stated")

    return check


def _number(value: Any, path: str, out: Paths) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        _fault(path, out)
    elif abs(value) == float("inf"):
        raise Ambiguous("a number beyond a double")


def _text(value: Any, path: str, out: Paths) -> None:
    if not isinstance(value, str):
        _fault(path, out)


def _time(value: Any, path: str, out: Paths) -> None:
    if not isinstance(value, str) or instant(value) is None:
        _fault(path, out)


def _nullable(check: Check) -> Check:
    return lambda value, path, out: None if value is None else check(value, path, out)


def _list(check: Check, low: int = 0, high: int | None = None) -> Check:
    def checked(value: Any, path: str, out: Paths) -> None:
        if not isinstance(value, list) or len(value) < low or (high is not None and len(value) > high):
            _fault(path, out)
            return
        for index, item in enumerate(value):
            check(item, f"{path}/{index}", out)

    return checked


def _object(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    def check(value: Any, path: str, out: Paths) -> None:
        if not isinstance(value, dict):
            _fault(path, out)
            return
        for name in required:
            if name not in value:
                _fault(path, out)
                _fault(f"{path}/{name}", out)
        for name, item in value.items():
            if name in required:
                required[name](item, f"{path}/{name}", out)
            elif name in optional:
                optional[name](item, f"{path}/{name}", out)
            else:
                _fault(path, out)
                if name in NAMES:
                    _fault(f"{path}/{name}", out)

    return check


def _optional_token(value: Any, path: str, out: Paths) -> None:
    if value is None:
        raise Ambiguous("a token that is null instead of left out")
    _matches(TOKEN)(value, path, out)


def _origin(value: Any, path: str, out: Paths) -> None:
    if isinstance(value, str) and re.fullmatch("[A-Za-z]{2}", value) and not value.isupper():
        raise Ambiguous("a country code in lower case")
    _matches(re.compile("[0-9]{6}|[A-Z]{2}"))(value, path, out)


_DIVISION = _matches(re.compile("[0-9]{6}"))
_PERSON = _object(
    {
        "role": _one_of("driver", "passenger", "pedestrian", "traveller"),
        "tokens": _object({}, dict.fromkeys(("id", "passport", "phone", "pass"), _optional_token)),
        "temperature_c": _nullable(_number),
    },
    {
        "temperature_confirmed_c": _nullable(_number),
        "health_code": _one_of("green", "yellow", "red", "none"),
        "origin": _nullable(_origin),
        "quality": _list(_one_of(*FLAGS)),
    },
)
_EVENT: dict[str, Check] = {
    "device_id": _identifier,
    "seq": _integer(0),
    "site_id": _identifier,
    "observed_at": _time,
}
_PUSHED_TOKENS = _object({}, dict.fromkeys(("id", "passport", "phone", "plate", "pass"), _list(_text)))
_SCHEMAS: dict[str, Check] = {
    SCANS: _object(
        {**_EVENT, "kind": _one_of("vehicle", "pedestrian"), "people": _list(_PERSON, 1, 80)},
        {"direction": _one_of("in", "out"), "plate": _nullable(_matches(TOKEN))},
    ),
    ARRIVALS: _object(
        {
            **_EVENT,
            "mode": _one_of("air", "rail", "coach", "ferry"),
            "service": _matches(re.compile("[A-Z0-9]{2,8}")),
            "stage": _one_of("registered", "boarded", "delivered"),
            "transfer_id": _nullable(_identifier),
            "destination": _nullable(_DIVISION),
            "person": _PERSON,
        },
        {},
    ),
    PUSHES: _object(
        {
            **dict.fromkeys(("batch_id", "authority", "pushed_by", "list"), _identifier),
            "category": _text,
            "mode": _one_of("delta", "full", "withdraw"),
            "sequence": _integer(0),
            "issued_at": _time,
            "purpose": _one_of("epidemic_control"),
            "declared_lines": _integer(0),
            "lines": _list(
                _object(
                    {"line": _integer(0), "tokens": _PUSHED_TOKENS}, {"valid_from": _nullable(_time), "valid_to": _time}
                )
            ),
        },
        {
            # Missing, null or empty is a batch code (§5), not a fault of the record.
            "legal_basis": lambda value, path, out: None if value in (None, "") else _identifier(value, path, out),
            "part": _integer(1),
            "parts": _integer(1),
            "withdraw_reason": _nullable(_one_of("expired", "cleared", "mistake")),
        },
    ),
}


_CONFIRMATION = _object(
    {**dict.fromkeys(("confirms", "authority", "confirmed_by"), _identifier), "at": _time},
    {},
)


@dataclass(frozen=True)
class Fault:
    """The reasons and paths that the contract allows for the dead letter of a record."""

    reasons: frozenset[str]
    paths: frozenset[str | None]


_DEEP: frozenset[str | None] = frozenset({None, "", "/people", "/people/0"})
_NOWHERE: frozenset[str | None] = frozenset({None, ""})


def _only(reason: str, paths: Iterable[str | None] = _NOWHERE) -> Fault:
    return Fault(frozenset({reason}), frozenset(paths))


class _Constant(ValueError):
    """Rejects NaN and infinities, which Python reads and JSON does not allow."""


def _refuse(name: str) -> Any:
    raise _Constant(name)


_MANY_LEVELS = 900
"""Depth of nesting from which parsers may reject a value. Python 3.11 rejects about a thousand levels; 3.13 reads them."""


def _levels(value: Any) -> Iterator[list[Any]]:
    """Yields the values of each level of nesting."""
    level = [value]
    while level:
        yield level
        lists = (list(v.values()) if isinstance(v, dict) else v for v in level if isinstance(v, dict | list))
        level = [inner for some in lists for inner in some]


def _has_huge_integer(value: Any) -> bool:
    return any(isinstance(v, int) and abs(v) >= 1 << 63 for level in _levels(value) for v in level)


def read(record: Record) -> dict[str, Any] | Fault:
    """Returns the record's value as an event, or the fault for which it is dead-lettered (§4)."""
    if len(record.value) > MIB:
        return _only("too_large")
    try:
        value = json.loads(record.value.decode("utf-8"), parse_constant=_refuse)
    except RecursionError:
        return Fault(frozenset({"not_json", "schema_invalid"}), _DEEP)  # R3
    except ValueError:
        return _only("not_json")
    if sum(1 for _ in _levels(value)) > _MANY_LEVELS:
        return Fault(frozenset({"not_json", "schema_invalid"}), _DEEP)  # R3
    paths: Paths = set()
    is_confirmation = record.topic == PUSHES and isinstance(value, dict) and "confirms" in value
    (_CONFIRMATION if is_confirmation else _SCHEMAS[record.topic])(value, "", paths)
    if paths and _has_huge_integer(value):
        return Fault(frozenset({"not_json", "schema_invalid"}), frozenset(paths | {None, ""}))  # R3
    if paths:
        return _only("schema_invalid", paths)
    assert isinstance(value, dict)
    if record.topic in (SCANS, ARRIVALS):
        ahead = at(value["observed_at"]) - record.at
        if ahead > 10 * MINUTE or -ahead > 13 * DAY:
            return _only("clock_out_of_range", ["/observed_at"])
    return value
