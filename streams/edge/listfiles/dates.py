"""Times as lists write them: Chinese and ISO dates, and the day numbers of spreadsheets. Ambiguous times are not read."""

import re
import unicodedata
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Literal, NamedTuple

from ninezero.streams.edge.listfiles.tables.cells import (
    EPOCH_1900,
    EPOCH_1904,
    MAX_CELL_CHARACTERS,
    Cell,
    FormattedValue,
)

MIDNIGHT = time()

FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
"""Later times are cut to this one, as the workers do. No calendar goes further."""

_CACHED = 1024
"""Different times that are kept read. The rows of a list share a few."""
_LAST_DAY = datetime(9999, 12, 30)
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

_FIRST_SERIAL, _LAST_SERIAL = 61, 2_958_465  # 1 March 1900, the first day that Excel counts correctly; 31 December 9999


class WrittenTime(NamedTuple):
    """A time as a cell has it: without a zone, with the offset if the cell states one.

    `precision` is `date` for a date alone, `midnight` for a date with the clock time 0:00, and `clock` for any other time, 24:00
    included. Spreadsheets and programs add 0:00 to dates.
    """

    naive: datetime
    precision: Literal["date", "midnight", "clock"]
    offset: tzinfo | None

    def start(self, zone: tzinfo) -> datetime:
        """Returns the time in UTC as the start of a window. `zone` is that of a time that states no offset."""
        return _in_utc(self.naive, self.offset or zone)

    def end(self, zone: tzinfo) -> datetime:
        """Returns the time in UTC as the end of a window. A date includes its day, also one that is written as its midnight."""
        try:
            return _in_utc(self.naive + timedelta(days=self.precision != "clock"), self.offset or zone)
        except OverflowError:
            return FOREVER


def read_time(cell: Cell, epoch_1904: bool = False) -> WrittenTime | None:
    """Returns the time that a cell shows, or None if it shows no unambiguous time.

    Accepted are year-month-day with `-`, `/`, `.` or 年月日, or as eight digits, each with an optional time (24:00 is midnight)
    and offset; and the day numbers of a workbook. Day-month-year, two-digit years and month names are not accepted. Of a day number
    that is shown as a date alone, the time of day does not count; one that is shown without its day is not accepted.

    Args:
        cell: the cell's text or number.
        epoch_1904: whether day numbers count from 1904.
    """
    if isinstance(cell, FormattedValue):
        if cell.kind == "number" and cell.shown is not None and (shown := _from_text(cell.shown)) is not None:
            return shown
        if cell.kind == "other" or isinstance(cell.value, str):
            return None
        found = _from_serial(cell.value, epoch_1904)
        if found is None or cell.kind == "number":
            return found
        if cell.kind == "date":
            return WrittenTime(datetime.combine(found.naive, MIDNIGHT), "date", None)
        return found._replace(precision="midnight") if found.precision == "date" else found
    return _from_serial(cell, epoch_1904) if isinstance(cell, float) else _from_text(cell or "")


def parse_time(cell: Cell, zone: tzinfo, *, end: bool, epoch_1904: bool = False) -> datetime | None:
    """Returns the time of a cell in UTC as the start or the `end` of a window; None as `read_time` does."""
    found = read_time(cell, epoch_1904)
    return None if found is None else found.end(zone) if end else found.start(zone)


def _in_utc(naive: datetime, zone: tzinfo) -> datetime:
    try:
        return min(naive.replace(tzinfo=zone).astimezone(UTC), FOREVER)
    except OverflowError:
        return FOREVER


@lru_cache(_CACHED)
def _from_serial(number: float, epoch_1904: bool) -> WrittenTime | None:
    """Reads a day number; a whole one is a date or its midnight. A number such as 20200203 is a date in digits."""
    if _LAST_SERIAL < number < 1e8:
        return _from_text(str(int(number))) if number.is_integer() else None
    if epoch_1904:
        number += (EPOCH_1904 - EPOCH_1900).days
    if not _FIRST_SERIAL <= number < _LAST_SERIAL + 1:
        return None
    milliseconds = round(number * 86_400_000)
    whole = milliseconds % 86_400_000 == 0
    return WrittenTime(EPOCH_1900 + timedelta(milliseconds=milliseconds), "midnight" if whole else "clock", None)


@lru_cache(_CACHED)
def _from_text(text: str) -> WrittenTime | None:
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
        offset = _parse_offset(part["zone"])
    except ValueError:  # there is no such day, hour or offset
        return None
    if part["hour"] is None:
        return WrittenTime(naive, "date", offset)
    if midnight:
        return WrittenTime(min(naive, _LAST_DAY) + timedelta(days=1), "clock", offset)
    return WrittenTime(naive, "clock" if naive.time() != MIDNIGHT else "midnight", offset)


def _parse_offset(text: str | None) -> tzinfo | None:
    """Returns the offset of a time, or None if it states none. Raises ValueError for an offset of a day or more."""
    if text is None or text in "Zz":
        return None if text is None else UTC
    away = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-away if text[0] == "-" else away)
