"""Files that only their owner may read: saved column mappings and rejects files."""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ninezero.streams.edge.listfiles.errors import ListFileError


def write_private(path: Path, pieces: Iterable[bytes]) -> None:
    """Writes a file in one step, with mode 0600. An existing file is replaced only after everything is written.

    Raises:
        ListFileError: the file cannot be written.
    """
    temporary = ""
    try:
        fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".ninezero-")
        with os.fdopen(fd, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(fd)
        Path(temporary).replace(path)
    except BaseException as error:
        with suppress(OSError):
            Path(temporary).unlink()
        if not isinstance(error, OSError):
            raise
    else:
        return
    raise ListFileError(
        "a file cannot be written: check its folder, your rights there and its free space",
        chinese="不能写文件：请核对文件夹、你的权限和剩余空间",
    )
