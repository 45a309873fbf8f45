"""The rows that every view must have, computed plainly from the events that were recorded.

Nothing here reads ClickHouse or shares code with the recording role. A frozen day keeps the counts that it had when it was frozen.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zlib import crc32
from zoneinfo import ZoneInfo

from ninezero.schemas.events import DeadLetter, PushReceipt, decoder
from ninezero.schemas.rows import PolicyUseRow, ProgressRow
from ninezero.streams.kafka.topics import ALERTS, DEAD_LETTERS, RECEIPTS
from tests import case_oracle, transfers
from tests.acceptance import oracle
from tests.acceptance.oracle import Decided
from tests.view_history import Event, Message

Row = dict[str, Any]
Rows = list[Row]
SILENT_MINUTES, GONE_MINUTES = 30, 24 * 60


@dataclass
class Recorded:
    """What was recorded until now, and the state of the days."""

    zone: str
    events: list[Event] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    sites: list[Any] = field(default_factory=list)
    sealed: set[date] = field(default_factory=set)
    frozen: set[date] = field(default_factory=set)
    dropped: set[date] = field(default_factory=set)
    """The sealed days whose facts were dropped."""
    contents: dict[tuple[str, int], list[Event]] = field(default_factory=lambda: defaultdict(list))
    """The known contents of each number. Those of frozen days are known as long as another was recorded on a day that is not frozen."""
    counted: list[tuple[Event, bool]] = field(default_factory=list)
    """The first contents of the numbers that frozen days count, and whether there was another content at the freeze."""
    frozen_dispositions: dict[date, Rows] = field(default_factory=dict)
    kept_kinds: dict[tuple[str, int], set[date]] = field(default_factory=lambda: defaultdict(set))
    """The days of the dispositions about each scan when days were frozen. Until these days are dropped, its kind is known."""
    transfers: list[transfers.Sent] = field(default_factory=list)
    frozen_transfers: Rows = field(default_factory=list)
    counted_transfers: dict[str, set[date]] = field(default_factory=lambda: defaultdict(set))
    """The transfers that frozen days count, with the later days of which they had events then."""
    policies: list[PolicyUseRow] = field(default_factory=list)
    progress: list[ProgressRow] = field(default_factory=list)

    def state(self, day: date) -> str:
        """Returns how far retention has come with a day."""
        states = {"dropped": self.dropped, "frozen": self.frozen, "sealed": self.sealed}
        return next((state for state, days in states.items() if day in days), "live")

    def record(self, message: Message) -> None:
        """Adds a message, without its events of sealed days."""
        self.messages.append(message)
        if message.transfer is not None and message.transfer.day(self.zone) not in self.sealed:
            self.transfers.append(message.transfer)
        for event in message.events:
            if event.day not in self.sealed:
                self.events.append(event)
                self.contents[event.number].append(event)

    def freeze(self, days: Iterable[date]) -> None:
        """Keeps the counts of some days as they are now, and the kinds of the scans that any disposition names."""
        for event in self.events:
            if "of" in event.body:
                self.kept_kinds[_of(event)].add(event.day)
        rows = dispositions_by_day(self, datetime.now(UTC))
        for day in days:
            self.frozen_dispositions[day] = [row for row in rows if row["day"] == day]
        for day in sorted(days):
            self._freeze_transfers(day)
            self._freeze_numbers(day)

    def _freeze_transfers(self, day: date) -> None:
        """Keeps the counts of the transfers of a day. They count on no other day while their events of later days are known."""
        counted = [one for one in self.journeys() if one.day == day]
        self.frozen_transfers += transfers.transfers_by_day(counted)
        for one in counted:
            self.counted_transfers[one.transfer_id] |= {e.day(self.zone) for e in one.events} - {day}

    def journeys(self) -> list[transfers.Journey]:
        """Returns the transfers that no frozen day counts."""
        known = [
            one for one in self.transfers
            if one.day(self.zone) not in self.dropped and not self.counted_transfers.get(one.body["transfer_id"], set()) - self.dropped
        ]  # fmt: skip
        return [one for one in transfers.journeys(known, self.zone) if one.day not in self.frozen]

    def _freeze_numbers(self, day: date) -> None:
        """Counts the numbers of a day, and forgets those that have no content on a day that is not frozen."""
        self.frozen.add(day)
        for number, some in list(self.contents.items()):
            if day in {event.day for event in some}:
                first = min(some, key=lambda e: e.first_ms)
                self.counted += [(first, _is_conflict(some))] * (first.day == day)
                if self.frozen.issuperset(event.day for event in some):
                    del self.contents[number]

    def numbers(self) -> list[tuple[Event, bool]]:
        """Returns the first content of each number, and whether it has another. A number may occur twice if a day is frozen."""
        firsts = [(min(some, key=lambda e: e.first_ms), _is_conflict(some)) for some in self.contents.values()]
        return self.counted + [(first, several) for first, several in firsts if first.day not in self.frozen]

    def screened(self) -> list[Decided]:
        """Returns each passage and arrival with its first decision."""
        first: dict[Any, Event] = {}
        for event in sorted(self.events, key=lambda e: e.first_ms):
            if "people" in event.body or "person" in event.body:
                first.setdefault((event.number, event.observed_ms // 60_000, event.place), event)
        return [Decided(e.topic.name, e.body, e.value, e.reasons, {e.late}, shadows=e.shadows) for e in first.values()]

    def cases(self, *types: str) -> list[Event]:
        """Returns the events of cases, each with its first content."""
        first: dict[Any, Event] = {}
        for event in sorted(self.events, key=lambda e: e.first_ms):
            if "case_id" in event.body:
                first.setdefault(event.number, event)
        return [event for event in first.values() if not types or event.body["type"] in types]


def _is_conflict(contents: list[Event]) -> bool:
    return len({crc32(event.value) for event in contents}) > 1


def _of(disposition: Event) -> tuple[str, int]:
    """Returns the number of the scan that a disposition is about."""
    return disposition.body["of"]["device_id"], disposition.body["of"]["seq"]


def _named(rows: oracle.Rows, keys: tuple[str, ...], values: tuple[str, ...]) -> Rows:
    found = [
        dict(zip((*keys, *values), (*key, *(row if isinstance(row, tuple) else (row,))), strict=True))
        for key, row in rows.items()
    ]
    return [row | {"day": date.fromisoformat(str(row["day"]))} if "day" in row else row for row in found]


def sites(recorded: Recorded, _: datetime) -> Rows:
    latest: dict[str, Any] = {}
    for row in sorted(recorded.sites, key=lambda row: row.version):
        latest[row.site_id] = row
    return [{name: getattr(r, name) for name in ("site_id", "kind", "division", "capacity")} for r in latest.values()]


def policies(recorded: Recorded, _: datetime) -> Rows:
    latest: dict[tuple[str, int, int], PolicyUseRow] = {}
    for row in sorted(recorded.policies, key=lambda row: row.version):
        latest[row.policy, row.policy_version, row.use] = row
    return [
        {"policy": r.policy, "version": r.policy_version, "status": r.status, "effective_from": _seconds(r.effective_from_ms),
         "author": r.author, "approved_by": r.approved_by, "effective_to": _seconds(r.effective_to_ms)}
        for r in latest.values()
    ]  # fmt: skip


def _seconds(ms: int | None) -> int | None:
    return None if ms is None else ms // 1000


def _screened_except(recorded: Recorded, left_out: set[date]) -> list[Decided]:
    days = {str(day) for day in left_out}
    return [
        d for d in recorded.screened()
        if oracle.day_of(oracle.instant(d.event["observed_at"]) or 0, recorded.zone) not in days
    ]  # fmt: skip


def screening_by_minute(recorded: Recorded, _: datetime) -> Rows:
    return _named(
        oracle.screening_by_minute(_screened_except(recorded, recorded.sealed)), ("minute", "site_id"), oracle.COUNTED
    )


def screening_by_day(recorded: Recorded, _: datetime) -> Rows:
    keys = ("day", "site_id", "kind", "direction")
    return _named(oracle.screening_by_day(recorded.screened(), recorded.zone), keys, oracle.COUNTED)


def reasons_by_day(recorded: Recorded, _: datetime) -> Rows:
    return _named(oracle.reasons_by_day(recorded.screened(), recorded.zone), ("day", "site_id", "rule"), ("count",))


def reasons_by_minute(recorded: Recorded, _: datetime) -> Rows:
    counts: Counter[tuple[int, str]] = Counter()
    at: dict[tuple[int, str], set[str]] = defaultdict(set)
    for decided in _screened_except(recorded, recorded.dropped):
        minute = oracle.minute_of(oracle.instant(decided.event["observed_at"]) or 0)
        for _person, rule in {(r.person, r.rule) for r in decided.reasons}:
            counts[minute, rule] += 1
            at[minute, rule].add(decided.site_id)
    return [{"minute": m, "rule": r, "count": n, "sites": len(at[m, r])} for (m, r), n in counts.items()]


def policy_shadow_by_day(recorded: Recorded, _: datetime) -> Rows:
    rows = oracle.policy_shadow_by_day(recorded.screened(), recorded.zone)
    return _named(rows, ("day", "policy", "version", "active_outcome", "shadow_outcome"), ("events",))


def arrivals_by_day(recorded: Recorded, _: datetime) -> Rows:
    rows = oracle.arrivals_by_day(recorded.screened(), recorded.zone)
    return _named(rows, ("day", "site_id", "mode", "stage"), ("people",))


def transfers_by_day(recorded: Recorded, _: datetime) -> Rows:
    return recorded.frozen_transfers + transfers.transfers_by_day(recorded.journeys())


def _is_kind_kept(recorded: Recorded, scan: Event) -> bool:
    """Returns whether the kind of a scan is known whose day was dropped. Days are frozen in their order."""
    return any(
        day not in recorded.dropped and (day not in recorded.frozen_dispositions or day > scan.day)
        for day in recorded.kept_kinds[scan.number]
    )


def dispositions_by_day(recorded: Recorded, _: datetime) -> Rows:
    kinds: dict[Any, str] = {}
    first: dict[Any, Event] = {}
    for event in sorted(recorded.events, key=lambda e: e.first_ms):
        if "people" in event.body and (event.day not in recorded.dropped or _is_kind_kept(recorded, event)):
            kinds.setdefault(event.number, event.body["kind"])
        elif "of" in event.body:
            first.setdefault(event.number, event)
    counts: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for event in first.values():
        body = event.body
        if event.day not in recorded.frozen_dispositions:
            cell = counts[event.day, event.place, kinds.get(_of(event), ""), body["action"]]
            cell[0] += body["override"] is not None
            cell[1] += 1
    names = ("day", "site_id", "kind", "action", "overrides", "count")
    frozen = [row for rows in recorded.frozen_dispositions.values() for row in rows]
    return frozen + [dict(zip(names, (*key, *cell), strict=True)) for key, cell in counts.items()]


def device_completeness(recorded: Recorded, _: datetime) -> Rows:
    cells: dict[tuple[str, date, str], dict[int, tuple[Event, bool]]] = defaultdict(dict)
    for first, several in recorded.numbers():
        device, seq = first.number
        cells[device, first.day, first.place][seq] = first, several
    runs, rows = [], {}
    for (device, day, place), some in cells.items():
        rows[device, day, place] = {
            "device_id": device, "day": day, "site_id": place, "first_seq": min(some), "last_seq": max(some), "received": len(some),
            "missing": 0, "conflicts": sum(several for _, several in some.values()), "late": sum(e.late for e, _ in some.values()),
        }  # fmt: skip
        ends = (last for last in sorted(some) if last + 1 not in some)
        runs += [(device, start, next(ends), day, place) for start in sorted(some) if start - 1 not in some]
    before: dict[str, int] = defaultdict(lambda: -1)
    for device, start, last, day, place in sorted(runs):
        rows[device, day, place]["missing"] += max(start - before[device] - 1, 0)
        before[device] = max(before[device], last)
    return list(rows.values())


def devices_silent(recorded: Recorded, now: datetime) -> Rows:
    last: dict[str, Event] = {}
    for event in recorded.events:
        if event.day >= now.date() - timedelta(days=2):
            known = last.get(event.body["device_id"])
            if known is None or known.first_ms < event.first_ms:
                last[event.body["device_id"]] = event
    rows = []
    for device, event in last.items():
        heard = event.first_ms // 1000
        minutes = (int(now.timestamp()) - heard) / 60
        if SILENT_MINUTES <= minutes < GONE_MINUTES:
            rows.append({"device_id": device, "site_id": event.place, "last_heard": heard, "minutes": int(minutes)})
    return rows


def _receipts(recorded: Recorded) -> list[PushReceipt]:
    read = decoder(PushReceipt).decode
    found = [read(message.value) for message in recorded.messages if message.topic is RECEIPTS]
    return [receipt for receipt in found if receipt.confirmation is None]


def push_batches(recorded: Recorded, _: datetime) -> Rows:
    last: dict[Any, PushReceipt] = {}
    for receipt in sorted(_receipts(recorded), key=lambda r: r.at):
        known = last.get((receipt.authority, receipt.batch_id))
        if known is None or (receipt.confirmed and not known.confirmed):
            last[receipt.authority, receipt.batch_id] = receipt
    names = ("batch_id", "authority", "list", "category", "mode", "status", "code", "lines_declared", "accepted", "duplicate", "rejected", "withdrawn")  # fmt: skip
    return [
        {name: getattr(r, name) or "" if name == "code" else getattr(r, name) for name in names}
        | {"issued_at": int(r.issued_at.timestamp())}
        for r in last.values()
    ]


def watchlist_audit(recorded: Recorded, _: datetime) -> Rows:
    rows = {
        (int(r.at.timestamp()), r.by, "confirm" if r.confirmed else "withdraw" if r.mode == "withdraw" else "push",
         r.batch_id, r.authority, r.list, r.lines_declared)
        for r in _receipts(recorded)
    }  # fmt: skip
    return [
        dict(zip(("at", "who", "action", "batch_id", "authority", "list", "lines"), row, strict=True)) for row in rows
    ]


def dead_letters_by_hour(recorded: Recorded, _: datetime) -> Rows:
    read = decoder(DeadLetter).decode
    letters = {message.value: read(message.value) for message in recorded.messages if message.topic is DEAD_LETTERS}
    rows = oracle.dead_letters_by_hour(
        (int(one.at.timestamp() * 1e6), one.topic, one.reason) for one in letters.values()
    )
    return _named(rows, ("hour", "topic", "reason"), ("records",))


def recording_freshness(recorded: Recorded, _: datetime) -> Rows:
    latest: dict[tuple[str, int, str], ProgressRow] = {}
    for row in sorted(recorded.progress, key=lambda row: (row.rebuild, row.next_offset)):
        latest[row.topic, row.partition, row.topic_id] = row
    newest: dict[tuple[str, int], ProgressRow] = {}
    for row in sorted(latest.values(), key=lambda row: row.recorded_until_ms):
        newest[row.topic, row.partition] = row
    return [
        {
            "topic": row.topic,
            "partition": row.partition,
            "recorded_until": row.recorded_until_ms // 1000,
            "lag_events": row.lag,
        }
        for row in newest.values()
    ]


def _bodies(recorded: Recorded, place: str) -> list[dict[str, Any]]:
    return [event.body for event in recorded.cases() if place in event.body]


def _case_days(recorded: Recorded, place: str, now: datetime) -> case_oracle.Counts:
    zone = ZoneInfo(recorded.zone)
    count = case_oracle.quarantine if place == "site_id" else case_oracle.followups
    return count(_bodies(recorded, place), zone, now.astimezone(zone).date(), now)


def _case_rows(recorded: Recorded, now: datetime, place: str, names: tuple[str, ...]) -> Rows:
    rows = _case_days(recorded, place, now)
    return [
        {"day": day, place: where} | {name: row[name] for name in names}
        for (day, where), row in rows.items()
        if any(row[name] for name in names)
    ]


def quarantine_by_day(recorded: Recorded, now: datetime) -> Rows:
    names = ("admitted", "released", "transferred_in", "transferred_out", "present", "readings_due", "readings_done", "readings_missed",
             "release_due", "term_exceeded")  # fmt: skip
    return _case_rows(recorded, now, "site_id", names)


def quarantine_anomalies_by_day(recorded: Recorded, now: datetime) -> Rows:
    return _case_rows(recorded, now, "site_id", ("anomalies",))


def quarantine_balance(recorded: Recorded, now: datetime) -> Rows:
    failing = case_oracle.balance(_case_days(recorded, "site_id", now), now.astimezone(ZoneInfo(recorded.zone)).date())
    return [
        {"day": day, "site_id": site, "present": present, "expected": expected, "difference": present - expected, "misplaced": wrong}
        for (day, site), (present, expected, wrong) in failing.items()
    ]  # fmt: skip


def quarantine_occupancy(recorded: Recorded, now: datetime) -> Rows:
    today = now.astimezone(ZoneInfo(recorded.zone)).date()
    days = _case_days(recorded, "site_id", now)
    present = {site: row["present"] for (day, site), row in days.items() if day == today}
    capacity = {row["site_id"]: row["capacity"] for row in sites(recorded, now)}
    return [
        {"site_id": site, "capacity": capacity.get(site, 0), "present": present.get(site, 0), "free": capacity.get(site, 0) - present.get(site, 0)}
        for site in {*present, *capacity}
        if capacity.get(site) or present.get(site)
    ]  # fmt: skip


def followups_by_day(recorded: Recorded, now: datetime) -> Rows:
    names = ("opened", "visits", "reached", "closed", "overdue", "open", "release_due", "term_exceeded")
    return _case_rows(recorded, now, "district", names)


def followup_anomalies_by_day(recorded: Recorded, now: datetime) -> Rows:
    return _case_rows(recorded, now, "district", ("anomalies",))


@dataclass
class _Followup:
    """The first opening, the closing after it, and the first visit between them."""

    opened: Event | None = None
    closed: Event | None = None
    visited: Event | None = None


def _followups(recorded: Recorded) -> list[_Followup]:
    found: dict[str, _Followup] = defaultdict(_Followup)
    for event in sorted(recorded.cases("opened", "visit", "closed"), key=lambda e: (e.observed_ms, e.number)):
        if "district" not in event.body:
            continue
        case, kind = found[event.body["case_id"]], event.body["type"]
        if kind == "opened":
            case.opened = case.opened or event
        elif case.opened is not None and case.closed is None:
            if kind == "closed":
                case.closed = event
            elif case.visited is None:
                case.visited = event
    return [case for case in found.values() if case.opened is not None]


def followup_closings_by_day(recorded: Recorded, _: datetime) -> Rows:
    rows: Counter[tuple[Any, ...]] = Counter()
    for case in _followups(recorded):
        if case.closed is not None and case.opened is not None:
            rows[case.closed.day, case.opened.place, case.closed.body["closed"]] += 1
    return _named(dict(rows), ("day", "district", "closed"), ("count",))


def followup_delay_by_day(recorded: Recorded, _: datetime) -> Rows:
    issued: dict[str, int] = {}
    for receipt in push_batches(recorded, datetime.now(UTC)):
        issued[receipt["batch_id"]] = min(receipt["issued_at"], issued.get(receipt["batch_id"], 1 << 40))
    seconds: dict[tuple[date, str], list[int]] = defaultdict(list)
    for case in _followups(recorded):
        assert case.opened is not None
        if case.visited is not None and case.opened.body["batch_id"] in issued:
            delay = case.visited.observed_ms // 1000 - issued[case.opened.body["batch_id"]]
            seconds[case.opened.day, case.opened.place].append(delay)
    return [
        {"day": day, "district": place, "cases": len(some), "median_hours": round(statistics.median_high(some) / 3600, 2), "max_hours": round(max(some) / 3600, 2)}
        for (day, place), some in seconds.items()
    ]  # fmt: skip


def care_alerts_by_day(recorded: Recorded, _: datetime) -> Rows:
    """Counts the first alert of each id that was sent within 72 hours after its day."""
    zone = ZoneInfo(recorded.zone)
    first: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}
    for message in recorded.messages:
        alert = json.loads(message.value) if message.topic is ALERTS else {}
        if "rule" not in alert:
            continue
        ends = datetime.combine(date.fromisoformat(alert["day"]) + timedelta(days=1), datetime.min.time(), zone)
        if message.timestamp >= (ends.timestamp() + 72 * 3600) * 1000:
            continue
        key = alert["alert_id"], alert["rule"]
        if key not in first or message.timestamp < first[key][0]:
            first[key] = message.timestamp, alert
    rows: Counter[tuple[Any, ...]] = Counter()
    for _, alert in first.values():
        rows[date.fromisoformat(alert["day"]), alert["site_id"] or "", alert["district"] or "", alert["rule"]] += 1
    return _named(dict(rows), ("day", "site_id", "district", "rule"), ("alerts",))


VIEWS: dict[str, Callable[[Recorded, datetime], Rows]] = {
    view.__name__: view
    for view in (
        sites, policies, screening_by_minute, screening_by_day, reasons_by_day, reasons_by_minute, policy_shadow_by_day, arrivals_by_day, transfers_by_day, dispositions_by_day,
        device_completeness, devices_silent, push_batches, watchlist_audit, dead_letters_by_hour, quarantine_by_day,
        quarantine_anomalies_by_day, quarantine_balance, quarantine_occupancy, followups_by_day, followup_anomalies_by_day,
        followup_closings_by_day, followup_delay_by_day, care_alerts_by_day, recording_freshness,
    )
}  # fmt: skip
"""The oracle of each view of the database `ninezero`."""
