"""Device events, push receipts and dead letters → rows. Each function returns the rows of one message."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, NamedTuple

from msgspec.structs import asdict

from ninezero.agents.policies.policies import Policies
from ninezero.schemas.case_facts import FollowupFact, QuarantineFact, followup_fact, quarantine_fact, transfer_fact
from ninezero.schemas.events import CareAlert, DeadLetter, PushReceipt, TransferEvent
from ninezero.schemas.rows import (
    FIRST_WINS,
    AuditRow,
    CareAlertFact,
    DeadLetterRow,
    DeviceEvent,
    DispositionFact,
    FollowupFactRow,
    PushReceiptRow,
    QuarantineFactRow,
    TransferFactRow,
)
from ninezero.schemas.times import unix_micros

_MAX_SECONDS = 2**32 - 1
"""The latest time that a DateTime of ClickHouse holds, Unix time in s."""


class ReceivedEvent(NamedTuple):
    """An event as a device sent it: decoded, with what Kafka and its bytes add.

    `day` is the local day of `observed_at`, `kafka_ms` the Kafka timestamp (Unix time in ms), `digest` the CRC-32 of the
    value.
    """

    event: Any
    day: date
    kafka_ms: int
    digest: int
    late: bool

    @property
    def days(self) -> set[date]:
        """The local day of the event, as a set."""
        return {self.day}

    @property
    def observed_us(self) -> int:
        """The `observed_at` of the event, Unix time in µs."""
        return unix_micros(self.event.observed_at)

    @property
    def version(self) -> int:
        """The version of its rows: the content that arrived first has the highest."""
        return FIRST_WINS - self.kafka_ms


class ReceivedTransfer(NamedTuple):
    """A transfer event with the local day of its `observed_at` and its Kafka timestamp (Unix time in ms)."""

    event: TransferEvent
    day: date
    kafka_ms: int

    @property
    def days(self) -> set[date]:
        """The local day of the event, as a set."""
        return {self.day}


def device_event(received: ReceivedEvent) -> list[DeviceEvent]:
    """Returns the row of one event of a device. The site of a follow-up event is its district."""
    event = received.event
    return [
        DeviceEvent(
            day=received.day,
            device_id=event.device_id,
            seq=event.seq,
            site_id=getattr(event, "site_id", None) or event.district,
            digest=received.digest,
            late=int(received.late),
            version=received.version,
        )
    ]


def disposition(received: ReceivedEvent) -> list[DispositionFact]:
    """Returns the row of one disposition."""
    event = received.event
    return [
        DispositionFact(
            day=received.day,
            device_id=event.device_id,
            seq=event.seq,
            site_id=event.site_id,
            of_device=event.of.device_id,
            of_seq=event.of.seq,
            action=event.action,
            override=event.override or "",
            version=received.version,
        )
    ]


def transfer(received: ReceivedTransfer) -> list[TransferFactRow]:
    """Returns the row of one transfer event. The content that Kafka received first has the highest version."""
    fact = transfer_fact(received.event, FIRST_WINS - received.kafka_ms)
    return [TransferFactRow(day=received.day, **asdict(fact))]


def quarantine_event(received: ReceivedEvent, policies: Policies, term_days: int) -> list[QuarantineFactRow]:
    """Returns the fact of one quarantine event; see `quarantine_fact`. The policy of the event says what is fever."""
    fever_c = policies.at(policies.time_of(received.kafka_ms, received.observed_us)).active.fever_c
    return [quarantine_fact_row(quarantine_fact(received.event, received.version, fever_c, term_days))]


def followup_event(received: ReceivedEvent, term_days: int) -> list[FollowupFactRow]:
    """Returns the fact of one follow-up event; see `followup_fact`."""
    return [followup_fact_row(followup_fact(received.event, received.version, term_days))]


def quarantine_fact_row(fact: QuarantineFact) -> QuarantineFactRow:
    """Returns the row of a quarantine fact."""
    return QuarantineFactRow(**asdict(fact))


def followup_fact_row(fact: FollowupFact) -> FollowupFactRow:
    """Returns the row of a follow-up fact."""
    return FollowupFactRow(**asdict(fact))


class SentAlert(NamedTuple):
    """An alert about a case or a transfer as it was sent. `kafka_ms` is its Kafka timestamp, Unix time in ms."""

    alert: CareAlert
    kafka_ms: int


def care_alert(sent: SentAlert) -> list[CareAlertFact]:
    """Returns the row of one alert about a case or a transfer."""
    alert = sent.alert
    return [
        CareAlertFact(
            day=alert.day,
            rule=alert.rule,
            site_id=alert.site_id or "",
            district=alert.district or "",
            alert_id=alert.alert_id,
            version=FIRST_WINS - sent.kafka_ms,
        )
    ]


def push_receipt(receipt: PushReceipt) -> list[PushReceiptRow]:
    """Returns the row of the receipt of a batch, or no row if the receipt answers a rejected confirmation.

    The receipt of a confirmed batch replaces the receipt of the held one; otherwise the first receipt of a batch counts.
    """
    if receipt.confirmation is not None:
        return []
    return [
        PushReceiptRow(
            batch_id=receipt.batch_id,
            authority=receipt.authority,
            list=receipt.list,
            category=receipt.category,
            mode=receipt.mode,
            status=receipt.status,
            code=receipt.code or "",
            lines_declared=receipt.lines_declared,
            accepted=receipt.accepted,
            duplicate=receipt.duplicate,
            rejected=receipt.rejected,
            withdrawn=receipt.withdrawn,
            issued_at=_unix_seconds(receipt.issued_at),
            version=max((FIRST_WINS << receipt.confirmed) - int(receipt.at.timestamp() * 1000), 0),
        )
    ]


def push_audit(receipt: PushReceipt) -> list[AuditRow]:
    """Returns the row with who pushed, withdrew or confirmed a batch, or no row for a rejected confirmation."""
    if receipt.confirmation is not None:
        return []
    return [
        AuditRow(
            at=_unix_seconds(receipt.at),
            who=receipt.by,
            action="confirm" if receipt.confirmed else "withdraw" if receipt.mode == "withdraw" else "push",
            batch_id=receipt.batch_id,
            authority=receipt.authority,
            list=receipt.list,
            lines=receipt.lines_declared,
        )
    ]


def dead_letter(letter: DeadLetter) -> list[DeadLetterRow]:
    """Returns the row of one dead letter."""
    at_ms = _unix_seconds(letter.at) * 1000 + letter.at.microsecond // 1000
    return [
        DeadLetterRow(
            hour=at_ms // 3_600_000 * 3600,
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
            sha256=letter.sha256,
            reason=letter.reason,
            at_ms=at_ms,
        )
    ]


def _unix_seconds(at: datetime) -> int:
    return min(max(int(at.timestamp()), 0), _MAX_SECONDS)
