"""Checks that the records of a format do not change under its number.

`NAME/NUMBER/type.json` describes the type of the values, and the files beside it are golden records: encoded records of a release, and
what they decode to. Both are written once and never changed. `make lint` runs this module.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from ninezero.schemas.events.base import decoder, encode
from ninezero.schemas.formats.format import HEADER, Format, KindByKey, Version
from ninezero.schemas.formats.table import FORMATS

FOLDER = Path(__file__).parent
TYPE = "type.json"


def describe(kind: Any) -> Any:
    """Returns the description of a type: everything that its encoded values depend on, and no name of a class."""
    if isinstance(kind, KindByKey):
        return {"by key": [describe(one) for one in kind.kinds]}
    return _describe(inspect.type_info(kind))


def faults(formats: Iterable[Format] = FORMATS, folder: Path = FOLDER) -> Iterator[str]:
    """Yields what is wrong with the formats, one line each."""
    yield from _released_faults(folder)
    for one in formats:
        for version in one.versions:
            name, place = f"{one.name}/{version.number}", folder / one.name / str(version.number)
            if not (place / TYPE).exists():
                yield f"{name} has no description: python -m ninezero.schemas.formats.golden --write"
                continue
            if json.loads((place / TYPE).read_text()) != describe(version.kind):
                yield f"the type of {name} has changed: give it the next number (see schemas/formats/table.py)"
            if not list(golden_files(place)):
                yield f"{name} has no golden record: put an encoded record of it into {place.name}/"
            yield from (fault for path in golden_files(place) for fault in _record_faults(one, version, path))


def golden_files(place: Path) -> list[Path]:
    """Returns the files of the golden records of one number."""
    return sorted(path for path in place.glob("*.json") if path.name != TYPE)


def golden_record(name: str, version: Version, key: str, value: bytes) -> Any:
    """Returns the content of the file of a golden record."""
    decoded = msgspec.to_builtins(decoder(version.kind_at(key.encode())).decode(value))
    return {"key": key, "headers": {HEADER: f"{name}/{version.number}"}, "value": value.decode(), "decodes_to": decoded}


def _released_faults(folder: Path) -> Iterator[str]:
    """Yields a line for each file of a release that was changed or removed."""
    released = folder / "released.txt"
    lines = released.read_text().splitlines() if released.exists() else []
    for sha256, name in (line.split() for line in lines if line and line[0] != "#"):
        path = folder / name
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            yield f"{name} is part of a release and was changed or removed: restore it, and give the format its next number"


def _record_faults(one: Format, version: Version, path: Path) -> Iterator[str]:
    name, golden = f"{one.name}/{version.number} {path.name}", json.loads(path.read_text())
    key, value = golden["key"].encode(), golden["value"].encode()
    try:
        decoded = decoder(version.kind_at(key)).decode(value)
        current = one.decode([(HEADER, golden["headers"][HEADER].encode())], key, value)
    except ValueError:
        yield f"the golden record {name} does not decode"
        return
    if msgspec.to_builtins(decoded) != golden["decodes_to"]:
        yield f"the golden record {name} decodes to something else"
    if encode(decoded) != value:
        yield f"the golden record {name} is not encoded byte for byte as before"
    if version is not one.current and one.current.downgrade and encode(one.current.downgrade(current)) != value:
        yield f"the golden record {name} changes when it is upgraded and downgraded again"


def _describe(item: Any) -> Any:
    if isinstance(item, inspect.StructType):
        options = {"array_like": item.array_like, "forbid_unknown_fields": item.forbid_unknown_fields}
        tag = {} if item.tag_field is None else {"tag": [item.tag_field, item.tag]}
        return {"struct": options | tag | {"fields": [_describe(one) for one in item.fields]}}
    if isinstance(item, inspect.Field):
        default = {} if item.required else {"default": repr(item.default)}
        return {"name": item.encode_name, "type": _describe(item.type)} | default
    if isinstance(item, inspect.Metadata):
        return _describe(item.type)
    if isinstance(item, inspect.Type):
        details = {name: _describe(getattr(item, name)) for name in item.__struct_fields__}
        return {type(item).__name__: {name: value for name, value in details.items() if value is not None}}
    return [_describe(one) for one in item] if isinstance(item, tuple | list) else item


def _write_descriptions() -> None:
    """Writes the descriptions that are missing. Existing ones are never changed."""
    for one in FORMATS:
        for version in one.versions:
            path = FOLDER / one.name / str(version.number) / TYPE
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(describe(version.kind), indent=2) + "\n")
                print(f"written: {path.relative_to(FOLDER)}")


def main() -> None:
    """Prints the faults and exits with status 1 if there is one."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write", action="store_true", help="write the descriptions that are missing")
    if options.parse_args().write:
        _write_descriptions()
    found = list(faults())
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
