"""The rows of the ClickHouse tables in `ninezero_data`: one type per table, its fields in the order of the columns.

Times are Unix times in s unless a field says otherwise; `day` is the local day of the event's `observed_at`.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

FIRST_WINS = 1 << 43
"""version = FIRST_WINS - Unix time in ms: of the rows with one sorting key ClickHouse keeps the highest version, so the
earliest survives (until the year 2248)."""


class ScreeningFact(NamedTuple):
    """One screened event (scan or arrival) with its decision. `stage` is empty for scans.

    `policy` decided it; each of `shadow_policies` would have given the outcome in `shadow_outcomes`. A policy is NAME@VERSION.
    """

    day: date
    minute: int
    site_id: str
    device_id: str
    seq: int
    kind: str
    direction: str
    stage: str
    people: int
    outcome: str
    late: int
    reasons: list[str]
    policy: str
    shadow_policies: list[str]
    shadow_outcomes: list[str]
    version: int


class ScreeningFactGroup(NamedTuple):
    """Screening facts that differ only in minute, site, device and sequence number: those fields hold lists."""

    day: date
    minute: list[int]
    site_id: list[str]
    device_id: list[str]
    seq: list[int]
    kind: str
    direction: str
    stage: str
    people: int
    outcome: str
    late: int
    reasons: list[str]
    policy: str
    shadow_policies: list[str]
    shadow_outcomes: list[str]
    version: int


class DeviceEvent(NamedTuple):
    """One event of a device, from any topic: completeness is computed from these rows.

    `site_id` is the district for follow-up events. `digest` is the CRC-32 of the record's value.
    """

    day: date
    device_id: str
    seq: int
    site_id: str
    digest: int
    late: int
    version: int


class DeviceEventGroup(NamedTuple):
    """Device events that differ only in device, sequence number, site and digest: those fields hold lists."""

    day: date
    device_id: list[str]
    seq: list[int]
    site_id: list[str]
    digest: list[int]
    late: int
    version: int


class DispositionFact(NamedTuple):
    """The action of the staff on an event. `of_device` and `of_seq` identify that event."""

    day: date
    device_id: str
    seq: int
    site_id: str
    of_device: str
    of_seq: int
    action: str
    override: str
    version: int


class TransferFactRow(NamedTuple):
    """One person who boarded a transfer or was delivered by it; `observed_us` is Unix time in µs."""

    day: date
    transfer_id: str
    device_id: str
    seq: int
    site_id: str
    stage: str
    observed_us: int
    version: int


class QuarantineFactRow(NamedTuple):
    """One event of a quarantine case; `observed_us` is Unix time in µs. It is stored in the row of its case."""

    case_id: str
    observed_us: int
    device_id: str
    seq: int
    site_id: str
    type: str
    slot: str
    to_site_id: str
    fever: bool
    symptoms: bool
    reason: str
    term_days: int
    version: int


class FollowupFactRow(NamedTuple):
    """One event of a follow-up case; `observed_us` is Unix time in µs. It is stored in the row of its case."""

    case_id: str
    observed_us: int
    device_id: str
    seq: int
    district: str
    type: str
    source: str
    batch_id: str
    visit: str
    closed: str
    term_days: int
    version: int


NEVER = date(1970, 1, 1)

OPEN = date(2099, 12, 31)
"""`closed_on` of a case that is open."""


class QuarantineCase(NamedTuple):
    """One quarantine case: its events (`facts`, JSON), and its counts for each (day, site) up to its last event.

    An open case has been at `site_id` since the day `since`. Its last day by its term is `last_day`. The lists have one element a
    (day, site).
    """

    case_id: str
    version: int
    closed_on: date
    site_id: str
    since: date
    last_day: date
    facts: str
    days: list[date]
    sites: list[str]
    admitted: list[int]
    released: list[int]
    transferred_in: list[int]
    transferred_out: list[int]
    present: list[int]
    due_am: list[int]
    due_pm: list[int]
    done_am: list[int]
    done_pm: list[int]
    misplaced: list[int]
    anomalies: list[int]
    release_due: list[int]
    term_exceeded: list[int]


class QuarantineKept(NamedTuple):
    """The counts of the quarantine cases that closed from `begins` on, before `ends`, and were deleted."""

    begins: date
    ends: date
    days: list[date]
    sites: list[str]
    admitted: list[int]
    released: list[int]
    transferred_in: list[int]
    transferred_out: list[int]
    present: list[int]
    due_am: list[int]
    due_pm: list[int]
    done_am: list[int]
    done_pm: list[int]
    misplaced: list[int]
    anomalies: list[int]
    release_due: list[int]
    term_exceeded: list[int]


class FollowupCase(NamedTuple):
    """One follow-up case: its events (`facts`, JSON), and its counts for each (day, district) up to its last event.

    `first_visit` is 0 before the first visit. The last day of an open case by its term is `last_day`. The lists have one element a
    (day, district).
    """

    case_id: str
    version: int
    closed_on: date
    district: str
    since: date
    last_day: date
    opened_on: date
    batch_id: str
    first_visit: int
    closed_as: str
    facts: str
    days: list[date]
    districts: list[str]
    opened: list[int]
    visits: list[int]
    reached: list[int]
    closed: list[int]
    overdue: list[int]
    open_at_end: list[int]
    anomalies: list[int]
    release_due: list[int]
    term_exceeded: list[int]


class FollowupKept(NamedTuple):
    """The counts of the follow-up cases that closed from `begins` on, before `ends`, and were deleted.

    After the counts by (day, district): how they were closed by (`closed_on`, district), and the time from push to first
    visit in s by the day on which a case was opened.
    """

    begins: date
    ends: date
    days: list[date]
    districts: list[str]
    opened: list[int]
    visits: list[int]
    reached: list[int]
    closed: list[int]
    overdue: list[int]
    open_at_end: list[int]
    anomalies: list[int]
    release_due: list[int]
    term_exceeded: list[int]
    closing_days: list[date]
    closing_districts: list[str]
    closing_ways: list[str]
    closings: list[int]
    delay_days: list[date]
    delay_districts: list[str]
    delays: list[int]


class CareAlertFact(NamedTuple):
    """One alert about a case or a transfer that was sent. `site_id` or `district` is empty. `version` follows from its Kafka timestamp."""

    day: date
    rule: str
    site_id: str
    district: str
    alert_id: str
    version: int


class PushReceiptRow(NamedTuple):
    """The receipt of one push batch."""

    batch_id: str
    authority: str
    list: str
    category: str
    mode: str
    status: str
    code: str
    lines_declared: int
    accepted: int
    duplicate: int
    rejected: int
    withdrawn: int
    issued_at: int
    version: int


class AuditRow(NamedTuple):
    """A push, withdrawal or confirmation, and who made it. `lines` is the number of lines that the batch declared."""

    at: int
    who: str
    action: str
    batch_id: str
    authority: str
    list: str
    lines: int


class DeadLetterRow(NamedTuple):
    """One dead letter. `at_ms` is the time of the dead letter, Unix time in ms: it distinguishes the records of a topic that
    was deleted and created again, which has other records at the same offsets."""

    hour: int
    topic: str
    partition: int
    offset: int
    sha256: str
    reason: str
    at_ms: int


class SiteRow(NamedTuple):
    """One site of the register of sites."""

    site_id: str
    kind: str
    division: str
    capacity: int
    version: int


class PolicyUseRow(NamedTuple):
    """One use of a policy, or a policy without a use: its `status` is `proposed`, and its times are None.

    `use` counts the uses of the policy from 1, in the order in which they were written. The times are Unix times in ms.
    """

    policy: str
    policy_version: int
    use: int
    status: str
    effective_from_ms: int | None
    effective_to_ms: int | None
    author: str
    approved_by: str
    version: int


class ProgressRow(NamedTuple):
    """How far a partition is recorded; see `Progress` in streams/clickhouse/progress.py. `marks` is JSON."""

    topic: str
    topic_id: str
    partition: int
    rebuild: int
    next_offset: int
    recorded_until_ms: int
    lag: int
    marks: str


class TallyRow(NamedTuple):
    """The number of rows of a table and day in an epoch; see `Tally` in streams/clickhouse/tallies.py."""

    table_name: str
    epoch: int
    day: date
    counted_to_ms: int
    rows: int
    expected: int


class EpochRow(NamedTuple):
    """The begin of an epoch of a table, and its cause; see streams/clickhouse/tallies.py."""

    table_name: str
    epoch: int
    cause: str


TABLES: dict[str, type[NamedTuple]] = {
    "screening_facts": ScreeningFact,
    "device_events": DeviceEvent,
    "disposition_facts": DispositionFact,
    "transfer_facts": TransferFactRow,
    "quarantine_cases": QuarantineCase,
    "quarantine_kept": QuarantineKept,
    "followup_cases": FollowupCase,
    "followup_kept": FollowupKept,
    "care_alert_facts": CareAlertFact,
    "push_receipts": PushReceiptRow,
    "push_audit": AuditRow,
    "dead_letter_facts": DeadLetterRow,
    "site_register": SiteRow,
    "policy_uses": PolicyUseRow,
    "recorder_progress": ProgressRow,
    "recorder_tallies": TallyRow,
    "recorder_epochs": EpochRow,
}

CASE_FACTS: dict[str, type[NamedTuple]] = {"quarantine_facts": QuarantineFactRow, "followup_facts": FollowupFactRow}
"""Rows from Kafka that are stored in the row of their case. In ClickHouse, views of these names show them without case numbers."""

ROW_TYPES = TABLES | CASE_FACTS

KEY_COLUMNS: dict[str, tuple[str, ...]] = {
    "screening_facts": ("day", "minute", "site_id", "device_id", "seq"),
    "device_events": ("day", "device_id", "seq"),
    "disposition_facts": ("day", "device_id", "seq"),
    "transfer_facts": ("day", "device_id", "seq"),
    "quarantine_facts": ("device_id", "seq"),
    "followup_facts": ("device_id", "seq"),
    "care_alert_facts": ("day", "rule", "alert_id"),
    "push_receipts": ("authority", "batch_id"),
    "push_audit": ("authority", "batch_id", "action"),
    "dead_letter_facts": ("topic", "partition", "offset", "at_ms"),
}
"""The columns that identify a row written from Kafka, even after a newer version replaced it. They include `day` in tables
with one partition per day. Keys are stored with the progress, so they never contain the number of a case or a transfer: these must
be deleted."""

TIME_COLUMN = dict.fromkeys(KEY_COLUMNS, "version") | {"push_audit": "at", "dead_letter_facts": "at_ms"}
"""The column that tells when a row written from Kafka was decided or received: `version` (see FIRST_WINS), `at` (Unix time in
s) or `at_ms`."""

VARYING_COLUMNS: dict[str, tuple[str, ...]] = {
    "screening_facts": ("minute", "site_id", "device_id", "seq"),
    "device_events": ("device_id", "seq", "site_id", "digest"),
}
"""The columns in which the rows of one decision group differ; their other columns are equal (schemas/row_block.py)."""
