"""The parts of an Office file (ECMA-376 part 2: XML parts in a ZIP archive), parsed as streams and within limits.

Nothing is unpacked to disk. A part with a document type declaration is rejected, so no part can define entities.
"""

import posixpath
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers import expat
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.listfiles.tables.cells import UnreadableTable

MAX_UNPACKED_BYTES = 1 << 30
"""Bytes of all parts together, unpacked. A million rows of ten columns take about half of it."""
MAX_DEPTH = 64
"""Nested elements. The parser keeps each open element in memory; workbooks nest about ten."""

DAMAGED = Bilingual(
    "表格文件已损坏：请用 Excel 或 WPS 打开，另存为 .xlsx 或 CSV UTF-8",
    "the workbook is damaged: open it in Excel or WPS and save it again as .xlsx or CSV UTF-8",
)
TOO_LARGE = Bilingual(
    "表格文件解压后太大：请把这张表单独存为 CSV UTF-8",
    "the workbook unpacks to more than a list needs: save the sheet alone as CSV UTF-8",
)

_MAX_RATIO = 250
"""Unpacked bytes for each byte of the file, if the unpacked size is large. Sheets of blank rows reach about 25, deflate can reach
1,000."""
_MAX_DIRECTORY_BYTES = 4 << 20
_MAX_SMALL_PART_BYTES = 32 << 20
"""Bytes of a part that is neither a sheet nor the shared strings."""
_MAX_TAG_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_END_OF_DIRECTORY = struct.Struct("<4s8xL6x")


class Relation(NamedTuple):
    """A relation of one part to another: its type (a URI) and the name of the other part."""

    type: str
    target: str


class Element(NamedTuple):
    """An XML element: its name and its attributes, without namespace prefixes."""

    name: str
    attributes: dict[str, str]


def open_archive(path: Path) -> ZipFile:
    """Opens an Office file. The caller closes it.

    Raises:
        UnreadableTable: the archive is too large, is damaged, or has a password.
        zipfile.BadZipFile: it is no ZIP archive.
    """
    with path.open("rb") as file:
        file.seek(-min(file.seek(0, 2), 66_000), 2)
        tail = file.read()
    end = tail.rfind(
        b"PK\x05\x06"
    )  # zipfile makes an object for each entry, so the size of the directory is checked first
    if end < 0 or len(tail) < end + _END_OF_DIRECTORY.size:
        raise UnreadableTable(DAMAGED)
    if _END_OF_DIRECTORY.unpack_from(tail, end)[1] > _MAX_DIRECTORY_BYTES:
        raise UnreadableTable(TOO_LARGE)
    archive = ZipFile(path)
    parts = archive.infolist()
    limit = min(MAX_UNPACKED_BYTES, max(_MAX_SMALL_PART_BYTES, _MAX_RATIO * path.stat().st_size))
    problem: Bilingual | None = None
    if any(part.flag_bits & 1 for part in parts):
        problem = Bilingual(
            "文件有密码：请去掉密码后另存", "it is protected by a password: remove the password and save it again"
        )
    elif sum(part.file_size for part in parts) > limit:  # zipfile unpacks no more bytes than the directory declares
        problem = TOO_LARGE
    elif any(part.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for part in parts):
        problem = DAMAGED
    if problem is not None:
        archive.close()
        raise UnreadableTable(problem)
    return archive


def parse_part(archive: ZipFile, part: str, install: Callable[[Any], None]) -> Iterator[None]:
    """Parses one part as a stream.

    `install` sets the handlers of the expat parser that it is given. The generator yields after each chunk, so that the caller
    can collect what the handlers found and can stop early.

    Raises:
        UnreadableTable: the part is missing, or has a document type declaration or an overlong tag.
        expat.ExpatError: the part is not well-formed XML.
    """
    if part not in archive.NameToInfo:
        raise UnreadableTable(DAMAGED)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _reject_doctype
    install(parser)
    with archive.open(part) as file:
        fed = 0
        while piece := file.read(_CHUNK_BYTES):
            parser.Parse(piece, False)
            fed += len(piece)
            if fed - parser.CurrentByteIndex > _MAX_TAG_BYTES:  # the parser buffers a tag until it is complete
                raise UnreadableTable(DAMAGED)
            yield
        parser.Parse(b"", True)
    yield


def elements(archive: ZipFile, part: str) -> Iterator[Element]:
    """Yields the elements of a small part in document order. Raises as `parse_part` does, and if the part is too large."""
    if part in archive.NameToInfo and archive.getinfo(part).file_size > _MAX_SMALL_PART_BYTES:
        raise UnreadableTable(TOO_LARGE)
    found: list[Element] = []
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise UnreadableTable(DAMAGED)
        found.append(Element(local_name(name), {local_name(key): value for key, value in attributes.items()}))

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def install(parser: Any) -> None:
        parser.StartElementHandler, parser.EndElementHandler = start, end

    for _ in parse_part(archive, part, install):
        yield from found
        found.clear()


def relations(archive: ZipFile, source: str) -> dict[str, Relation]:
    """Returns the relations of a part by their id. Relations that lead out of the archive are left out."""
    folder, name = posixpath.split(source)
    part = posixpath.join(folder, "_rels", f"{name}.rels")
    found: dict[str, Relation] = {}
    if part in archive.NameToInfo:
        for element in elements(archive, part):
            attributes = element.attributes
            if element.name == "Relationship" and attributes.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, attributes["Target"])).lstrip("/")
                found[attributes["Id"]] = Relation(attributes["Type"], target)
    return found


def local_name(name: str) -> str:
    """Returns a qualified name without its namespace prefix."""
    return name.rpartition(":")[2]


def _reject_doctype(*_: Any) -> None:
    raise UnreadableTable(
        Bilingual(
            "文件中有 Excel 不会写的文档类型声明：请用 Excel 另存",
            "the workbook has a document type declaration, which Excel never writes: save it again in Excel",
        )
    )
