"""The snapshot that every open page receives: problems, counts, and which parts are known.

It holds counts only: no token, no case, and no rule with both the minute and the site.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ninezero.agents.board.policy_in_force import AskPolicy
from ninezero.agents.board.situation import SILENT_SECONDS, Situation
from ninezero.agents.board.worker_health import FRESH_SECONDS, WorkerHealth
from ninezero.agents.logic.problems import SITE_FAULTS, Observation, problems, site_state
from ninezero.agents.logic.situation_records import ArrivalCounts, Checked, RuleCounts, SiteStatus
from ninezero.streams.settings import Settings

SITES_SHOWN = 40
"""Sites in the snapshot. A page that shows more asks for all of them."""

SITE_PARTS = ("recent_today", "silent", "conflicts", "gaps", "arrivals")
"""Parts from which the state of a site follows."""

SETTLE_SECONDS = 10
"""Time after the first page was opened during which missing answers are not reported as a problem."""


class Snapshots:
    """Builds snapshots from the situation and the health of the workers. Times are Unix seconds."""

    def __init__(self, settings: Settings, situation: Situation, workers: WorkerHealth, policy: AskPolicy) -> None:
        self._settings, self._situation, self._workers, self._policy = settings, situation, workers, policy
        self.watched_since = 0.0
        """When the first page was opened: what was not answered since then is unknown."""

    def snapshot(self, now: float) -> dict[str, Any]:
        """Returns the snapshot."""
        situation, parts = self._situation, self._situation.parts
        health, sites = self._workers.summary(), self.sites(now)
        totals = self._totals()
        observation = self._observation(now, health, totals)
        as_of = situation.moment.now if self._settings.replay else now
        return {
            "at": now,
            "as_of": as_of,
            "timezone": self._settings.timezone,
            "replay": self._settings.replay,
            "order": self._settings.order,
            "sunset": self._settings.sunset.timestamp(),
            "policy": self._policy(as_of),
            "problems": problems(observation),
            "parts": {name: self._checked(name, now)._asdict() for name in parts}
            | {"workers": self._workers_checked(now)._asdict()},
            "today": totals if parts["recent_today"].data is not None else None,
            "minutes": parts["minutes"].data,
            "rules": rule_counts(parts["rules_day"].data, parts["rules_hour"].data),
            "case_alerts": parts["case_alerts"].data,
            "arrivals": _sum_arrivals(parts["arrivals"].data),
            "transfers": parts["transfers"].data,
            "sites": sites[:SITES_SHOWN],
            "site_states": Counter(site.state for site in sites),
            "lists": parts["lists"].data,
            "quarantine": parts["quarantine"].data,
            "followups": parts["followups"].data,
            "dead_letters": parts["dead_letters"].data,
            "pipeline": health,
        }

    def sites(self, now: float) -> list[SiteStatus]:
        """Returns all sites: first those that need attention, the most severe state first, then the busiest.

        A quarantine site or a district is included if a device of it is silent or sequence numbers are missing.
        """
        parts = self._situation.parts
        today = self._situation.today()
        registered = set(parts["sites"].data or ())
        silent, gaps, arrivals = (parts[name].data or {} for name in ("silent", "gaps", "arrivals"))
        conflicts: Counter[str] = Counter()
        for device in parts["conflicts"].data or ():
            conflicts[device.site_id] += device.numbers
        known = {name: self._checked(name, now).known for name in SITE_PARTS}
        no_count = None if parts["recent_today"].data is None else 0
        found = []
        for site in registered | today.keys() | silent.keys() | gaps.keys() | arrivals.keys() | conflicts.keys():
            counts = today.get(site, {})
            devices, missing = silent.get(site, []), gaps.get(site, 0)
            found.append(
                SiteStatus(
                    site,
                    site_state(
                        counts.get("last"),
                        self._situation.moment.now,
                        known,
                        silent=bool(devices),
                        conflicts=conflicts[site],
                        missing=missing,
                        arrived=site in arrivals,
                    ),
                    passages=counts.get("passages", no_count),
                    refer=counts.get("refer", no_count),
                    quarantine=counts.get("quarantine", no_count),
                    turn_back=counts.get("turn_back", no_count),
                    hold=counts.get("hold", no_count),
                    last_passage=counts.get("last"),
                    missing=missing if known["gaps"] else None,
                    silent=devices if known["silent"] else None,
                    arrivals=arrivals.get(site),
                    conflicts=conflicts[site] if known["conflicts"] else None,
                )
            )
        return sorted(found, key=_site_order)

    def _totals(self) -> dict[str, int]:
        totals: dict[str, int] = {}
        for counts in self._situation.today().values():
            for name, count in counts.items():
                totals[name] = max(totals.get(name, 0), count) if name == "last" else totals.get(name, 0) + count
        return totals

    def _observation(self, now: float, health: dict[str, Any], totals: dict[str, int]) -> Observation:
        parts = self._situation.parts
        settled = now - self.watched_since > SETTLE_SECONDS
        return Observation(
            now=now,
            as_of=self._situation.moment.now,
            replay=self._settings.replay,
            sunset=self._settings.sunset.timestamp(),
            max_list_age=self._settings.max_list_age,
            watched_since=self.watched_since,
            clickhouse_silent_since=self._situation.answered if self._clickhouse_silent(now) else None,
            parts={
                name: Checked(self._checked(name, now).known or not (settled or part.failed), part.at)
                for name, part in parts.items()
            },
            data={name: part.data for name, part in parts.items()},
            workers=health if self._workers_checked(now).known else None,
            workers_at=health["at"],
            settled=settled,
            last_passage=max(totals.get("last", 0), self._situation.moment.midnight),
        )

    def _clickhouse_silent(self, now: float) -> bool:
        return now - max(self._situation.answered, self.watched_since) > SILENT_SECONDS

    def _checked(self, name: str, now: float) -> Checked:
        part = self._situation.parts[name]
        return Checked(part.known(now) and not self._clickhouse_silent(now), part.at)

    def _workers_checked(self, now: float) -> Checked:
        return Checked(now - self._workers.asked < FRESH_SECONDS, self._workers.asked or None)


def _site_order(site: SiteStatus) -> tuple[int, int, str]:
    severity = SITE_FAULTS.index(site.state) if site.state in SITE_FAULTS else len(SITE_FAULTS)
    return severity, -((site.passages or 0) + sum(site.arrivals or ())), site.site_id


def _sum_arrivals(by_site: dict[str, ArrivalCounts] | None) -> ArrivalCounts | None:
    return None if by_site is None else ArrivalCounts(*(sum(stage) for stage in zip(*by_site.values(), strict=True)))


def rule_counts(
    day: dict[str, dict[str, Any]] | None, hour: dict[str, tuple[int, int]] | None
) -> list[RuleCounts] | None:
    """Joins the counts by rule of the day and of the hour, the most frequent rule of the hour first; None if one is unknown."""
    if day is None or hour is None:
        return None
    no_count = {"today": 0, "sites": 0, "top_sites": []}
    found = []
    for rule in day.keys() | hour.keys():
        today, (in_hour, recent) = day.get(rule, no_count), hour.get(rule, (0, 0))
        found.append(RuleCounts(rule, recent, in_hour, today["today"], today["sites"], today["top_sites"]))
    return sorted(found, key=lambda one: (-one.hour, -one.today, one.rule))
