"""Times as lists write them: Chinese and ISO dates, and the day numbers of spreadsheets. Ambiguous times are not read."""

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple

from ninezero.streams.edge.listfiles.tables.cells import MAX_CELL_CHARACTERS, Cell

FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
"""Later times are cut to this one, as the workers do. No calendar goes further."""

_OLDEST_YEAR = 1900
"""An earlier year is a misread one."""

_DATE = (
    r"(?P<year>[0-9]{4})(?:(?P<mark>[-/.])(?P<month>[0-9]{1,2})(?P=mark)(?P<day>[0-9]{1,2})"
    r"|年(?P<month2>[0-9]{1,2})月(?P<day2>[0-9]{1,2})[日号]?|(?P<month3>[0-9]{2})(?P<day3>[0-9]{2}))"
)
_CLOCK = (
    r"(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r"|[时点](?:(?P<minute2>[0-9]{1,2})分(?:(?P<second2>[0-9]{1,2})秒)?)?)"
)
_TIME = re.compile(rf"{_DATE}(?:[T ]?\s*{_CLOCK}\s*(?P<zone>Z|[+-][0-9]{{2}}:?[0-5][0-9])?)?", re.IGNORECASE)

# Excel counts days: 1 is 1 January 1900, and it has a 29 February 1900. Old workbooks of the Macintosh count from 1904.
_EPOCH_1900, _EPOCH_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)
_FIRST_SERIAL, _LAST_SERIAL = 61, 2_958_465  # 1 March 1900, the first day that Excel counts correctly; 31 December 9999


class _LocalTime(NamedTuple):
    """A time as it is written: without a zone, whether it is a date alone, and the offset if it states one."""

    naive: datetime
    date_only: bool
    offset: tzinfo | None


def parse_time(cell: Cell, zone: tzinfo, *, end: bool, epoch_1904: bool = False) -> datetime | None:
    """Returns the time of a cell in UTC, or None if the cell has no unambiguous time.

    Accepted are year-month-day with `-`, `/`, `.` or 年月日, or as eight digits, each with an optional time (24:00 is midnight)
    and offset; and the day numbers of a workbook. Day-month-year, two-digit years and month names are not accepted.

    Args:
        cell: the cell's text or number.
        zone: the zone of a time that states no offset.
        end: whether the time ends a window. A date alone is then the first moment of the next day, otherwise its own first moment.
        epoch_1904: whether day numbers count from 1904.
    """
    try:
        found = _from_serial(cell, epoch_1904) if isinstance(cell, float) else _from_text(cell or "")
        if found is None:
            return None
        naive = found.naive + timedelta(days=1) if end and found.date_only else found.naive
        return min(naive.replace(tzinfo=found.offset or zone).astimezone(UTC), FOREVER)
    except OverflowError:
        return FOREVER


def _from_serial(number: float, epoch_1904: bool) -> _LocalTime | None:
    """Reads a day number; a whole one is a date alone. A number such as 20200203 is a date in digits."""
    if _LAST_SERIAL < number < 1e8:
        return _from_text(str(int(number))) if number.is_integer() else None
    if epoch_1904:
        number += (_EPOCH_1904 - _EPOCH_1900).days
    if not _FIRST_SERIAL <= number < _LAST_SERIAL + 1:
        return None
    milliseconds = round(number * 86_400_000)
    return _LocalTime(_EPOCH_1900 + timedelta(milliseconds=milliseconds), milliseconds % 86_400_000 == 0, None)


def _from_text(text: str) -> _LocalTime | None:
    if len(text) > MAX_CELL_CHARACTERS:
        return None
    text = unicodedata.normalize("NFKC", text).strip()
    if "日" in text or "号" in text:  # the day ends there, so blanks have no meaning: 2020 年 2 月 3 日
        text = "".join(text.split())
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    part = match.groupdict()
    hour = int(part["hour"] or 0)
    minute, second = int(part["minute"] or part["minute2"] or 0), int(part["second"] or part["second2"] or 0)
    midnight = hour == 24 and not minute and not second  # the end of the day, as timetables and forms write it
    try:
        naive = datetime(
            int(part["year"]),
            int(part["month"] or part["month2"] or part["month3"]),
            int(part["day"] or part["day2"] or part["day3"]),
            0 if midnight else hour,
            minute,
            second,
            int((part["fraction"] or "").ljust(6, "0")[:6]),
        )
        if naive.year < _OLDEST_YEAR:
            return None
        return _LocalTime(naive + timedelta(days=midnight), part["hour"] is None, _parse_offset(part["zone"]))
    except ValueError:  # there is no such day, hour or offset
        return None


def _parse_offset(text: str | None) -> tzinfo | None:
    """Returns the offset of a time, or None if it states none. Raises ValueError for an offset of a day or more."""
    if text is None or text in "Zz":
        return None if text is None else UTC
    away = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-away if text[0] == "-" else away)
