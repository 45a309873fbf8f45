"""Describes why a value does not have its type: where, and what was expected. No description contains a piece of the value.

The places and expectations come from the type alone. Of msgspec's message, which quotes values and names of unknown fields, only the
kind of fault, the place and the type that was found are read, and each part of the place must be in the type.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from typing import Any

import msgspec

from ninezero.schemas import policies, register
from ninezero.schemas.events import base

STRINGS = {
    base.Identifier: "an identifier (1 to 64 letters, digits, '.', '_' and '-', no eleven digits in a row)",
    base.Token: "a token (key id, '.' and 32 hexadecimal digits)",
    base.CaseId: "a case number (c. and 32 hexadecimal digits)",
    base.Division: "a division code of six digits",
    base.Origin: "a division code of six digits or a country code of two capital letters",
    base.Service: "2 to 8 capital letters and digits",
    policies.Name: "a name of small letters and '_'",
    policies.Home: "site or a division code of six digits",
    policies.ExemptOrigin: "the first 2, 4 or all 6 digits of a division code, or a country code of two capital letters",
    register.SiteDivision: "a division code of 6, 9 or 12 digits, or nothing",
}
"""Strings with a pattern, in words."""

_BY_PATTERN = {msgspec.json.schema(kind)["pattern"]: words for kind, words in STRINGS.items()}
_TYPES = {"float": "a number", "int": "a whole number", "str": "text", "bool": "true or false", "null": "null", "array": "a list", "object": "an object"}  # fmt: skip
_FORMATS = {
    "date-time": "a time with its offset, such as 2026-01-31T08:00:00+08:00",
    "date": "a date such as 2026-01-31",
}
_BARE = {"number": "float", "integer": "int", "string": "str", "boolean": "bool"}


def describe(kind: Any, error: Exception) -> str:
    """Returns the place and the reason of a fault that msgspec found in a value of a type, such as `people[1].role: missing`."""
    message = str(error)
    if not isinstance(error, msgspec.ValidationError):
        if isinstance(error, UnicodeDecodeError):
            return "it is not UTF-8"
        at = re.search(r"\(byte (\d+)\)|\(at (line \d+, column \d+|end of document)\)", message)
        if "truncated" in message:
            return "it is not JSON: it ends too early"
        where = f" at {at[2] or f'byte {int(at[1]) + 1}'}" if at else ""
        return f"it is not JSON{where}" if "JSON" in message or at is None or at[1] else f"it is not TOML{where}"
    text, _, path = message.rpartition("`$")
    schema, place = _walk(_schema(kind), path.rstrip("`") if text.endswith((" - at ", " - at `key` in ")) else "")
    members = schema.get("properties", {})
    if found := re.match(r"Object missing required field `(\w+)`", message):
        return f"{'.'.join(filter(None, [place, found[1] if found[1] in members else '']))}: missing"
    at_place = f"{place}: " if place else ""
    if found := re.match(r"Object contains unknown field `([^`]*)", message):
        close = get_close_matches(found[1].lower(), members, n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; the fields are {', '.join(members)}" if members else ""
        return f"{at_place}unknown field{hint}"
    if text.endswith("`key` in ") and "propertyNames" in schema:
        schema, at_place = {"type": "string"} | schema["propertyNames"], f"{place}, a name in it: "
    got = re.search(r", got `(\w+)`", message)
    other = f", not {_TYPES[got[1]]}" if got and got[1] in _TYPES else ""
    return f"{at_place}expected {form(schema)}{other}"


def form(schema: dict[str, Any]) -> str:
    """Returns what a JSON schema expects, in words: the type, then its limits."""
    if "anyOf" in schema:
        return " or ".join(form(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(str(one) for one in schema["enum"])
    kind = schema.get("type", "")
    if kind == "string":
        return _BY_PATTERN.get(schema.get("pattern"), _FORMATS.get(schema.get("format", ""), "text"))
    if kind in ("integer", "number"):
        return _TYPES[_BARE[kind]] + _bounds(schema.get("minimum"), schema.get("maximum"))
    if kind == "array":
        low, high = schema.get("minItems"), schema.get("maxItems")
        bounds = f" of {low}" if low is not None and low == high else _bounds(low, high).replace(" from", " of")
        return f"a list{bounds} entries" if bounds else "a list"
    return _TYPES.get(_BARE.get(kind, kind), "an object")


def _bounds(low: int | None, high: int | None) -> str:
    if low is None and high is None:
        return ""
    if low is not None and high is not None:
        return f" from {low:,} to {high:,}"
    return f", {low:,} or more" if low is not None else f", at most {high:,}"


@cache
def _schema(kind: Any) -> dict[str, Any]:
    """Returns the JSON schema of a type, with its references resolved. No type here contains itself."""
    (schema,), definitions = msgspec.json.schema_components([kind], ref_template="{name}")

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return [resolved(one) for one in part]
        if not isinstance(part, dict):
            return part
        whole = definitions[part["$ref"]] if "$ref" in part else part
        return {name: resolved(one) for name, one in whole.items()}

    result: dict[str, Any] = resolved(schema)
    return result


def _walk(schema: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Returns the schema at a place and the place as text, up to the first part that the type does not have."""
    place = ""
    for part in re.findall(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]", path):
        options = schema.get("anyOf", [schema])
        for one in options:
            if part[0] and part[0] in one.get("properties", {}):
                schema, place = one["properties"][part[0]], f"{place}.{part[0]}" if place else part[0]
                break
            if part[1].isdecimal() and "items" in one:
                schema, place = one["items"], f"{place}[{part[1]}]"
                break
            if part[1] == "..." and isinstance(one.get("additionalProperties"), dict):
                schema, place = one["additionalProperties"], f"{place}[…]"
                break
        else:
            break
    return schema, place
