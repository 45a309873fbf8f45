"""Counts of cases: case alerts, quarantine and follow-up."""

from __future__ import annotations

from typing import get_args

from ninezero.agents.board.queries.moment import Ask, Moment
from ninezero.agents.logic.situation_records import CaseAlertCounts, DistrictFollowups, PlaceAlerts, QuarantineSite
from ninezero.schemas.events import CareRule


async def case_alerts(ask: Ask, moment: Moment) -> list[CaseAlertCounts]:
    """Returns the case alerts of today and yesterday by rule, the most frequent rule of today first."""
    rows = await ask(
        f"SELECT rule, concat(site_id, district) AS place, sum(if(day = toDate('{moment.day}'), alerts, 0)) AS n_today, sum(alerts) AS n "
        f"FROM ninezero.care_alerts_by_day WHERE day >= toDate('{moment.yesterday}') AND day <= toDate('{moment.day}') "
        "GROUP BY rule, place ORDER BY n DESC, place"
    )
    found = []
    for rule in get_args(CareRule):
        places = [row for row in rows if row["rule"] == rule]
        today, both_days = (sum(int(row[name]) for row in places) for name in ("n_today", "n"))
        top = [
            PlaceAlerts(row["place"], int(row["n_today"]), int(row["n"]) - int(row["n_today"])) for row in places[:3]
        ]
        found.append(CaseAlertCounts(rule, today, both_days - today, len(places), top))
    return sorted(found, key=lambda one: (-one.today, -one.yesterday))


async def quarantine(ask: Ask, moment: Moment) -> list[QuarantineSite]:
    """Returns the quarantine sites: first those with missed readings or terms that are exceeded, then the fullest.

    A site that is neither registered nor occupied is included while it had readings due today or yesterday.
    """
    occupied = await ask("SELECT site_id, capacity, present, free FROM ninezero.quarantine_occupancy")
    days = await ask(
        "SELECT toString(day) AS of, site_id, readings_due, readings_done, readings_missed, release_due, term_exceeded "
        "FROM ninezero.quarantine_by_day "
        f"WHERE day = toDate('{moment.day}') OR day = toDate('{moment.yesterday}')"
    )
    readings = {(row["of"], row["site_id"]): row for row in days}
    no_readings = dict.fromkeys(("readings_due", "readings_done", "readings_missed", "release_due", "term_exceeded"), 0)
    empty = {"capacity": 0, "present": 0, "free": 0}
    places = {row["site_id"]: empty for row in days if int(row["readings_due"])}
    places |= {row["site_id"]: row for row in occupied}
    found = []
    for site, place in places.items():
        today = readings.get((str(moment.day), site), no_readings)
        before = readings.get((str(moment.yesterday), site), no_readings)
        found.append(
            QuarantineSite(
                site,
                capacity=int(place["capacity"]),
                present=int(place["present"]),
                free=int(place["free"]),
                readings_due=int(today["readings_due"]),
                readings_done=int(today["readings_done"]),
                readings_missed=int(today["readings_missed"]),
                missed_yesterday=int(before["readings_missed"]),
                release_due=int(today["release_due"]),
                term_exceeded=int(today["term_exceeded"]),
            )
        )
    return sorted(
        found,
        key=lambda one: (-(one.readings_missed + one.missed_yesterday + one.term_exceeded), one.free, one.site_id),
    )


async def followups(ask: Ask, moment: Moment) -> list[DistrictFollowups]:
    """Returns follow-up by district: first those with overdue visits or terms that are exceeded, then those with the most cases."""
    today, yesterday = f"day = toDate('{moment.day}')", f"day = toDate('{moment.yesterday}')"
    cases = await ask(
        f"SELECT district, sum(if({today}, open, 0)) AS n_open, sum(if({today}, visits, 0)) AS n_visits, "
        f"sum(if({today}, reached, 0)) AS n_reached, sum(if({yesterday}, overdue, 0)) AS n_overdue, "
        f"sum(if({today}, release_due, 0)) AS n_due, sum(if({today}, term_exceeded, 0)) AS n_exceeded "
        f"FROM ninezero.followups_by_day WHERE {today} OR {yesterday} GROUP BY district"
    )
    closings = await ask(
        f"SELECT district, closed, sum(if({today}, count, 0)) AS n_today, sum(count) AS n "
        "FROM ninezero.followup_closings_by_day WHERE closed IN ('completed', 'lost') GROUP BY district, closed"
    )
    found = {
        row["district"]: DistrictFollowups(
            row["district"],
            open=int(row["n_open"]),
            visits=int(row["n_visits"]),
            reached=int(row["n_reached"]),
            overdue=int(row["n_overdue"]),
            release_due=int(row["n_due"]),
            term_exceeded=int(row["n_exceeded"]),
        )
        for row in cases
    }
    for row in closings:
        district = found.get(row["district"], DistrictFollowups(row["district"]))
        of_today, of_all = int(row["n_today"]), int(row["n"])
        found[row["district"]] = (
            district._replace(completed_today=of_today, completed=of_all)
            if row["closed"] == "completed"
            else district._replace(lost_today=of_today, lost=of_all)
        )
    return sorted(found.values(), key=lambda one: (-(one.overdue + one.term_exceeded), -one.open, one.district))
