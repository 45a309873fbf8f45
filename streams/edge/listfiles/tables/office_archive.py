"""The parts of an Office file (ECMA-376 part 2: XML in a ZIP archive), read as streams and within limits.

Nothing is unpacked to disk. A document type declaration, and with it every entity of a file's own, is refused.
"""

import posixpath
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from ninezero.streams.edge.listfiles.tables.cells import Unreadable

MOST_UNPACKED = 1 << 30
"""Bytes of all parts together, unpacked. A million rows of ten columns are about half."""
DEEPEST = 64
"""Elements within elements: the parser remembers each. Workbooks have about ten."""

DAMAGED = "the workbook is damaged: open it in Excel or WPS and save it again as .xlsx or CSV UTF-8"
TOO_LARGE = "the workbook unpacks to more than a list needs: save the sheet alone as CSV UTF-8"

_MOST_RATIO = 250
"""Bytes unpacked for one of the file, if they are many: sheets of blank rows have about 25, deflate can do 1,000."""
_MOST_DIRECTORY = 4 << 20
_MOST_PLAIN = 32 << 20
"""Bytes of a part that is neither a sheet nor its texts."""
_LONGEST_TAG = 1 << 20
_CHUNK = 1 << 16
_END = struct.Struct("<4s8xL6x")


def open_archive(path: Path) -> ZipFile:
    """The archive; to be closed. Raises Unreadable if it is too large or has a password, and what zipfile raises."""
    with path.open("rb") as file:
        file.seek(-min(file.seek(0, 2), 66_000), 2)
        tail = file.read()
    end = tail.rfind(b"PK\x05\x06")  # zipfile makes an object of each entry, so the directory's size is looked at first
    if end < 0 or len(tail) < end + _END.size:
        raise Unreadable(DAMAGED)
    if _END.unpack_from(tail, end)[1] > _MOST_DIRECTORY:
        raise Unreadable(TOO_LARGE)
    archive = ZipFile(path)
    parts = archive.infolist()
    most = min(MOST_UNPACKED, max(_MOST_PLAIN, _MOST_RATIO * path.stat().st_size))
    fault = ""
    if any(part.flag_bits & 1 for part in parts):
        fault = "it is protected by a password: remove the password and save it again"
    elif sum(part.file_size for part in parts) > most:  # zipfile unpacks no more than is declared
        fault = TOO_LARGE
    elif any(part.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for part in parts):
        fault = DAMAGED
    if fault:
        archive.close()
        raise Unreadable(fault)
    return archive


def parse(archive: ZipFile, part: str, install: Callable[[Any], None]) -> Iterator[None]:
    """Parses a part with the handlers that `install` puts into an expat parser; yields after each piece of it."""
    if part not in archive.NameToInfo:
        raise Unreadable(DAMAGED)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    install(parser)
    with archive.open(part) as file:
        fed = 0
        while piece := file.read(_CHUNK):
            parser.Parse(piece, False)
            fed += len(piece)
            if fed - parser.CurrentByteIndex > _LONGEST_TAG:  # the parser holds a tag until it is complete
                raise Unreadable(DAMAGED)
            yield
        parser.Parse(b"", True)
    yield


def elements(archive: ZipFile, part: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Name and attributes of each element of a small part, without prefixes."""
    if part in archive.NameToInfo and archive.getinfo(part).file_size > _MOST_PLAIN:
        raise Unreadable(TOO_LARGE)
    found: list[tuple[str, dict[str, str]]] = []
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise Unreadable(DAMAGED)
        found.append((local(name), {local(key): value for key, value in attributes.items()}))

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def install(parser: Any) -> None:
        parser.StartElementHandler, parser.EndElementHandler = start, end

    for _ in parse(archive, part, install):
        yield from found
        found.clear()


def relations(archive: ZipFile, source: str) -> dict[str, tuple[str, str]]:
    """Type and part of each relation of a part, by its id; those that lead out of the archive are left out."""
    folder, name = posixpath.split(source)
    part = posixpath.join(folder, "_rels", f"{name}.rels")
    found: dict[str, tuple[str, str]] = {}
    if part in archive.NameToInfo:
        for element, attributes in elements(archive, part):
            if element == "Relationship" and attributes.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, attributes["Target"])).lstrip("/")
                found[attributes["Id"]] = (attributes["Type"], target)
    return found


def local(name: str) -> str:
    """A name without its prefix."""
    return name.rpartition(":")[2]


def _refuse(*_: Any) -> None:
    raise Unreadable("the workbook has a document type declaration, which Excel never writes: save it again in Excel")
