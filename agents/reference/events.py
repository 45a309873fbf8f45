"""The page of wire types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ninezero.agents.reference import markdown
from ninezero.agents.reference.channels import CHANNELS
from ninezero.schemas.events import MAX_VALUE_BYTES
from ninezero.schemas.events import base as scalars

SCALARS: Mapping[str, tuple[Any, str]] = {
    "identifier": (
        scalars.Identifier,
        "name of a device, site, authority, list, batch or person; no phone number fits",
    ),
    "policy": (scalars.PolicyLabel, "name and version of a policy"),
    "token": (scalars.Token, "pseudonym of an identity: the key id and 32 hexadecimal digits"),
    "case number": (scalars.CaseId, "random number of a case"),
    "division": (scalars.Division, "division code by GB/T 2260"),
    "origin": (scalars.Origin, "division code, or country by ISO 3166-1 alpha-2"),
    "service": (scalars.Service, "number of a flight, train, coach or ferry"),
}
"""Strings with a pattern: the type and what it holds."""

_NAMES = {msgspec.json.schema(kind)["pattern"]: name for name, (kind, _) in SCALARS.items()}


def page() -> str:
    """Returns `docs/reference/events.md`."""
    messages = [message for some in CHANNELS.values() for message in some]
    _, schemas = msgspec.json.schema_components(messages, ref_template="#/$defs/{name}")
    names = [message.__name__ for message in messages]
    topic_of = {message.__name__: topic.name for topic, some in CHANNELS.items() for message in some}
    sections = []
    for name in [*names, *sorted(schemas.keys() - set(names))]:
        schema = schemas[name]
        where = f" Topic: [`{topic_of[name]}`](topics.md)." if name in topic_of else ""
        sections += [f"## {name}", markdown.sentence(schema.get("description", "")) + where, _fields(schema)]
    return markdown.page(
        "Events",
        "The wire types of all topics. Values are JSON in UTF-8; times are RFC 3339 with an offset. Of what comes from outside,"
        " an unknown field or a missing required field is an error, and the record is dead-lettered as `schema_invalid`."
        f" A value over {MAX_VALUE_BYTES >> 20} MiB is dead-lettered as `too_large`. The same types for programs:"
        " `schemas/asyncapi.json` (AsyncAPI 3).",
        "## Strings",
        "These strings have a pattern. The pattern covers the whole string.",
        markdown.table(
            ("name", "pattern", "meaning"),
            [
                (name, markdown.code(_pattern(msgspec.json.schema(kind))), markdown.sentence(meaning))
                for name, (kind, meaning) in SCALARS.items()
            ],
        ),
        *sections,
    )


def _fields(schema: dict[str, Any]) -> str:
    if "prefixItems" in schema:  # an array: its members by position
        rows = [(str(n), _form(member)) for n, member in enumerate(schema["prefixItems"])]
        return markdown.table(("position", "type and limits"), rows)
    required = schema.get("required", ())
    rows_of_fields = [
        (markdown.code(name), _form(member), "required" if name in required else _default(member))
        for name, member in schema.get("properties", {}).items()
    ]
    return markdown.table(("field", "type and limits", "default"), rows_of_fields)


def _default(member: dict[str, Any]) -> str:
    if "default" not in member:
        return "absent"
    return markdown.code(msgspec.json.encode(member["default"]).decode())


def _form(schema: dict[str, Any]) -> str:
    """Describes a JSON schema in a few words: the type, then its limits."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_form(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(markdown.code(str(one)) for one in schema["enum"])
    if "const" in schema:
        return markdown.code(str(schema["const"]))
    match schema.get("type"):
        case "array" if "prefixItems" in schema:
            return f"array [{', '.join(_form(one) for one in schema['prefixItems'])}]"
        case "array":
            bounds = _range(schema.get("minItems"), schema.get("maxItems"))
            return f"array{' (' + bounds + ')' if bounds else ''} of {_form(schema.get('items', {}))}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"object with values: {_form(schema['additionalProperties'])}"
        case "string" if schema.get("pattern") in _NAMES:
            return f"[{_NAMES[schema['pattern']]}](#strings)"
        case "string" if "pattern" in schema:
            return f"string {markdown.code(_pattern(schema))}"
        case "string" if "format" in schema:
            return str(schema["format"])
        case "integer" | "number" as kind:
            bounds = _range(schema.get("minimum"), schema.get("maximum"))
            return f"{kind}{', ' + bounds if bounds else ''}"
        case kind:
            return str(kind or "any value")


def _pattern(schema: dict[str, Any]) -> str:
    return str(schema["pattern"]).removeprefix(r"\A").removesuffix(r"\Z")


def _range(low: int | None, high: int | None) -> str:
    if low is None and high is None:
        return ""
    if low == high:
        return str(low)
    return (
        f"{low} to {high}"
        if low is not None and high is not None
        else f"{low} or more"
        if high is None
        else f"at most {high}"
    )
