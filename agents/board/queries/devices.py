"""Counts of faults of devices: silent devices, missing and repeated sequence numbers, and rejected records."""

from __future__ import annotations

import time

from ninezero.agents.board.queries.moment import Ask, Moment
from ninezero.agents.logic.situation_records import DeadLetterCounts, DeviceConflicts, SilentDevice


async def silent(ask: Ask, _: Moment) -> dict[str, list[SilentDevice]]:
    """Returns by site the devices that sent an event in the last 24 hours, but none in the last 30 minutes."""
    found: dict[str, list[SilentDevice]] = {}
    for row in await ask(
        "SELECT device_id, site_id, minutes FROM ninezero.devices_silent ORDER BY minutes DESC, device_id"
    ):
        found.setdefault(row["site_id"], []).append(SilentDevice(row["device_id"], int(row["minutes"])))
    return found


async def gaps(ask: Ask, moment: Moment) -> dict[str, int]:
    """Returns by site how many sequence numbers are missing before those that arrived today."""
    rows = await ask(
        "SELECT site_id, sum(missing) AS n FROM ninezero.device_completeness "
        f"WHERE day = toDate('{moment.day}') GROUP BY site_id HAVING n > 0"
    )
    return {row["site_id"]: int(row["n"]) for row in rows}


async def conflicts(ask: Ask, moment: Moment) -> list[DeviceConflicts]:
    """Returns the devices that used a sequence number of today for different events, the worst first."""
    rows = await ask(
        "SELECT device_id, site_id, conflicts AS n FROM ninezero.device_completeness "
        f"WHERE day = toDate('{moment.day}') AND n > 0 ORDER BY n DESC, device_id, site_id"
    )
    return [DeviceConflicts(row["device_id"], row["site_id"], int(row["n"])) for row in rows]


async def dead_letters(ask: Ask, _: Moment) -> list[DeadLetterCounts]:
    """Returns the dead letters by topic and reason, the most frequent first. Their hours are those of Kafka's clock, in a replay too."""
    hour = int(time.time()) // 3600 * 3600 - 3600
    rows = await ask(
        f"SELECT topic, reason, sum(if(hour >= toDateTime({hour}), records, 0)) AS n_recent, sum(records) AS n "
        f"FROM ninezero.dead_letters_by_hour WHERE hour >= toDateTime({hour - 22 * 3600}) GROUP BY topic, reason ORDER BY n_recent DESC, n DESC, topic, reason"
    )
    return [DeadLetterCounts(row["topic"], row["reason"], int(row["n_recent"]), int(row["n"])) for row in rows]
