"""Completeness of the days that are over, rolled up: one row a (day, device, site), with the runs of its numbers.

It is computed again from all facts of a day whenever there are more of them. What the view tells never depends on it, but how
long the view takes does.
"""

from __future__ import annotations

from datetime import date

from ninezero.streams.clickhouse.engines import SQL, Engine, statements


def roll_up_devices(engine: Engine, before: date) -> bool:
    """Rolls up one of the days before `before` of which that is not done, or not any more; whether there was any."""
    stale = engine.query(
        f"SELECT day, print FROM ninezero_data.device_prints WHERE day < '{before}' "
        "AND (day, print) NOT IN (SELECT DISTINCT day, print FROM ninezero_data.device_rolled) "
        "ORDER BY rand() LIMIT 1"  # by chance: a day that changes all the time keeps no other waiting
    )
    if not stale:
        return False
    (chosen,) = stale
    # The print is older than what is read now. What was rolled up before is left to merges: a query may be reading it, and 18.16
    # drops nothing beside a query without the danger that both wait for ever.
    engine.execute(
        "INSERT INTO ninezero_data.device_rolled (day, print, made, device_id, site_id, late, starts, ends) "
        f"SELECT day, {chosen['print']}, now(), device_id, site_id, late, starts, ends FROM ({_runs(chosen['day'])})"
    )
    return True


def _runs(day: str) -> str:
    """What the view `device_fresh` asks, of one day: 18.16 would ask it of every day first."""
    view = next(s for s in statements(SQL / "003_sealed_days.sql", "") if "ninezero_data.device_fresh AS" in s)
    asked, _, rest = view.partition(" AS\n")[2].partition("PREWHERE")
    return f"{asked}PREWHERE day = '{day}' {rest[rest.index('GROUP BY') :]}"
