"""What a person should do about a code or a finding of a row, and in which column. No text quotes a cell."""

from collections.abc import Iterable, Mapping

from ninezero.streams.edge.listfiles.column_mapping import IDENTITY_FIELDS

_COMPARE = "compare it with the document, and correct it if it differs"

REMEDIES: dict[str, str] = {
    # codes of a line
    "no_token": "give an identity in the row, or leave the row if it is a title or a total",
    "bad_token": "correct the program that made the tokens",
    "no_window": "write the date as year-month-day, or give --days if no end is known",
    "bad_window": "the start must be before the end, and there must be no gap to an earlier row of the same entry: correct the dates",
    "expired": "the end has passed: correct it, or leave it",
    "term_too_long": "the window is longer than 28 days: give an earlier end, and renew the entry later",
    "not_listed": "check the number and the list: the entry may have ended",
    # findings about what a cell shows
    "number_format": "the cell shows something else than its value: format the column as text, or dates as year-month-day, and write"
    " the value as it should be read",
    "not_calculated": "the file was saved without the result of a formula: open it in Excel or WPS, save it, and push it again",
    "digits_lost": "a spreadsheet has changed the number: format the column as text, and enter the number again from the original",
    "midnight": "the end was read with its whole day, unless it states another zone: write a date alone, or 24:00 of the last day",
    "note": "the row was read as a total, a note about the list or a header: leave it, or remove such words from it",
    "shifted": "the row has more cells than the header: check that each value is in its column",
    # findings about what a number is
    "several_values": "it holds several numbers, of which one is not valid: write one number alone, or one row for each",
    "resident_number": "it is the number of an identity card: put it into the column of resident numbers, or correct the document type",
    "unknown_type": "write a document type such as 身份证, 护照, 港澳通行证, 台胞证 or passport: without one, only resident numbers are read",
    "state_from_nationality": "the nationality was used as the issuing state: check it, and give the issuing state in a column of its own",
    "two_readings": "it was read as Chinese, and could be a number of another country: write + and the country code",
    # quality flags
    "empty": "it has no letters and digits: correct it, or leave it empty",
    "bad_character": "write one number alone, without words",
    "bad_length": _COMPARE,
    "checksum_failed": _COMPARE,
    "bad_date": _COMPARE,
    "birth_in_future": _COMPARE,
    "unknown_division": _COMPARE,
    "fifteen_digit": "it is a number of before 1999: ask for the number of 18 digits, if there is one",
    "no_issuing_state": "give the issuing state of the passport, by its name or by its code as in the machine-readable lines",
    "phone_invalid": "write one number in full, with + and the country code if it is not Chinese",
    "plate_unrecognised": "compare it with the plate, and write its province as a Chinese character",
}
"""What to do, by code or flag."""

SAME_AS = "same as row "
"""Beginning of the finding of a row that is the same entry as an earlier row."""

_SAME_ENTRY = "the rows are one entry, from the earliest start to the latest end: a row that leaves a gap or makes it too long is rejected"
_OTHER = "check it"
_FIELDS_OF_CODE = {
    "no_window": ("valid_from", "valid_to"),
    "bad_window": ("valid_from", "valid_to"),
    "expired": ("valid_to",),
}


def kind_of(finding: str) -> str:
    """Returns a code or finding without the number of another row, so that equal ones are explained once."""
    return SAME_AS.strip() if finding.startswith(SAME_AS) else finding


def remedy(finding: str, columns: Mapping[str, str]) -> str:
    """Returns where the reason for a code or finding is, and what to do: `column D: write the date as year-month-day`.

    Args:
        finding: a code, or a finding `field:flag`.
        columns: the letters of each field's column in the file.
    """
    if finding.startswith(SAME_AS):
        return _SAME_ENTRY
    field, _, flag = finding.rpartition(":")
    if field in IDENTITY_FIELDS and field not in columns:
        field = "document"  # whose type chose the field
    fields: Iterable[str] = [field] if field else _FIELDS_OF_CODE.get(flag, ())
    if flag == "no_token":
        fields = sorted(IDENTITY_FIELDS & columns.keys(), key=lambda one: columns[one])
    letters = [columns[one] for one in fields if one in columns]
    place = f"column{'s' if len(letters) > 1 else ''} {', '.join(letters)}: " if letters else ""
    return place + REMEDIES.get(flag, _OTHER)
