"""Fixed situations for the board: what ClickHouse and the workers would have answered at one moment.

The board itself builds the snapshot from them, so they show the problems and states that it finds. Nothing in them is random.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ninezero.agents.board.queries.moment import Moment
from ninezero.agents.board.queries.screening import COUNTS
from ninezero.agents.board.situation import Situation
from ninezero.agents.board.snapshot import Snapshots
from ninezero.agents.board.worker_health import WorkerHealth
from ninezero.agents.logic.situation_records import (
    AppliedList,
    ArrivalCounts,
    CaseAlertCounts,
    DeadLetterCounts,
    DeviceConflicts,
    DistrictFollowups,
    HeldBatch,
    Lag,
    MissingList,
    PlaceAlerts,
    QuarantineSite,
    SilentDevice,
    SiteCount,
    WorkerState,
)
from ninezero.streams import settings
from ninezero.streams.clickhouse import Row
from ninezero.streams.settings import ROLES

TIMEZONE = "Asia/Shanghai"
AT = datetime(2020, 2, 17, 15, 32, 40, tzinfo=ZoneInfo(TIMEZONE)).timestamp()
MINUTE, HOUR, DAY = 60, 3600, 86_400
LAST_MINUTE = int(AT) // 60 * 60
ROADS = 9
POLICY = {"policy": "winter@2", "shadows": ["winter@3"], "next": {"policy": "winter@3", "at": AT + 3 * DAY}}
CARE_RULES = ("reading_missed", "symptoms", "visit_overdue", "release_due", "term_exceeded", "fever", "not_delivered")


class Fixed(NamedTuple):
    """A board, and the time at which it is asked: in a replay a year after the moment that it shows."""

    snapshots: Snapshots
    now: float


class FixedHealth(WorkerHealth):
    """Workers that gave this answer two seconds before `now`."""

    def __init__(self, answer: dict[str, Any], now: float) -> None:
        super().__init__([])
        self._answer, self.asked = answer, now - 2

    def summary(self) -> dict[str, Any]:
        return self._answer


def _healthy(**changes: Any) -> dict[str, Any]:
    workers = [
        WorkerState(role, f"127.0.0.1:{6066 + n}", "ready", AT - 9 * HOUR, False) for n, role in enumerate(ROLES)
    ]
    return {
        "at": AT - 2, "workers": workers, "lag": [Lag("screening", "checkpoint-scans", 0), Lag("recording", "screening-decisions", 12)], "rate": 11.6,
        "latency": {"p50": 0.021, "p99": 0.084}, "sink": {"buffered": 12, "retries": 0, "rows": 11.4, "until": AT - 1}, "overdue": {"retention": 0.0},
        "suppressed": {}, "missing": [], "entries": {"confirmed_case": 212, "close_contact": 1480, "quarantine_order": 630}, "heartbeat": 4.0, "heartbeat_ahead": 0.0,
    } | changes  # fmt: skip


def _counts(passages: int, last: int, **outcomes: int) -> dict[str, int]:
    """Counts of a site with these outcomes; the rest is clear."""
    clear = passages - sum(outcomes.values())
    return (
        dict.fromkeys(COUNTS, 0)
        | {"passages": passages, "people": passages + passages // 3, "clear": clear, "last": last}
        | outcomes
    )


def _roads() -> dict[str, dict[str, int]]:
    found = {}
    for n in range(1, ROADS + 1):
        last = LAST_MINUTE - (2 * HOUR if n == 5 else n % 3 * MINUTE)
        found[f"road-{n:02d}"] = _counts(
            2811 - 97 * n, last, refer=13 + n % 4, quarantine=4 + n % 3, turn_back=3 + n % 2, hold=1 + n % 3
        ) | {"fevers": 6 + n % 3}
    return found


def _villages(number: int, digits: int = 4) -> dict[str, dict[str, int]]:
    return {
        f"village-{n:0{digits}d}": _counts(1 + n * 7 % 23, LAST_MINUTE - n * 37 % 300 * MINUTE)
        for n in range(1, number + 1)
        if n % 19
    }


def _minutes() -> dict[str, list[int]]:
    times = [LAST_MINUTE - m * MINUTE for m in reversed(range(60))]
    found = {"at": times} | {name: [0] * 60 for name in COUNTS}
    for m in range(60):
        passages = 96 + m * m * 31 % 47 - (60 if m == 59 else 0)
        found["refer"][m], found["quarantine"][m] = int(m % 7 == 3) + int(m % 20 == 3), int(m % 13 == 5)
        found["turn_back"][m], found["hold"][m] = int(m % 17 == 9), int(m % 29 == 11)
        found["passages"][m] = passages
        found["clear"][m] = passages - sum(found[name][m] for name in ("refer", "quarantine", "turn_back", "hold"))
    return found


def _case_alerts(counts: dict[str, tuple[int, int]]) -> list[CaseAlertCounts]:
    """Case alerts of today and yesterday by rule, at one place each."""
    places = {"reading_missed": "quarantine-1", "release_due": "jiyang"}
    found = []
    for rule in CARE_RULES:
        today, before = counts.get(rule, (0, 0))
        at = [PlaceAlerts(places.get(rule, "jiyang"), today, before)] if today or before else []
        found.append(CaseAlertCounts(rule, today, before, len(at), at))
    return found


def _fixed(health: dict[str, Any], replay: bool = False, failed: tuple[str, ...] = (), **parts: Any) -> Fixed:
    """A board to which ClickHouse answered with these parts; those in `failed` could not be read for six minutes."""

    async def never(_: str) -> list[Row]:
        raise AssertionError("a fixed situation asks nobody")

    now = AT + 365 * DAY if replay else AT
    given = {"KAFKA": "127.0.0.1:1", "CLICKHOUSE": "chdb:///none", "ORDER": "JY-2020-4", "SUNSET": "2021-04-30T16:00:00Z", "TIMEZONE": TIMEZONE, "REPLAY": str(int(replay))}  # fmt: skip
    loaded = settings.load({f"NINEZERO_{name}": value for name, value in given.items()})
    situation = Situation(never, TIMEZONE, replay)
    situation.moment, situation.answered = Moment(int(AT), TIMEZONE), now - 2
    for name, part in situation.parts.items():
        part.data, part.failed = parts[name], name in failed
        part.at, part.day = now - (6 * MINUTE if part.failed else 2), situation.moment.day
    snapshots = Snapshots(loaded, situation, FixedHealth(health, now), lambda _: POLICY)
    snapshots.watched_since = now - HOUR
    return Fixed(snapshots, now)


def _today(sites: dict[str, dict[str, int]]) -> dict[str, Any]:
    return {"settled_today": {"until": LAST_MINUTE, "sites": sites}, "recent_today": {"settled": sites, "recent": {}}}


def afternoon(villages: int = 1200, digits: int = 4, replay: bool = False) -> Fixed:
    """A usual afternoon of a district with nine roads, two stations and its villages."""
    names = [f"road-{n:02d}" for n in range(1, ROADS + 1)] + ["station-air", "station-east"]
    names += [f"village-{n:0{digits}d}" for n in range(1, villages + 1)]
    return _fixed(
        _healthy(),
        replay,
        **_today(_roads() | _villages(villages, digits)),
        minutes=_minutes(),
        rules_hour={"fever": (11, 2), "close_contact": (5, 0), "quarantine_order": (5, 1), "outside_district_without_pass": (4, 0), "no_temperature": (2, 0)},
        rules_day={
            "fever": {"today": 63, "sites": 9, "top_sites": [SiteCount("road-03", 14), SiteCount("road-07", 12), SiteCount("road-01", 9)]},
            "outside_district_without_pass": {"today": 31, "sites": 6, "top_sites": [SiteCount("road-09", 12), SiteCount("road-01", 8), SiteCount("road-02", 5)]},
            "close_contact": {"today": 24, "sites": 5, "top_sites": [SiteCount("road-02", 9), SiteCount("road-04", 6), SiteCount("road-08", 4)]},
            "quarantine_order": {"today": 18, "sites": 3, "top_sites": [SiteCount("road-06", 8), SiteCount("road-01", 6), SiteCount("village-0131", 4)]},
            "confirmed_case": {"today": 3, "sites": 2, "top_sites": [SiteCount("road-02", 2), SiteCount("road-05", 1)]},
            "no_temperature": {"today": 18, "sites": 9, "top_sites": [SiteCount("road-06", 5), SiteCount("road-07", 4), SiteCount("road-03", 2)]},
        },
        case_alerts=_case_alerts({"release_due": (201, 197), "symptoms": (3, 3), "reading_missed": (1, 2), "visit_overdue": (0, 4)}),
        arrivals={"station-air": ArrivalCounts(18, 18, 12), "station-east": ArrivalCounts(11, 11, 11)},
        transfers={"transfers": 11, "boarded": 29, "delivered": 23, "missing": 6},
        sites=names,
        lists={
            "applied": [
                AppliedList("jiyang-health", "watch-confirmed_case", "confirmed_case", int(1.9 * DAY)),
                AppliedList("jiyang-health", "watch-close_contact", "close_contact", 7 * HOUR),
                AppliedList("jiyang-health", "watch-quarantine_order", "quarantine_order", 6 * HOUR),
                AppliedList("jinan-health", "risk-regions", "risk_region_arrival", 50 * MINUTE),
                AppliedList("jiyang-health", "passes", "health_pass", 22 * DAY),
            ],
            "held": [],
        },
        quarantine=[QuarantineSite("quarantine-1", 66, 41, 25, 82, 40, 1, 2, 2), QuarantineSite("quarantine-3", 66, 19, 47, 38, 19, 0, 0, 4), QuarantineSite("quarantine-2", 40, 14, 26, 28, 14, 0, 0)],
        followups=[DistrictFollowups("jiyang", 778, 512, 493, 4, 195, 2174, 0, 3, 195, 0)],
        dead_letters=[DeadLetterCounts("checkpoint-scans", "schema_invalid", 5, 22)],
        silent={"road-03": [SilentDevice("road-03-b", 45)]},
        gaps={"road-07": 3, "village-0042": 1},
        conflicts=[],
    )  # fmt: skip


def crowded() -> Fixed:
    """A country with 20,000 sites."""
    return afternoon(20_000, 5)


def empty() -> Fixed:
    """A deployment that was installed a minute ago."""
    times = [LAST_MINUTE - m * MINUTE for m in reversed(range(60))]
    return _fixed(
        _healthy(rate=0.0, latency={"p50": None, "p99": None}, entries={}, sink={"buffered": 0, "retries": 0, "rows": 0.0, "until": AT - 1}),
        **_today({}), minutes={"at": times} | {name: [0] * 60 for name in COUNTS}, rules_hour={}, rules_day={}, case_alerts=_case_alerts({}), arrivals={},
        transfers=dict.fromkeys(("transfers", "boarded", "delivered", "missing"), 0), sites=[], lists={"applied": [], "held": []}, quarantine=[], followups=[],
        dead_letters=[], silent={}, gaps={}, conflicts=[],
    )  # fmt: skip


def troubled() -> Fixed:
    """Problems of every kind, and the longest names that are permitted."""
    long = "checkpoint-of-the-northern-expressway-toll-plaza-lane-12-inbound"
    workers = [
        WorkerState("screening", "10.20.30.41:6066", "down", AT - 4 * MINUTE, False),
        WorkerState("lists", "10.20.30.42:6067", "not_ready", AT - 3 * DAY, True),
        WorkerState("ledgers", "10.20.30.43:6068", "ready", AT - DAY, False),
        WorkerState("recording", "127.0.0.1:6069", "ready", AT - DAY, True),
    ]
    found = afternoon()
    parts = {
        name: part.data for name, part in found.snapshots._situation.parts.items()
    }  # the usual afternoon, with these changes
    return _fixed(
        _healthy(
            workers=workers, heartbeat=4_810.0, rate=None, latency=None, lag=[Lag("ledgers", "quarantine-events", 1_204_318), Lag("recording", "screening-decisions", 88_000)],
            sink={"buffered": 500_000, "retries": 214, "rows": 0.0, "until": AT - 2 * DAY}, overdue={"retention": 3.0, "case_deletion": 4.0, "publishing": 5.0},
            suppressed={"loss_check": 2, "retention": 4, "publishing": 9},
            missing=[MissingList("provincial-health-commission-of-shandong", "close-contacts-of-confirmed-cases-imported-by-air")],
        ),
        failed=("transfers", "rules_day"),
        **parts | {
            "rules_hour": parts["rules_hour"] | {"list_stale": (4120, 731)},
            "lists": {
                "applied": [AppliedList("provincial-health-commission-of-shandong", "close-contacts-of-confirmed-cases-imported-by-air", "close_contact", 12 * DAY), *parts["lists"]["applied"]],
                "held": [HeldBatch("provincial-health-commission-of-shandong", "close-contacts-of-confirmed-cases-imported-by-air", "batch-2020-02-17-000000000000000000000000000031", "would_shrink", 18_204, 900)],
            },
            "silent": {long: [SilentDevice(f"{long}-{n}"[-64:], 45 * n) for n in (1, 2, 3)], "road-04": [SilentDevice("road-04-a", 1300)]},
            "gaps": {long: 120_000, "road-02": 3},
            "conflicts": [DeviceConflicts(f"{long}-1"[-64:], long, 4012), DeviceConflicts("road-02-a", "road-02", 1)],
            "sites": [*parts["sites"], long],
            "case_alerts": _case_alerts({rule: (1200 + n, 1100 * n) for n, rule in enumerate(CARE_RULES)}),
            "quarantine": [QuarantineSite(long, 1200, 1207, -7, 2414, 1100, 31, 48, 207, 19), *parts["quarantine"]],
            "followups": [DistrictFollowups("the-northern-district-of-the-municipality-of-jinan", 120_778, 90_512, 88_493, 4_000, 195, 202_174, 31, 312, 1950, 207), *parts["followups"]],
            "dead_letters": [DeadLetterCounts("station-arrivals", "clock_out_of_range", 12_128, 412_128), DeadLetterCounts("quarantine-events", "needs_upgrade_finish", 1, 1)],
        },
    )  # fmt: skip


SITUATIONS = {"afternoon": afternoon, "crowded": crowded, "empty": empty, "troubled": troubled}
