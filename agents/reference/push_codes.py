"""The page of the codes of a push."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from ninezero.agents.reference import markdown
from ninezero.schemas.events import HoldCode
from ninezero.streams.edge.listfiles.explanations import (
    BATCH_CODES,
    CONFIRMATION_CODES,
    FINDINGS,
    LINE_CODES,
    SAME_ENTRY,
    Explanation,
)
from ninezero.streams.edge.listfiles.remedies import SAME_AS


def page() -> str:
    """Returns `docs/reference/push-codes.md`."""
    held = {code: about for code, about in BATCH_CODES.items() if code in get_args(HoldCode)}
    rejected = {code: about for code, about in BATCH_CODES.items() if code not in held}
    return markdown.page(
        "Codes of a push",
        "What `ninezero push` prints about a row, a batch or a confirmation, in both languages. In the commands, FILE stands for your files"
        " and their options, WHO for a person, BATCH_ID for the batch. 命令中 FILE 是文件和选项，WHO 是人员，BATCH_ID 是批次号。",
        "## Rejected rows",
        "**被退回的行。** The other rows of the batch are applied. 批次的其他行照常生效。",
        _table(LINE_CODES.items()),
        "## Findings",
        "**需要核对的内容。** A row with a finding and no code is sent and counts. A finding is `FIELD:FLAG`. 有提示而没有代码的行已经发送并生效。",
        _table([*FINDINGS.items(), (f"{SAME_AS}N", SAME_ENTRY)]),
        "## Held batches",
        "**暂缓的批次。** The list stays as it was until a second person confirms. 由第二人确认之前，名单不变。",
        _table(held.items()),
        "## Rejected batches",
        "**未接受的批次。** The list stays as it was. 名单不变。",
        _table(rejected.items()),
        "## Confirmations that change nothing",
        "**没有生效的确认。** The batch stays as it was. 批次不变。",
        _table(CONFIRMATION_CODES.items()),
    )


def _table(codes: Iterable[tuple[str, Explanation]]) -> str:
    codes = list(codes)
    commands = any(about.command for _, about in codes)
    header = ["code", "what is wrong 问题", "what to do 怎么办", *(["command 命令"] if commands else [])]
    rows = [
        [
            markdown.code(code),
            f"{about.meaning.en}<br>{about.meaning.zh}",
            f"{about.remedy.en}<br>{about.remedy.zh}",
            *([markdown.code(about.command.format(batch="BATCH_ID"))] if commands else []),
        ]
        for code, about in codes
    ]
    return markdown.table(header, rows)
