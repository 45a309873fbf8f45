"""Wire types without the patterns of their strings, and with times as text: for whoever decodes thousands and checks by the column.

In the decoder a pattern costs about 0.25 µs a string, and most strings of a chunk were seen a moment ago.
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
def bare(kind: Any) -> Any:
    """The wire type as it is, but for the patterns of its strings and the form of its times."""
    fields = [
        (info.name, _without(info.type), msgspec.field(name=info.encode_name, **_default(info)))
        for info in msgspec.structs.fields(kind)
    ]
    return msgspec.defstruct(f"Bare{kind.__name__}", fields, forbid_unknown_fields=True, gc=False)


def patterns(kind: Any) -> dict[str, str]:
    """The patterns of a wire type's own strings, by field."""
    found = ((info.name, pattern) for info in msgspec.structs.fields(kind) for pattern in _patterns(info.type))
    return dict(found)


class Seen:
    """Strings of one pattern: each is looked at once, as long as it is remembered."""

    LIMIT = 1 << 18

    def __init__(self, pattern: str) -> None:
        self._match = re.compile(pattern).match
        self._good: set[str | None] = {None}

    def wrong(self, some: Iterable[str | None]) -> set[str | None]:
        """Those that do not match; None does."""
        some = list(some)
        if self._good.issuperset(some):
            return set()
        found = set(some) - self._good
        wrong = {text for text in found if not self._match(text or "")}
        if len(self._good) > self.LIMIT:
            self._good = {None}
        self._good |= found - wrong
        return wrong


def _default(info: msgspec.structs.FieldInfo) -> dict[str, Any]:
    given = {"default": info.default, "default_factory": info.default_factory}
    return {name: value for name, value in given.items() if value is not msgspec.NODEFAULT}


def _without(kind: Any) -> Any:
    if kind == Time:
        return str
    inner = get_args(kind)
    if get_origin(kind) is Annotated:
        kept = [meta for meta in inner[1:] if getattr(meta, "pattern", None) is None]
        return Annotated[_without(inner[0]), *kept] if kept else _without(inner[0])
    if get_origin(kind) in (Union, UnionType):
        return reduce(or_, map(_without, inner))
    if get_origin(kind) is list:
        return GenericAlias(list, _without(inner[0]))
    return bare(kind) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else kind


def _patterns(kind: Any) -> Iterable[str]:
    """Of a string or a string that may be missing."""
    if get_origin(kind) is Annotated:
        return [meta.pattern for meta in kind.__metadata__ if getattr(meta, "pattern", None) is not None]
    if get_origin(kind) in (Union, UnionType):
        return [pattern for inner in get_args(kind) for pattern in _patterns(inner)]
    return []
