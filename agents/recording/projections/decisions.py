"""Screening decisions → rows of `screening_facts` and `device_events`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from itertools import compress
from typing import Any, NamedTuple

from ninezero.schemas.events import DecisionGroup, Decisions
from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import FIRST_WINS, DeviceEventGroup, ScreeningFactGroup


class DayGroup(NamedTuple):
    """The events of one decision group that were observed on one local day, one list per field.

    `minutes` are Unix times in s of the beginning of the minute in which each event was observed.
    """

    common: DecisionGroup
    day: date
    minutes: list[int]
    site_ids: list[str]
    device_ids: list[str]
    seqs: list[int]
    digests: list[int]


class DecisionsByDay(NamedTuple):
    """A decisions record, its groups divided by local day, in the order of the record."""

    record: Decisions
    groups: list[DayGroup]

    @property
    def days(self) -> set[date]:
        """The local days on which its events were observed."""
        return {group.day for group in self.groups}

    @property
    def version(self) -> int:
        """The version of its rows: the earliest decision about an event has the highest."""
        return FIRST_WINS - self.record.decided_ms


def split_by_day(record: Decisions, day_of: Callable[[int], date]) -> DecisionsByDay:
    """Divides the groups of a record by local day.

    Args:
        record: the decisions.
        day_of: Unix time in s → local day.
    """
    groups = []
    for common in record.decisions:
        minutes = [ms // 60_000 * 60 for ms in common.observed_ms]
        if not minutes:
            continue
        site_ids = [record.sites[n] for n in common.sites]
        columns: tuple[list[Any], ...] = (minutes, site_ids, common.device_ids, common.seqs, common.digests)
        if day_of(max(minutes)) == (day := day_of(min(minutes))):
            groups.append(DayGroup(common, day, *columns))
            continue
        days = list(map(day_of, minutes))
        for day in sorted(set(days)):
            on_day = [event_day == day for event_day in days]
            groups.append(DayGroup(common, day, *(list(compress(column, on_day)) for column in columns)))
    return DecisionsByDay(record, groups)


def screening_facts(records: Iterable[DecisionsByDay]) -> Block:
    """Returns one row of `screening_facts` for each decided event."""
    block = Block("screening_facts")
    block.extend_groups([
        ScreeningFactGroup(
            day=group.day, minute=group.minutes, site_id=group.site_ids, device_id=group.device_ids, seq=group.seqs,
            kind=common.kind, direction=common.direction, stage=common.stage, people=common.people,
            outcome=common.outcome, late=int(common.late), reasons=common.reasons, policy=decisions.record.policy,
            shadow_policies=decisions.record.shadows, shadow_outcomes=common.shadow_outcomes, version=decisions.version,
        )
        for decisions in records for group in decisions.groups for common in (group.common,)
    ])  # fmt: skip
    return block


def device_events(records: Iterable[DecisionsByDay]) -> Block:
    """Returns one row of `device_events` for each decided event."""
    block = Block("device_events")
    block.extend_groups([
        DeviceEventGroup(
            day=group.day, device_id=group.device_ids, seq=group.seqs, site_id=group.site_ids, digest=group.digests,
            late=int(group.common.late), version=decisions.version,
        )
        for decisions in records for group in decisions.groups
    ])  # fmt: skip
    return block
