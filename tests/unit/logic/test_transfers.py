"""Transfers: when staff are alerted of people who boarded and were not delivered, by examples and against an oracle."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from msgspec import convert

from ninezero.agents.cases.kinds import transfer_kind
from ninezero.agents.cases.partition_cases import KEEP_CLOSED_US, SETTLE_US, Changes, PartitionCases
from ninezero.agents.logic.cases import transfers
from ninezero.agents.logic.days import Days
from ninezero.schemas.case_facts import TransferFact, transfer_fact
from ninezero.schemas.events import CareAlert, TransferEvent, decoder
from ninezero.schemas.ledger_records import ALERT_MARK
from ninezero.schemas.rows import FIRST_WINS
from ninezero.schemas.times import unix_micros
from ninezero.streams.kafka.topics import ALERTS, TRANSFER_LEDGER
from tests.transfers import Sent, journeys, not_delivered, random_transfers, transfer_event

ZONE = "Asia/Shanghai"
DAYS = Days(ZONE)
HOURS = 6
LIMIT_US = HOURS * transfers.HOUR_US
NOON = datetime(2026, 3, 1, 4, tzinfo=UTC)


def after(**of: float) -> datetime:
    """Returns a time after noon."""
    return NOON + timedelta(**of)


def fact(body: dict[str, Any], at_ms: int = 0) -> TransferFact:
    return transfer_fact(convert(body, TransferEvent), FIRST_WINS - at_ms)


def alarms(now: datetime, *bodies: dict[str, Any]) -> list[tuple[str, date]]:
    found = transfers.status([fact(body) for body in bodies], DAYS, unix_micros(now), LIMIT_US)
    return [(alarm.place, alarm.day) for alarm in found.alarms]


BOARDED = [transfer_event("boarded", after(minutes=n), n, site="station") for n in range(2)]
DELIVERED = transfer_event("delivered", after(hours=1), 0, site="hall", device="e")
LATER = transfer_event("delivered", after(hours=7), 1, site="hall", device="e")


def test_a_person_who_was_not_delivered_in_six_hours_gives_an_alarm_at_the_first_boarding() -> None:
    assert alarms(after(hours=6), *BOARDED, DELIVERED) == []
    assert alarms(after(hours=6, seconds=10), *BOARDED, DELIVERED) == [("station", date(2026, 3, 1))]


def test_a_transfer_that_delivers_everyone_gives_none() -> None:
    on_time = transfer_event("delivered", after(hours=6), 1, site="hall", device="e")
    assert alarms(after(days=2), *BOARDED, DELIVERED, on_time) == []


def test_a_later_delivery_takes_nothing_back() -> None:
    assert alarms(after(days=2), *BOARDED, DELIVERED, LATER) == [("station", date(2026, 3, 1))]


def test_more_deliveries_than_boardings_are_no_alarm_and_nobody_is_missing() -> None:
    assert alarms(after(days=2), BOARDED[0], DELIVERED, DELIVERED | {"seq": 5}) == []
    assert transfers.missing([fact(BOARDED[0]), fact(DELIVERED), fact(DELIVERED | {"seq": 5})], 2**62) == 0


def test_deliveries_alone_are_no_alarm() -> None:
    assert alarms(after(days=2), DELIVERED, LATER) == []


def test_the_first_boarding_by_observed_at_decides_place_and_day_whatever_arrived_first() -> None:
    earlier = transfer_event("boarded", after(hours=-13), 9, site="other")
    assert alarms(after(days=2), *BOARDED, earlier) == [("other", date(2026, 2, 28))]
    assert alarms(after(days=2), earlier, *BOARDED) == [("other", date(2026, 2, 28))]


def test_who_boards_after_the_time_of_the_transfer_has_not_to_be_delivered_by_its_end() -> None:
    assert alarms(after(days=2), BOARDED[0], DELIVERED, transfer_event("boarded", after(hours=8), 7)) == []


def test_of_two_contents_under_one_number_the_first_that_arrived_counts() -> None:
    wrong, right = fact(DELIVERED | {"stage": "boarded"}, at_ms=5), fact(DELIVERED, at_ms=9)
    found = transfers.status([fact(BOARDED[0]), right, wrong], DAYS, unix_micros(after(days=2)), LIMIT_US)
    assert len(found.alarms) == 1


@pytest.mark.parametrize("hours", [0.5, 24])
def test_the_time_of_a_transfer_is_a_setting(hours: float) -> None:
    end = after(hours=hours, seconds=10)
    status = transfers.status_after(hours)
    assert (
        status(
            [fact(BOARDED[0])],
            DAYS,
            unix_micros(end) - 1,
        ).alarms
        == []
    )
    assert [alarm.at_us for alarm in status([fact(BOARDED[0])], DAYS, unix_micros(end)).alarms] == [
        unix_micros(after(hours=hours))
    ]


class Ledger:
    """The transfers of a partition, as a worker holds them: what it writes to the ledger and sends."""

    def __init__(self) -> None:
        self.cases = PartitionCases(transfer_kind(HOURS), DAYS)
        self.records: dict[bytes, Any] = {}
        self.alerts: list[CareAlert] = []

    def write(self, changes: Changes) -> None:
        assert all(record.topic is ALERTS for record in changes.messages)
        self.alerts += [decoder(CareAlert).decode(record.value or b"") for record in changes.messages]
        for record in changes.records:
            assert record.topic is TRANSFER_LEDGER
            if record.value is None:
                del self.records[record.key]
            else:
                self.records[record.key] = TRANSFER_LEDGER.format.decode(record.headers, record.key, record.value)  # type: ignore[union-attr]

    def receive(self, body: dict[str, Any], now_us: int) -> None:
        changes, one = Changes(), fact(body, now_us // 1000)
        if self.cases.add(one, changes):
            self.cases.after_events(one.transfer_id, now_us, changes)
        self.write(changes)

    def check(self, now_us: int) -> None:
        changes = Changes()
        for transfer_id in self.cases.due(now_us):
            self.cases.check(transfer_id, now_us, changes)
        self.write(changes)

    def restart(self, now_us: int) -> None:
        """Reads the ledger again, as another worker would."""
        self.cases = PartitionCases(transfer_kind(HOURS), DAYS)
        self.cases.restore(self.records, now_us)


def test_a_transfer_is_alerted_of_once_and_leaves_the_ledger_14_days_after_its_first_event() -> None:
    ledger, now = Ledger(), unix_micros(after(minutes=2))
    for body in (*BOARDED, DELIVERED):
        ledger.receive(body, now)
        ledger.receive(body, now)  # sent again
    assert len(ledger.records) == 3 and not any(b"k1." in key for key in ledger.records)
    ledger.check(unix_micros(after(hours=5)))
    assert ledger.alerts == []
    ledger.check(unix_micros(after(hours=6, minutes=1)))
    (alert,) = ledger.alerts
    assert (alert.rule, alert.transfer_id, alert.case_id, alert.site_id, alert.district, alert.slot) == (
        "not_delivered",
        "t1",
        None,
        "station",
        None,
        None,
    )
    assert (alert.day, alert.at) == (date(2026, 3, 1), after(hours=6))
    ledger.receive(LATER, unix_micros(after(hours=7)))
    ledger.receive(
        transfer_event("boarded", after(days=-1), 8), unix_micros(after(hours=8))
    )  # late, and now the first boarding
    for hours in (9, 30, 200):
        ledger.restart(unix_micros(after(hours=hours)))
        ledger.check(unix_micros(after(hours=hours)) + SETTLE_US)
    assert ledger.alerts == [alert]
    assert {key.split(b"|")[1] for key in ledger.records} == {b"d", b"e", ALERT_MARK.encode()}
    ledger.check(unix_micros(after(days=-1)) + KEEP_CLOSED_US - 1)
    assert len(ledger.records) == 6
    ledger.check(unix_micros(after(days=-1)) + KEEP_CLOSED_US)
    assert ledger.records == {}


def test_random_transfers_give_the_alerts_of_the_oracle_in_whatever_order_they_arrive() -> None:
    interesting = {"alert": 0, "late delivery": 0, "restart": 0}
    for seed in range(12):
        rng = random.Random(seed)
        sent = [(at, n, body) for n, (at, body) in enumerate(random_transfers(rng, NOON, after(days=3), 40))]
        received: list[Sent] = []
        ledger = Ledger()
        for at, _, body in sorted(sent, key=lambda one: one[:2]):
            arrives = max(at, datetime.fromisoformat(body["observed_at"]))
            received.append(Sent(unix_micros(arrives) // 1000, body))
        # Every event is received before its transfer is judged; otherwise the order is free.
        order = rng.sample(received, len(received))
        end = after(days=9)
        for n, one in enumerate(order):
            ledger.receive(one.body, unix_micros(NOON) + n)
            if rng.random() < 0.05:
                ledger.restart(unix_micros(NOON) + n)
                interesting["restart"] += 1
        first_wins = [Sent(n, one.body) for n, one in enumerate(order)]
        found = journeys(first_wins, ZONE)
        ledger.check(unix_micros(end))
        expected = not_delivered(found, HOURS, end)
        assert sorted((a.transfer_id or "", a.site_id or "", a.day) for a in ledger.alerts) == sorted(expected), seed
        assert len({alert.alert_id for alert in ledger.alerts}) == len(ledger.alerts)
        interesting["alert"] += len(expected)
        interesting["late delivery"] += sum(
            one.number("delivered") >= one.number("boarded")
            for one in found
            if (one.transfer_id, one.site_id, one.day) in expected
        )
    assert min(interesting.values()) > 15, interesting
