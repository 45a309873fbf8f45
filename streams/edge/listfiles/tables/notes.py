"""Rows of a form that are about the list and not about a person: totals, and who filled it in."""

import re
import unicodedata

from ninezero.streams.edge.listfiles.tables.cells import Cell

_TOTAL = re.compile(
    r"(?:合计|总计|共计|小计|累计|总数|总人数|合计人数|(?:sub|grand ?)?total)\s*[:：]?\s*[0-9,]*\s*[人名条例行]?|共\s*[0-9,]+\s*[人名条例行]",
    re.IGNORECASE,
)
_NOTE = re.compile(
    r"(?:填表|填报|制表|报送|上报|审核|审批|报告|统计|经办|录入|联系)(?:人|者|单位|机构|日期|时间|电话|人员|人签字|人签名)?\s*:"
    r"|(?:单位|部门|机构|科室|负责人|单位负责人|签字|签名|盖章|日期|备注|说明|填表说明|注|附注|注意|注意事项|note|notes|remark|remarks|prepared by|reported by)\s*:",
    re.IGNORECASE,
)
_LONGEST = 200
"""Characters of the cell that are read."""


def is_note(first: Cell) -> bool:
    """Returns whether a row is a total or a note, by its first filled cell: `合计`, `共 3 人`, `填表人：…`, `备注：…`.

    The telephone in such a row is that of an office, and its numbers are counts.
    """
    if not isinstance(first, str):
        return False
    text = unicodedata.normalize("NFKC", first[:_LONGEST]).strip()
    return _TOTAL.fullmatch("".join(text.split())) is not None or _NOTE.match(text) is not None
