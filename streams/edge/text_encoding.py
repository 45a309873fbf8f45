"""Detection of a text file's encoding: UTF-8, UTF-16 or GB18030.

GB18030 files carry no mark, and a short file can be valid both as GB18030 and as UTF-8. Detection therefore reads the whole
file. A file that is not valid in one encoding throughout is rejected; characters are never replaced.
"""

import codecs
from typing import BinaryIO

from ninezero.streams.edge.bilingual import Bilingual

_CHUNK_BYTES = 1 << 20
_INVALID = Bilingual(
    "编码不是完整的 UTF-8、UTF-16 或 GB18030：请另存为 CSV UTF-8",
    "it is neither UTF-8, UTF-16 nor GB18030 throughout: save it again as CSV UTF-8",
)


class EncodingError(Exception):
    """The file is not text in one supported encoding. The message says why and what to do, and quotes nothing of the file."""

    def __init__(self, text: Bilingual) -> None:
        self.text = text
        super().__init__(text.en)


def detect_encoding(file: BinaryIO) -> str:
    """Returns the codec name of the encoding in which the whole file is valid.

    Reads the file from its beginning, once if it is UTF-8 or UTF-16 and twice otherwise. The file position is undefined
    afterwards.

    Raises:
        EncodingError: the file is binary, is damaged, or has another encoding.
    """
    file.seek(0)
    start = file.read(4)
    if start in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        raise EncodingError(Bilingual("编码是 UTF-32：请另存为 CSV UTF-8", "it is UTF-32: save it again as CSV UTF-8"))
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        if _first_invalid_chunk(file, "utf-16") is not None:
            raise EncodingError(_INVALID)
        return "utf-16"
    invalid_at = _first_invalid_chunk(file, "utf-8")
    if invalid_at is None:
        if _whole_file_is_misread(file) and _first_invalid_chunk(file, "gb18030") is None:
            return "gb18030"
        return "utf-8-sig"
    if _mostly_utf8(file, invalid_at):  # GB18030 would accept the bytes, but decode the plates to other characters
        raise EncodingError(
            Bilingual(
                "UTF-8 文件中有损坏的字符：请另存为 CSV UTF-8",
                "it is UTF-8 with damaged characters in it: save it again as CSV UTF-8",
            )
        )
    if _first_invalid_chunk(file, "gb18030") is not None:
        raise EncodingError(_INVALID)
    return "gb18030"


def is_misread_gb18030(text: str) -> bool:
    """Returns whether text that was decoded as UTF-8 is really GB18030.

    The GB18030 bytes of the plate prefixes 鲁 and 豫 are valid UTF-8 as well, for ³ and ԥ. Those two characters do not occur in
    lists, unless the text also has Chinese characters.
    """
    return ("³" in text or "ԥ" in text) and max(text) < "\u0800"


def _first_invalid_chunk(file: BinaryIO, encoding: str) -> int | None:
    """Returns the offset of the chunk in which the file stops being valid; None if the whole file is valid."""
    decoder = codecs.getincrementaldecoder(encoding)()
    file.seek(0)
    offset = 0
    while True:
        chunk = file.read(_CHUNK_BYTES)
        if encoding != "utf-16" and b"\0" in chunk:
            raise EncodingError(
                Bilingual(
                    "不是文本文件：请另存为 CSV UTF-8 或 .xlsx",
                    "it is not a text file: save it again as CSV UTF-8 or .xlsx",
                )
            )
        try:
            decoder.decode(chunk, not chunk)
        except UnicodeDecodeError:
            return offset
        if not chunk:
            return None
        offset += len(chunk)


def _whole_file_is_misread(file: BinaryIO) -> bool:
    """Applies `is_misread_gb18030` to a whole file that is valid UTF-8. Most files have a Chinese character near their beginning."""
    decoder, found = codecs.getincrementaldecoder("utf-8")(), False
    file.seek(0)
    while chunk := file.read(_CHUNK_BYTES):
        text = "" if chunk.isascii() else decoder.decode(chunk)
        if text and max(text) >= "\u0800":
            return False
        found = found or is_misread_gb18030(text)
    return found


def _mostly_utf8(file: BinaryIO, invalid_at: int) -> bool:
    """Returns whether most non-ASCII characters up to and including the chunk at `invalid_at` are valid UTF-8."""
    file.seek(0)
    while file.tell() < invalid_at:
        if not file.read(min(_CHUNK_BYTES, invalid_at - file.tell())).isascii():
            return True
    text = file.read(_CHUNK_BYTES).decode("utf-8", "replace")
    damaged = text.count("\ufffd")
    return sum(character > "\x7f" for character in text) - damaged > damaged
