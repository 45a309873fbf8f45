"""Completeness of days that are over: what each device sent is stored as runs of consecutive sequence numbers.

The view `device_completeness` reads these rows instead of every event of the day. A day is computed again, from all its
events, when more of them have arrived. The result of the view never depends on this; its duration does. If rows of
`device_rolled` are lost, the view reads the events until they are computed again.
"""

from __future__ import annotations

from datetime import date

from ninezero.streams.clickhouse import Engine

EVENTS = "ninezero_data.device_events"


def roll_up_devices(engine: Engine, before: date) -> bool:
    """Computes the runs of one day before `before` whose stored runs are missing or out of date.

    The day is chosen at random, so that a day that changes all the time does not keep the others waiting.

    Returns:
        Whether there was such a day.
    """
    outdated = engine.query(
        f"SELECT day, count() AS n FROM {EVENTS} WHERE day < '{before}' "
        "AND day NOT IN (SELECT day FROM ninezero_data.device_frozen_days) GROUP BY day "
        "HAVING (day, n) NOT IN (SELECT day, events FROM ninezero_data.device_rolled) ORDER BY rand() LIMIT 1"
    )
    if not outdated:
        return False
    day = outdated[0]["day"]
    # Removes repeated rows: the view compares the number of rows with `events`.
    engine.execute(f"OPTIMIZE TABLE {EVENTS} PARTITION '{day}' FINAL SETTINGS optimize_skip_merged_partitions = 1")
    (distinct,) = engine.query(f"SELECT count() AS n FROM {EVENTS} FINAL WHERE day = '{day}'")
    # Counted before the events are read, so the runs are made of at least the events that were counted.
    engine.execute(
        "INSERT INTO ninezero_data.device_rolled (day, events, made, device_id, site_id, late, starts, ends) "
        f"SELECT day, {distinct['n']}, now(), device_id, site_id, late, starts, ends "
        f"FROM ninezero_data.device_fresh WHERE day = '{day}'"
    )
    return True
