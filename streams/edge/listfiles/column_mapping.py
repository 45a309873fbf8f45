"""Which columns of a table hold what: known headers, or a mapping. Nothing else of the table is ever read.

No error quotes a header: a file without one has somebody's identity in its first row.
"""

import re
import unicodedata
from collections.abc import Mapping as Cells
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from ninezero.streams.edge.listfiles.tables.cells import Cell, SheetError, Unreadable, column_of, letters, write_private

FIELDS = ("id", "passport", "state", "phone", "plate", "pass", "valid_from", "valid_to")
"""What a column can be; `state` is the passport's issuing state as in the MRZ."""
IDENTITIES = frozenset({"id", "passport", "phone", "plate", "pass"})

_HEADERS: dict[str, str] = {
    "id": "身份证 身份证号 身份证号码 居民身份证号 居民身份证号码 居民身份证 公民身份号码 公民身份证号 公民身份证号码 证件号 证件号码"
    " 身份证件号 身份证件号码 有效证件号码 身份号码 本人身份证号 本人身份证号码 id idno idnumber idcard idcardno idcardnumber"
    " identitynumber identitycardnumber nationalid residentid residentidnumber",
    "passport": "护照 护照号 护照号码 passport passportno passportnumber",
    "state": "国籍 签发国 签发国家 发证国 发证国家 签发国代码 国籍代码 国籍国家 issuingstate issuingcountry passportstate"
    " passportcountry nationality state",
    "phone": "手机 手机号 手机号码 电话 电话号码 联系电话 联系方式 移动电话 本人电话 本人手机号 联系手机 联系电话号码 phone phoneno"
    " phonenumber mobile mobileno mobilenumber mobilephone telephone tel",
    "plate": "车牌 车牌号 车牌号码 号牌 号牌号码 车辆号牌 车辆号牌号码 机动车号牌 机动车号牌号码 车号 plate plateno platenumber"
    " licenseplate licenceplate vehicleplate",
    "pass": "通行证 通行证号 通行证号码 通行证编号 健康通行证 健康通行证号 健康通行证号码 健康通行证编号 健康证明编号 pass passno"
    " passnumber healthpass healthpassno healthpassnumber",
    "valid_from": "起始 起始日期 起始时间 开始 开始日期 开始时间 生效 生效日期 生效时间 有效期起 有效期自 隔离开始 隔离开始日期"
    " 隔离开始时间 隔离起始日期 隔离起始时间 开始隔离日期 开始隔离时间 医学观察开始日期 医学观察起始日期 起始日 开始日 validfrom startdate starttime start",
    "valid_to": "截止 截止日期 截止时间 截至 截至日期 截至时间 到期 到期日期 到期时间 到期日 结束 结束日期 结束时间 有效期止 有效期至 失效日期"
    " 失效时间 终止日期 隔离截止 隔离截止日期 隔离结束 隔离结束日期 隔离结束时间 解除 解除日期 解除时间 解除隔离 解除隔离日期"
    " 解除隔离时间 拟解除日期 拟解除时间 拟解除隔离日期 拟解除隔离时间 预计解除日期 预计解除时间 预计解除隔离日期 隔离到期日期 隔离期满日期"
    " 医学观察结束日期 医学观察截止日期 解除医学观察日期 截止日 validto validuntil enddate endtime end expiry expirydate expires until",
}
_FIELD_OF = {header: field for field, headers in _HEADERS.items() for header in headers.split()}
# What a form says about its column. Anything else in brackets may make it another person's: 身份证号(监护人) is a guardian's.
_REMARK = re.compile(
    r"\((?:必填项?|选填|可选|如有|\*|本人|(?:本人)?手机号?码?|(?:15|18|11|15位?或18)位数?字?|文本(?:格式)?|格式.{0,20}|[ymdhs年月日时分秒:/. -]{4,25}|required|optional)\)"
)
_PART = re.compile(r"[/／\n()（）]")
_LONGEST_HEADER = 64
_MOST_HEADERS = 1000
"""Filled cells of a row, from the left, that may be headers; what stands further right can be given by its letters."""
_PLACE = re.compile("[A-Za-z]|[0-9]+")
"""What a mapping means by place alone; more letters may be a header (`tel`) or a place (`AB`), in this order."""
_SHOWN = 'give a mapping, for example {"id": "C"}: fields to columns\' headers, letters or numbers'


class Mapping(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """The column of each field: its header's text, its letters (`C`), or its number from 1. Columns not named are not read.

    `first_row` is the row of the first person, from 1; needed only if columns are given by place and a header that is not
    recognised stands above.
    """

    id: str | int | None = None
    passport: str | int | None = None
    state: str | int | None = None
    phone: str | int | None = None
    plate: str | int | None = None
    pass_: str | int | None = msgspec.field(name="pass", default=None)
    valid_from: str | int | None = None
    valid_to: str | int | None = None
    first_row: Annotated[int, msgspec.Meta(ge=1)] | None = None

    @classmethod
    def load(cls, path: str | Path) -> "Mapping":
        """Raises SheetError when there is no such file or it is no mapping."""
        mapping, told = None, ""
        try:
            with Path(path).open("rb") as file:
                mapping = msgspec.json.decode(file.read(1 << 16), type=cls)
        except OSError:
            told = "the mapping cannot be read: check its path and your rights to it"
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            told = f"the mapping is not understood: {_SHOWN}; the fields are {', '.join(FIELDS)} and first_row"
        if mapping is None:  # raised here, so that the first error and the piece of the file in it are left behind
            raise SheetError(told)
        return mapping

    def save(self, path: str | Path) -> None:
        """Written in one step, for the owner alone. Raises SheetError when it cannot be."""
        write_private(Path(path), [msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"])

    def given(self) -> dict[str, str]:
        """The fields that have a column."""
        columns = {field: getattr(self, "pass_" if field == "pass" else field) for field in FIELDS}
        return {field: str(column) for field, column in columns.items() if column is not None}

    def __repr__(self) -> str:
        return f"Mapping({', '.join(self.given())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # rich's tracebacks print locals by this
        return [(field, "…") for field in self.given()]


class Layout(NamedTuple):
    """Where a table's fields are: columns from 0, the first row of data, the number of cells in the header (0: no header)."""

    columns: dict[str, int]
    first_row: int
    width: int


class Ambiguous(Unreadable):
    """Two columns look like the same field."""


def layout(head: Sequence[tuple[int, Cells[int, Cell]]], mapping: Mapping | None) -> Layout:
    """Where the fields are, going by a table's first rows (row number, cells by column). Raises Unreadable."""
    if not head:
        raise Unreadable("it has no rows: check that it is the right file")
    return _recognised(head) if mapping is None else _mapped(head, mapping)


def _recognised(head: Sequence[tuple[int, Cells[int, Cell]]]) -> Layout:
    row, cells, found = max(((row, cells, _headers(cells)) for row, cells in head), key=lambda one: len(one[2]))
    if not found:
        raise Unreadable(f"no column is known by its header as an identity: {_SHOWN}")
    return Layout(_unique(found), row + 1, max(cells) + 1)


def _headers(cells: Cells[int, Cell]) -> dict[str, list[int]]:
    """The fields that a row names and their columns; none if it names no identity."""
    found: dict[str, list[int]] = {}
    for column, cell in islice(cells.items(), _MOST_HEADERS):
        field = _field(cell)
        if field is not None:
            found.setdefault(field, []).append(column)
    return found if IDENTITIES & found.keys() else {}


def _field(cell: Cell) -> str | None:
    """The field of a header that is known, or of which every part is known for the same: in two languages, or 手机/电话."""
    field = _FIELD_OF.get(_plain(cell))
    if field is None and isinstance(cell, str) and len(cell) <= _LONGEST_HEADER:
        parts = {_FIELD_OF.get(_plain(part)) for part in _PART.split(cell) if _plain(part)}
        field = parts.pop() if len(parts) == 1 else None
    return field


def _mapped(head: Sequence[tuple[int, Cells[int, Cell]]], mapping: Mapping) -> Layout:
    given = mapping.given()
    if not IDENTITIES & given.keys():
        raise Unreadable(f"the mapping names no identity: it needs a column for one of {', '.join(sorted(IDENTITIES))}")
    texts = {field: _plain(name) for field, name in given.items() if not _PLACE.fullmatch(name.strip())}
    row, cells, found = 0, dict[int, Cell](), dict[str, list[int]]()
    for number, some in head:
        named: dict[str, list[int]] = {}
        for place, cell in islice(some.items(), _MOST_HEADERS):
            named.setdefault(_plain(cell), []).append(place)
        here = {field: named[text] for field, text in texts.items() if text and text in named}
        if len(here) > len(found):
            row, cells, found = number, dict(some), here
    widest = max(max(some, default=-1) for _, some in head)
    for field in given.keys() - found.keys():
        column = column_of(given[field])
        if column is None or (field in texts and column > widest):  # `tel` is rather a header that is not there
            raise Unreadable(f"it has no such column for `{field}` as the mapping says: {_SHOWN}")
        found[field] = [column]
    if not row:  # all by place: a header that is known is no person
        row, cells = next(((number, dict(some)) for number, some in head if _headers(some)), (0, {}))
    return Layout(_unique(found), mapping.first_row or row + 1, max(cells, default=-1) + 1)


def _unique(found: dict[str, list[int]]) -> dict[str, int]:
    for field, columns in found.items():
        if len(columns) > 1:
            raise Ambiguous(
                f"columns {letters(columns[0])} and {letters(columns[1])} both look like `{field}`: {_SHOWN}"
            )
    return {field: found[field][0] for field in FIELDS if field in found}


def _plain(cell: Cell) -> str:
    """A header without case, blanks, punctuation and remarks; empty for what cannot be one."""
    if not isinstance(cell, str) or len(cell) > _LONGEST_HEADER:
        return ""
    text = unicodedata.normalize("NFKC", cell).casefold()
    return "".join(character for character in _REMARK.sub("", text) if character.isalnum())
