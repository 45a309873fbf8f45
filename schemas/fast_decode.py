"""Decoders for the hot path, derived from the wire types.

In msgspec a pattern costs about 0.25 µs a string, and most strings of a chunk have been seen a moment ago. So the hot path
decodes into a type without patterns and with times as text, and checks both for many events together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, reduce
from operator import or_
from types import GenericAlias, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from ninezero.schemas.events import Time


@cache
def pattern_free(kind: Any) -> Any:
    """Returns a wire type like `kind`, but without the patterns of its strings and with its times as text."""
    fields = [
        (info.name, _pattern_free_type(info.type), msgspec.field(name=info.encode_name, **_default(info)))
        for info in msgspec.structs.fields(kind)
    ]
    return msgspec.defstruct(f"Fast{kind.__name__}", fields, forbid_unknown_fields=True, gc=False)


def string_patterns(kind: Any) -> dict[str, str]:
    """Returns the pattern of each field of a wire type that holds a string. Fields of nested types are left out."""
    found = ((info.name, pattern) for info in msgspec.structs.fields(kind) for pattern in _patterns(info.type))
    return dict(found)


class PatternCache:
    """Checks strings against one pattern, and remembers those that match so that each is checked once."""

    LIMIT = 1 << 18
    """Number of strings that are remembered before all are forgotten."""

    def __init__(self, pattern: str) -> None:
        self._match = re.compile(pattern).match
        self._matching: set[str | None] = {None}

    def mismatches(self, texts: Iterable[str | None]) -> set[str | None]:
        """Returns the strings that do not match the pattern. None matches."""
        texts = list(texts)
        if self._matching.issuperset(texts):
            return set()
        unknown = set(texts) - self._matching
        mismatches = {text for text in unknown if not self._match(text or "")}
        if len(self._matching) > self.LIMIT:
            self._matching = {None}
        self._matching |= unknown - mismatches
        return mismatches


def _default(info: msgspec.structs.FieldInfo) -> dict[str, Any]:
    given = {"default": info.default, "default_factory": info.default_factory}
    return {name: value for name, value in given.items() if value is not msgspec.NODEFAULT}


def _pattern_free_type(kind: Any) -> Any:
    if kind == Time:
        return str
    arguments = get_args(kind)
    if get_origin(kind) is Annotated:
        kept = [meta for meta in arguments[1:] if getattr(meta, "pattern", None) is None]
        return Annotated[_pattern_free_type(arguments[0]), *kept] if kept else _pattern_free_type(arguments[0])
    if get_origin(kind) in (Union, UnionType):
        return reduce(or_, map(_pattern_free_type, arguments))
    if get_origin(kind) is list:
        return GenericAlias(list, _pattern_free_type(arguments[0]))
    return pattern_free(kind) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else kind


def _patterns(kind: Any) -> Iterable[str]:
    """Returns the pattern of a string or optional string: a list of one, or an empty one."""
    if get_origin(kind) is Annotated:
        return [meta.pattern for meta in kind.__metadata__ if getattr(meta, "pattern", None) is not None]
    if get_origin(kind) in (Union, UnionType):
        return [pattern for argument in get_args(kind) for pattern in _patterns(argument)]
    return []
