"""Records of the situation that the board shows. Times are Unix seconds, ages are seconds.

They are encoded as JSON arrays, so the order of their fields is what `agents/board/page/board.js` reads.
"""

from __future__ import annotations

from typing import NamedTuple


class Checked(NamedTuple):
    """States whether a part of the situation is known, and when it was last read; `at` is None if it never was."""

    known: bool
    at: float | None


class SiteCount(NamedTuple):
    """A number of occurrences at a site or district."""

    site_id: str
    times: int


class MissingList(NamedTuple):
    """A registered list that the topic watchlist lacks as last applied. Nobody is screened without it."""

    authority: str
    list: str


class RuleCounts(NamedTuple):
    """The number of times that a rule applied, and the sites where it applied most often today."""

    rule: str
    five_minutes: int
    hour: int
    today: int
    sites: int
    top_sites: list[SiteCount]


class PlaceAlerts(NamedTuple):
    """Case alerts at a site or in a district, today and yesterday."""

    place: str
    today: int
    yesterday: int


class CaseAlertCounts(NamedTuple):
    """Case alerts of a rule today and yesterday, and the sites or districts with the most of them."""

    rule: str
    today: int
    yesterday: int
    places: int
    top_places: list[PlaceAlerts]


class ArrivalCounts(NamedTuple):
    """Travellers of today by stage."""

    registered: int = 0
    boarded: int = 0
    delivered: int = 0


class AppliedList(NamedTuple):
    """A watchlist, and the age of its last applied batch."""

    authority: str
    list: str
    category: str
    age: int


class HeldBatch(NamedTuple):
    """A batch that waits for the confirmation of a second person."""

    authority: str
    list: str
    batch_id: str
    code: str
    lines: int
    age: int


class DeadLetterCounts(NamedTuple):
    """Dead letters of a topic and reason: in this and the last hour, and in the last 24 hours."""

    topic: str
    reason: str
    recent: int
    day: int


class QuarantineSite(NamedTuple):
    """Places of a quarantine site, its readings of today, and those it missed yesterday.

    `release_due` counts the cases whose last day is today, `term_exceeded` those that are there after their last day.
    """

    site_id: str
    capacity: int
    present: int
    free: int
    readings_due: int
    readings_done: int
    readings_missed: int
    missed_yesterday: int
    release_due: int = 0
    term_exceeded: int = 0


class DistrictFollowups(NamedTuple):
    """Follow-up in a district: today's cases and visits, visits overdue at the end of yesterday, and closed cases.

    `release_due` counts the cases whose last day is today, `term_exceeded` those that are open after their last day.
    """

    district: str
    open: int = 0
    visits: int = 0
    reached: int = 0
    overdue: int = 0
    completed_today: int = 0
    completed: int = 0
    lost_today: int = 0
    lost: int = 0
    release_due: int = 0
    term_exceeded: int = 0


class SilentDevice(NamedTuple):
    """A device and the minutes since its last event."""

    device_id: str
    minutes: int


class DeviceConflicts(NamedTuple):
    """A device, its site, and how many sequence numbers it used for different events."""

    device_id: str
    site_id: str
    numbers: int


class SiteStatus(NamedTuple):
    """A site with its state and its counts of today. None stands for what is not known; `arrivals` is None at a site without any, too."""

    site_id: str
    state: str
    passages: int | None
    refer: int | None
    quarantine: int | None
    turn_back: int | None
    hold: int | None
    last_passage: int | None
    missing: int | None
    silent: list[SilentDevice] | None
    arrivals: ArrivalCounts | None
    conflicts: int | None


class WorkerState(NamedTuple):
    """The state of a worker and the time since when it is in it; `or_before`: it was in it when it was first asked."""

    role: str
    address: str
    state: str
    since: float
    or_before: bool


class Lag(NamedTuple):
    """Records of a topic that a role has not processed yet."""

    role: str
    topic: str
    records: int
