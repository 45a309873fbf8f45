"""Completeness of days that are over: what each device sent is stored as runs of consecutive sequence numbers.

The view `device_completeness` reads these rows instead of every event of the day. A day is computed again, from all its
events, when more of them have arrived. The result of the view never depends on this; its duration does.
"""

from __future__ import annotations

from datetime import date

from ninezero.streams.clickhouse import Engine


def roll_up_devices(engine: Engine, before: date) -> bool:
    """Computes the runs of one day before `before` whose stored runs are missing or out of date.

    The day is chosen at random, so that a day that changes all the time does not keep the others waiting.

    Returns:
        Whether there was such a day.
    """
    outdated = engine.query(
        f"SELECT day, print FROM ninezero_data.device_prints WHERE day < '{before}' "
        "AND (day, print) NOT IN (SELECT DISTINCT day, print FROM ninezero_data.device_rolled) "
        "ORDER BY rand() LIMIT 1"
    )
    if not outdated:
        return False
    (chosen,) = outdated
    # The print was read before the events, so the row is made of at least the events that the print stands for. Earlier
    # rows stay until merges remove them: a query may be reading them, and ClickHouse 18.16 can deadlock when a partition
    # is dropped while a query reads it.
    engine.execute(
        "INSERT INTO ninezero_data.device_rolled (day, print, made, device_id, site_id, late, starts, ends) "
        f"SELECT day, {chosen['print']}, now(), device_id, site_id, late, starts, ends FROM ({runs_of_day(chosen['day'])})"
    )
    return True


def runs_of_day(day: str) -> str:
    """Returns the query for the runs of one day: per device and site the first and last numbers of each run.

    It computes what the view `device_fresh` (schemas/sql/001_base.sql) computes for all days. A filter around the
    view would not do: ClickHouse 18.16 evaluates the view for every day before it filters.

    Args:
        day: a local day, `YYYY-MM-DD`.
    """
    previous = "arrayPushFront(arrayPopBack(seqs), seqs[1])"
    following = "arrayPushBack(arrayPopFront(seqs), seqs[1])"
    return (
        "SELECT day, device_id, site_id, sum(late) AS late, "
        f"arrayFilter((s, before) -> s != before + 1, arraySort(groupArray(seq)) AS seqs, {previous}) AS starts, "
        f"arrayFilter((e, after) -> e + 1 != after, seqs, {following}) AS ends "
        f"FROM ninezero_data.device_events FINAL PREWHERE day = '{day}' GROUP BY day, device_id, site_id"
    )
