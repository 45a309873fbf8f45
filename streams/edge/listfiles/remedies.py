"""The explanation of a code or a finding of a row, and the column in which it is. No text quotes a cell."""

from collections.abc import Iterable, Mapping
from typing import cast

from ninezero.schemas.events import LineCode
from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.listfiles.column_mapping import IDENTITY_FIELDS
from ninezero.streams.edge.listfiles.explanations import FINDINGS, LINE_CODES, SAME_ENTRY, Explanation

SAME_AS = "same as row "
"""Beginning of the finding of a row that is the same entry as an earlier row."""

_OTHER = Explanation(Bilingual("需要核对", "it is to be checked"), Bilingual("请核对", "check it"))
_FIELDS_OF_CODE = {
    "no_window": ("valid_from", "valid_to"),
    "bad_window": ("valid_from", "valid_to"),
    "expired": ("valid_to",),
}


def kind_of(finding: str) -> str:
    """Returns a code or finding without the number of another row, so that equal ones are explained once."""
    return SAME_AS.strip() if finding.startswith(SAME_AS) else finding


def explanation(finding: str) -> Explanation:
    """Returns what a code, or a finding `field:flag`, means and what to do."""
    if finding.startswith(SAME_AS.strip()):
        return SAME_ENTRY
    flag = finding.rpartition(":")[2]
    return LINE_CODES.get(cast(LineCode, flag)) or FINDINGS.get(flag) or _OTHER


def remedy(finding: str, columns: Mapping[str, str]) -> Bilingual:
    """Returns where the reason for a code or finding is, and what to do: `column D: write the date as year-month-day`.

    Args:
        finding: a code, or a finding `field:flag`.
        columns: the letters of each field's column in the file.
    """
    what = explanation(finding).remedy
    if finding.startswith(SAME_AS.strip()):
        return what
    field, _, flag = finding.rpartition(":")
    if field in IDENTITY_FIELDS and field not in columns:
        field = "document"  # whose type chose the field
    fields: Iterable[str] = [field] if field else _FIELDS_OF_CODE.get(flag, ())
    if flag == "no_token":
        fields = sorted(IDENTITY_FIELDS & columns.keys(), key=lambda one: columns[one])
    letters = [columns[one] for one in fields if one in columns]
    if not letters:
        return what
    named = ", ".join(letters)
    return Bilingual(f"{named} 列：{what.zh}", f"column{'s' if len(letters) > 1 else ''} {named}: {what.en}")
