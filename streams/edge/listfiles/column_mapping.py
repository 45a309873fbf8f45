"""A mapping of fields to columns that a person gives for tables whose headers are not recognised. It can be saved and loaded."""

from pathlib import Path
from typing import Annotated, Any

import msgspec

from ninezero.schemas.faults import describe
from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.file_version import is_newer
from ninezero.streams.edge.listfiles.errors import ListFileError
from ninezero.streams.edge.listfiles.private_files import write_private

FIELDS = (
    "id",
    "passport",
    "state",
    "nationality",
    "phone",
    "plate",
    "pass",
    "document",
    "document_type",
    "valid_from",
    "valid_to",
)
"""The fields that a column can hold.

`state` is the issuing state of the passport; `nationality` replaces it where nothing else is written. `document` is the number of the
document that `document_type` names; without a type it is a resident number.
"""
IDENTITY_FIELDS = frozenset({"id", "passport", "phone", "plate", "pass", "document"})


VERSION = 1
"""Version of a saved mapping. A file without the member `version` has version 1."""

_MAX_BYTES = 1 << 16


class ColumnMapping(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """The column of each field: the text of its header, its letters (`C`), or its number from 1.

    Columns that are not named are not read. `first_row` is the row of the first person, from 1. It is needed only if columns are
    given by letters or numbers and a header that is not recognised stands above.
    """

    id: str | int | None = None
    passport: str | int | None = None
    state: str | int | None = None
    nationality: str | int | None = None
    phone: str | int | None = None
    plate: str | int | None = None
    pass_: str | int | None = msgspec.field(name="pass", default=None)
    document: str | int | None = None
    document_type: str | int | None = None
    valid_from: str | int | None = None
    valid_to: str | int | None = None
    first_row: Annotated[int, msgspec.Meta(ge=1)] | None = None
    version: Annotated[int, msgspec.Meta(ge=1)] = VERSION

    @classmethod
    def load(cls, path: str | Path) -> "ColumnMapping":
        """Reads a saved mapping.

        Raises:
            ListFileError: the file cannot be read, or is no mapping.
        """
        mapping, problem = None, Bilingual("", "")
        try:
            with Path(path).open("rb") as file:
                content = file.read(_MAX_BYTES)
            if is_newer(content, VERSION):
                problem = Bilingual(
                    "列对照文件是较新的版本保存的：请在本机安装该版本",
                    "the mapping was saved by a newer release: install that release on this machine",
                )
            else:
                mapping = msgspec.json.decode(content, type=cls)
        except OSError:
            problem = Bilingual(
                "列对照文件不能读取：请核对路径和你的权限",
                "the mapping cannot be read: check its path and your rights to it",
            )
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            fault = describe(cls, error)
            fields = f"{', '.join(FIELDS)}, first_row"
            problem = Bilingual(
                f'列对照文件无效（{fault}）：应如 {{"id": "C"}}，项目有 {fields}；或用 --map id=C --save-mapping 重新保存',
                f'the mapping is not valid: {fault}: it is like {{"id": "C"}}, with the fields {fields}; or save it again with --map id=C'
                " --save-mapping",
            )
        if mapping is None:
            # Raised outside the handler, so that the first error, which quotes the file, is not attached.
            raise ListFileError(problem.en, chinese=problem.zh)
        return mapping

    def save(self, path: str | Path) -> None:
        """Writes the mapping in one step, with mode 0600.

        Raises:
            ListFileError: the file cannot be written.
        """
        write_private(Path(path), [msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"])

    def columns(self) -> dict[str, str]:
        """Returns the column of each field that has one, as text."""
        columns = {field: getattr(self, "pass_" if field == "pass" else field) for field in FIELDS}
        return {field: str(column) for field, column in columns.items() if column is not None}

    def __repr__(self) -> str:
        return f"ColumnMapping({', '.join(self.columns())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # rich prints the locals of a traceback with this
        return [(field, "…") for field in self.columns()]
