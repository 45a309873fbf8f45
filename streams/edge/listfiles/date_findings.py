"""Findings about the dates of a row: what a person has to check, although the dates can be read."""

from collections.abc import Mapping
from datetime import tzinfo

from ninezero.streams.edge.listfiles.dates import MIDNIGHT, WrittenTime, read_time
from ninezero.streams.edge.listfiles.list_file import ListFile
from ninezero.streams.edge.listfiles.tables.cells import Cell, FormattedValue

_LONGEST_DATE = 10
"""Characters of a date without a clock time, such as `2020-02-03`. Most cells have no more, and nothing is to be found in them."""


def date_findings(file: ListFile, cells: Mapping[str, Cell], zone: tzinfo) -> list[str]:
    """Returns the findings about the window of a row, each `field:flag`.

    `number_format`: the cell shows no date, although it may hold one. `not_calculated`: the file has no result of its formula. `midnight`: an end is midnight, but the column also has other
    times of day, so it is not certain that the day of a date was meant; or it is a midnight of this zone that is written in another
    zone, as programs write dates.

    Args:
        file: the file of the row.
        cells: the row's cells by field.
        zone: the zone of times that state no offset.
    """
    found: list[str] = []
    for field in ("valid_from", "valid_to"):
        cell = cells.get(field)
        if cell is None or (isinstance(cell, str) and len(cell) <= _LONGEST_DATE):
            continue
        time = read_time(cell, file.epoch_1904)
        if time is None and isinstance(cell, FormattedValue) and cell.kind != "elsewhere":
            found.append(f"{field}:{'not_calculated' if cell.kind == 'formula' else 'number_format'}")
        elif time is not None and field == "valid_to" and _is_uncertain_midnight(file, time, zone):
            found.append(f"{field}:midnight")
    return found


def _is_uncertain_midnight(file: ListFile, end: WrittenTime, zone: tzinfo) -> bool:
    if end.precision == "midnight":
        return file.has_clock_times("valid_to")
    elsewhere = end.precision == "clock" and end.offset is not None and end.naive.time() != MIDNIGHT
    return elsewhere and end.end(zone).astimezone(zone).time() == MIDNIGHT
