"""Counts of scans, arrivals and transfers: by site, by minute and by rule."""

from __future__ import annotations

from typing import Any

from ninezero.agents.board.queries.moment import Ask, Moment
from ninezero.agents.logic.policy.rules import OUTCOMES
from ninezero.agents.logic.situation_records import ArrivalCounts, SiteCount

COUNTS = ("passages", "people", *reversed(OUTCOMES), "fevers")
_SUMS = ", ".join(f"sum({name}) AS n_{name}" for name in COUNTS)

SETTLED_SECONDS = 600
"""Minutes older than this are summed once a minute, newer minutes with every query. A late event for an older minute is
counted in the next sum of the older minutes."""


async def _by_site(ask: Ask, where: str) -> dict[str, dict[str, int]]:
    """Counts by site, and `last`: the last minute with a passage."""
    # The view by minute would sum up each minute of each site first, which takes ten times as long.
    rows = await ask(
        f"SELECT site_id, toUInt32(max(minute)) AS last, {_SUMS} FROM ninezero_data.passages WHERE {where} GROUP BY site_id"
    )
    return {
        row["site_id"]: {"last": int(row["last"])} | {name: int(row[f"n_{name}"]) for name in COUNTS} for row in rows
    }


async def settled_today(ask: Ask, moment: Moment) -> dict[str, Any]:
    """Returns the counts by site (`sites`) from midnight to ten minutes ago (`until`)."""
    until = max(moment.midnight, (moment.now - SETTLED_SECONDS) // 60 * 60)
    where = f"minute >= toDateTime({moment.midnight}) AND minute < toDateTime({until})"
    return {"until": until, "sites": await _by_site(ask, where)}


async def recent_today(ask: Ask, since: int) -> dict[str, dict[str, int]]:
    """Returns the counts by site from a minute on."""
    return await _by_site(ask, f"minute >= toDateTime({since})")


async def minutes(ask: Ask, moment: Moment) -> dict[str, list[int]]:
    """Returns the counts of each of the last sixty minutes: a list for each count, and `at` with the minutes."""
    rows = await ask(
        f"SELECT toUInt32(minute) AS at, {_SUMS} FROM ninezero.screening_by_minute "
        f"WHERE minute >= toDateTime({moment.hour_ago}) GROUP BY minute"
    )
    by_minute = {int(row["at"]): row for row in rows}
    times = list(range(moment.hour_ago, moment.minute + 60, 60))
    return {"at": times} | {
        name: [int(by_minute[at][f"n_{name}"]) if at in by_minute else 0 for at in times] for name in COUNTS
    }


async def rules_hour(ask: Ask, moment: Moment) -> dict[str, tuple[int, int]]:
    """Returns by rule how often it applied in the last hour and in the last five minutes."""
    recent = moment.minute - 4 * 60
    rows = await ask(
        f"SELECT rule, sum(count) AS n, sum(if(minute >= toDateTime({recent}), count, 0)) AS n_recent "
        f"FROM ninezero.reasons_by_minute WHERE minute >= toDateTime({moment.hour_ago}) GROUP BY rule"
    )
    return {row["rule"]: (int(row["n"]), int(row["n_recent"])) for row in rows}


async def rules_day(ask: Ask, moment: Moment) -> dict[str, dict[str, Any]]:
    """Returns by rule how often it applied today, at how many sites, and the three sites with the most."""
    table = f"FROM ninezero.reasons_by_day WHERE day = toDate('{moment.day}')"
    found: dict[str, dict[str, Any]] = {
        row["rule"]: {"today": int(row["n"]), "sites": int(row["n_sites"]), "top_sites": []}
        for row in await ask(f"SELECT rule, sum(count) AS n, uniqExact(site_id) AS n_sites {table} GROUP BY rule")
    }
    for row in await ask(f"SELECT rule, site_id, count {table} ORDER BY rule, count DESC, site_id LIMIT 3 BY rule"):
        if row["rule"] in found:  # the second query may see a rule that the first did not
            found[row["rule"]]["top_sites"].append(SiteCount(row["site_id"], int(row["count"])))
    return found


async def arrivals(ask: Ask, moment: Moment) -> dict[str, ArrivalCounts]:
    """Returns by site the travellers of today by stage."""
    rows = await ask(
        f"SELECT site_id, stage, sum(people) AS n FROM ninezero.arrivals_by_day WHERE day = toDate('{moment.day}') GROUP BY site_id, stage"
    )
    found: dict[str, ArrivalCounts] = {}
    for row in rows:
        found[row["site_id"]] = found.get(row["site_id"], ArrivalCounts())._replace(**{row["stage"]: int(row["n"])})
    return found


async def transfers(ask: Ask, moment: Moment) -> dict[str, int]:
    """Returns the transfers that began today: their number, and the people who boarded, were delivered, and are missing."""
    (row,) = await ask(
        "SELECT sum(transfers) AS n_transfers, sum(boarded) AS n_boarded, sum(delivered) AS n_delivered, sum(missing) AS n_missing "
        f"FROM ninezero.transfers_by_day WHERE day = toDate('{moment.day}')"
    )
    return {name: int(row[f"n_{name}"]) for name in ("transfers", "boarded", "delivered", "missing")}


async def sites(ask: Ask, _: Moment) -> list[str]:
    """Returns the registered checkpoints and stations; sites with places for quarantine are in `cases.quarantine`."""
    return [row["site_id"] for row in await ask("SELECT site_id FROM ninezero.sites WHERE capacity = 0")]


async def last_minute(ask: Ask) -> int | None:
    """Returns the last minute that was counted; None if there is none."""
    # The view would sum up every minute for this.
    rows = await ask("SELECT toUInt32(max(minute)) AS last FROM ninezero_data.screening_facts WHERE stage = ''")
    return int(rows[0]["last"]) or None if rows else None
