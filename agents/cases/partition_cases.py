"""The cases of one partition in memory: facts are added, alerts arise, and closed cases are removed.

Each change also returns what is to be written to Kafka.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from msgspec import convert

from ninezero.agents.cases.kinds import CaseKind
from ninezero.agents.logic.cases.alarms import NOT_DELIVERED, Alarm, CaseStatus, alert_id
from ninezero.agents.logic.days import Days
from ninezero.schemas.events import CareAlert, encode
from ninezero.schemas.ledger_records import ALERT_MARK
from ninezero.schemas.times import FOREVER_US
from ninezero.streams.kafka.records import OutgoingRecord, internal_record
from ninezero.streams.kafka.topics import ALERTS

SETTLE_US = 10 * 1_000_000
"""Time after the last event of a case until a report counts as missing, in µs.

A device that was offline sends the events of days within seconds.
"""

KEEP_CLOSED_US = 14 * 86_400 * 1_000_000
"""Time for which a closed case is kept, in µs."""

_CLOCK_RULES = frozenset({"reading_missed", "visit_overdue", "release_due", "term_exceeded", NOT_DELIVERED})
"""The rules that apply because time has passed and something was not reported. The others apply to what an event reports."""


@dataclass
class Changes:
    """The records to write: messages (alerts and dead letters), and records of the ledger."""

    messages: list[OutgoingRecord] = field(default_factory=list)
    records: list[OutgoingRecord] = field(default_factory=list)


@dataclass
class Case:
    """The facts of a case and the alerts that were raised about it.

    Attributes:
        facts: its facts, by (device_id, seq).
        alert_ids: the alerts that were raised.
        next_check_us: when to check an open case for what was not reported, or when to remove a closed one (Unix time in µs).
        next_alarm_us: in replay mode, when the next alarm could arise by the times of the case's events (Unix time in µs).
    """

    facts: dict[tuple[str, int], Any] = field(default_factory=dict)
    alert_ids: set[str] = field(default_factory=set)
    next_check_us: int = 0
    next_alarm_us: int = 0


class PartitionCases:
    """The cases of one kind in one partition."""

    def __init__(self, kind: CaseKind, days: Days) -> None:
        self._kind, self._days = kind, days
        self._cases: dict[str, Case] = {}

    def restore(self, records: Mapping[bytes, Any], now_us: int) -> None:
        """Adds what the ledger holds: decoded records by key."""
        for key, record in records.items():
            case_id = key.decode().partition("|")[0]
            case = self._cases.setdefault(case_id, Case(next_check_us=now_us + SETTLE_US))
            if isinstance(record, str):
                case.alert_ids.add(record)
            else:
                fact = record.fact()
                case.facts[fact.device_id, fact.seq] = fact

    def latest_us(self) -> int:
        """Returns the time of the latest event of all cases (Unix time in µs); 0 without one."""
        return max(map(_latest_us, self._cases.values()), default=0)

    def add(self, fact: Any, changes: Changes) -> bool:
        """Adds a fact. Returns False if its event was known, whatever its content.

        Raises:
            NeedsUpgradeFinish: the format of the ledger cannot hold the fact, and nothing was added.
        """
        case_id = getattr(fact, self._kind.number_field)
        case, key = self._cases.get(case_id) or Case(), (fact.device_id, fact.seq)
        if key in case.facts:
            return False
        record = self._kind.record.of(fact, self._days.of(fact.observed_us))
        changes.records.append(self._ledger_record(case_id, fact.device_id, str(fact.seq), record))
        case.facts[key] = fact
        self._cases[case_id] = case
        return True

    def due(self, now_us: int) -> list[str]:
        """Returns the cases that are to be checked now."""
        return [case_id for case_id, case in self._cases.items() if case.next_check_us <= now_us]

    def after_events(self, case_id: str, now_us: int, changes: Changes) -> None:
        """Raises the alerts about what new facts report. What was not reported is checked once the events have settled."""
        self._raise_alerts(case_id, now_us, changes, include_clock=False)
        self._cases[case_id].next_check_us = now_us + SETTLE_US

    def before_event_in_replay(self, fact: Any, changes: Changes) -> None:
        """Raises the alerts that the clock would have raised about the case of a fact before the fact was observed."""
        case = self._cases.get(fact.case_id)
        if case is not None and case.next_alarm_us <= fact.observed_us and _latest_us(case) <= fact.observed_us:
            self._raise_alerts(fact.case_id, fact.observed_us, changes, include_clock=True)

    def after_event_in_replay(self, case_id: str, changes: Changes) -> None:
        """Raises all alerts of a case as of its latest event."""
        case = self._cases[case_id]
        latest_us = _latest_us(case)
        status = self._raise_alerts(case_id, latest_us, changes, include_clock=True)
        case.next_alarm_us = status.next_us or latest_us

    def check(self, case_id: str, now_us: int, changes: Changes) -> None:
        """Raises all alerts of a case as of now. Removes the case if it was closed more than KEEP_CLOSED_US ago."""
        case = self._cases[case_id]
        if not case.facts:  # the facts were deleted, and only alert marks were left behind
            self._remove(case_id, changes)
            return
        status = self._raise_alerts(case_id, now_us, changes, include_clock=True)
        if status.closed_us is None:
            case.next_check_us = status.next_us or now_us + SETTLE_US
            return
        case.next_check_us = status.closed_us + KEEP_CLOSED_US
        if case.next_check_us <= now_us:
            self._remove(case_id, changes)

    def check_in_replay(self, case_id: str, as_of_us: int, now_us: int, changes: Changes) -> None:
        """Raises all alerts of a case as of an instant of the replay. Nothing is removed: the days of a replay are over."""
        if self._cases[case_id].facts:
            status = self._raise_alerts(case_id, as_of_us, changes, include_clock=True)
            self._cases[case_id].next_check_us = FOREVER_US if status.next_us is None else now_us + SETTLE_US

    def _raise_alerts(self, case_id: str, as_of_us: int, changes: Changes, *, include_clock: bool) -> CaseStatus:
        """Adds the alerts that were not raised before, and their marks for the ledger. Returns the status of the case."""
        case = self._cases[case_id]
        status = self._kind.status(list(case.facts.values()), self._days, as_of_us)
        for alarm in status.alarms:
            alert = alert_id(case_id, alarm)
            if alert in case.alert_ids or (alarm.rule in _CLOCK_RULES and not include_clock):
                continue
            case.alert_ids.add(alert)
            message = encode(self._alert(case_id, alert, alarm))
            changes.messages.append(OutgoingRecord(ALERTS, alarm.place.encode(), message))
            changes.records.append(self._ledger_record(case_id, ALERT_MARK, alert, alert))
        return status

    def _alert(self, case_id: str, alert: str, alarm: Alarm) -> CareAlert:
        fields = {
            "alert_id": alert,
            "rule": alarm.rule,
            "case_id": None,
            "site_id": None,
            "district": None,
            "transfer_id": None,
            "day": alarm.day,
            "slot": alarm.slot,
            "at": datetime.fromtimestamp(alarm.at_us / 1_000_000, UTC),
        }
        care_alert: CareAlert = convert(
            fields | {self._kind.number_field: case_id, self._kind.place_field: alarm.place}, CareAlert
        )
        return care_alert

    def _remove(self, case_id: str, changes: Changes) -> None:
        case = self._cases.pop(case_id)
        keys = [_key(case_id, device_id, str(seq)) for device_id, seq in case.facts]
        keys += [_key(case_id, ALERT_MARK, alert) for alert in case.alert_ids]
        changes.records += [OutgoingRecord(self._kind.ledger, key, None) for key in keys]

    def _ledger_record(self, case_id: str, what: str, which: str, value: Any) -> OutgoingRecord:
        return internal_record(self._kind.ledger, _key(case_id, what, which), value)


def _latest_us(case: Case) -> int:
    return max((fact.observed_us for fact in case.facts.values()), default=0)


def _key(case_id: str, what: str, which: str) -> bytes:
    return f"{case_id}|{what}|{which}".encode()
