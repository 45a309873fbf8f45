"""A transfer: people board it at one site, and it delivers them at others. Staff must know if fewer are delivered than boarded.

A transfer has some hours from its first boarding by `observed_at`. What is observed after that changes nothing, whatever the order in
which the events arrive: so a late delivery takes no alarm back. Of several contents of one event the one that arrived first counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ninezero.agents.logic.cases.alarms import NOT_DELIVERED, Alarm, CaseStatus
from ninezero.agents.logic.cases.facts import distinct_in_order
from ninezero.agents.logic.days import Days
from ninezero.schemas.case_facts import TransferFact

HOUR_US = 3600 * 1_000_000

REPORT_US = 10 * 1_000_000
"""Time within which a device that is online reports, in µs: a delivery in the last second is known by then."""


def status_after(hours: float) -> Callable[[list[TransferFact], Days, int], CaseStatus]:
    """Returns `status` for transfers that have `hours` hours."""
    limit_us = round(hours * HOUR_US)
    return lambda facts, days, now_us: status(facts, days, now_us, limit_us)


def status(facts: Iterable[TransferFact], days: Days, now_us: int, limit_us: int) -> CaseStatus:
    """Returns the status of a transfer at `now_us`. The same facts always give the same alarm.

    The transfer is open until its time and that of a report have passed. A transfer that nobody boarded as far as is known is
    closed: its deliveries tell of nobody who is missing. `closed_us` is the time of its first event, from which on it is kept: so a
    number that is used again and again does not keep its events for ever.

    Args:
        facts: the facts of the transfer.
        days: the local days.
        now_us: the instant, Unix time in µs.
        limit_us: the time that a transfer has from its first boarding, in µs.
    """
    ordered = distinct_in_order(facts)
    closed_us = ordered[0].observed_us
    first = next((fact for fact in ordered if fact.stage == "boarded"), None)
    if first is None:
        return CaseStatus([], None, closed_us)
    end_us = first.observed_us + limit_us
    if now_us < end_us + REPORT_US:
        return CaseStatus([], end_us + REPORT_US, None)
    alarms = []
    if missing(ordered, end_us) > 0:
        alarms.append(Alarm(NOT_DELIVERED, days.of(first.observed_us), None, first.site_id, end_us))
    return CaseStatus(alarms, None, closed_us)


def missing(facts: Iterable[TransferFact], until_us: int) -> int:
    """Returns how many more people boarded a transfer than it delivered up to an instant, by its distinct facts; at least 0."""
    balance = {"boarded": 1, "delivered": -1}
    return max(0, sum(balance[fact.stage] for fact in facts if fact.observed_us <= until_us))
