"""Times as lists write them. What can be read in two ways is not read."""

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from ninezero.streams.edge.listfiles.tables.cells import LONGEST_CELL, Cell

FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
"""Later times are cut to it, as the workers do: no calendar goes further."""

_OLDEST_YEAR = 1900
"""An earlier year is misread."""

_DATE = (
    r"(?P<year>[0-9]{4})(?:(?P<mark>[-/.])(?P<month>[0-9]{1,2})(?P=mark)(?P<day>[0-9]{1,2})"
    r"|年(?P<month2>[0-9]{1,2})月(?P<day2>[0-9]{1,2})[日号]?|(?P<month3>[0-9]{2})(?P<day3>[0-9]{2}))"
)
_CLOCK = (
    r"(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r"|[时点](?:(?P<minute2>[0-9]{1,2})分(?:(?P<second2>[0-9]{1,2})秒)?)?)"
)
_TIME = re.compile(rf"{_DATE}(?:[T ]?\s*{_CLOCK}\s*(?P<zone>Z|[+-][0-9]{{2}}:?[0-5][0-9])?)?", re.IGNORECASE)

# Excel counts days: 1 is 1 January 1900, and there is a 29 February 1900. The other epoch is the old Mac's.
_EPOCH_1900, _EPOCH_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)
_FIRST_SERIAL, _LAST_SERIAL = 61, 2_958_465  # 1 March 1900, the first day that is counted right, and 31 December 9999


def moment(cell: Cell, zone: tzinfo, *, end: bool, epoch_1904: bool = False) -> datetime | None:
    """The time in UTC of a cell; None if it holds none that is certain.

    Read are year-month-day with `-`, `/`, `.` or 年月日, or as eight digits, with an optional time (24:00 too) and offset,
    and Excel's day numbers in a workbook. A time without offset is local in `zone`. A date alone is its first moment, or with
    `end` the first moment of the next day. Day-month-year, two-digit years and month names are not read.
    """
    try:
        found = _serial(cell, epoch_1904) if isinstance(cell, float) else _written(cell or "")
        if found is None:
            return None
        naive, date_only, offset = found
        if end and date_only:
            naive += timedelta(days=1)
        return min(naive.replace(tzinfo=offset or zone).astimezone(UTC), FOREVER)
    except OverflowError:
        return FOREVER


def _serial(number: float, epoch_1904: bool) -> tuple[datetime, bool, tzinfo | None] | None:
    """A day number; a whole one is a date alone. A number such as 20200203 is a date in digits."""
    if _LAST_SERIAL < number < 1e8:
        return _written(str(int(number))) if number.is_integer() else None
    if epoch_1904:
        number += (_EPOCH_1904 - _EPOCH_1900).days
    if not _FIRST_SERIAL <= number < _LAST_SERIAL + 1:
        return None
    milliseconds = round(number * 86_400_000)
    return _EPOCH_1900 + timedelta(milliseconds=milliseconds), milliseconds % 86_400_000 == 0, None


def _written(text: str) -> tuple[datetime, bool, tzinfo | None] | None:
    if len(text) > LONGEST_CELL:
        return None
    text = unicodedata.normalize("NFKC", text).strip()
    if "日" in text or "号" in text:  # the day ends there, so that blanks say nothing: 2020 年 2 月 3 日
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
        return naive + timedelta(days=midnight), part["hour"] is None, _offset(part["zone"])
    except ValueError:  # no such day, hour or offset
        return None


def _offset(text: str | None) -> tzinfo | None:
    """Raises ValueError for an offset of a day or more."""
    if text is None or text in "Zz":
        return None if text is None else UTC
    away = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-away if text[0] == "-" else away)
