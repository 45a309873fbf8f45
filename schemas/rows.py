"""ClickHouse rows: one struct a table, in the order of its columns, and how events become rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import chain, compress
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import asdict

from ninezero.schemas.case_facts import FollowupFact, QuarantineFact, followup_fact, quarantine_fact
from ninezero.schemas.events import DeadLetter, DecisionGroup, Decisions, PushReceipt

FIRST_WINS = 1 << 43
"""version = FIRST_WINS - time in ms: of several rows with one key the earliest survives (good until the year 2248)."""


class ScreeningFact(NamedTuple):
    """One event with its decision; `minute` is Unix time in s, `day` the local day."""

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
    version: int


class DeviceEvent(NamedTuple):
    """One event of a device, on whatever topic: what completeness is counted from. `site_id` is the district for follow-ups."""

    day: date
    device_id: str
    seq: int
    site_id: str
    digest: int
    late: int
    version: int


class DispositionFact(NamedTuple):
    """What staff did, and about which event."""

    day: date
    device_id: str
    seq: int
    site_id: str
    of_device: str
    of_seq: int
    action: str
    override: str
    version: int


class QuarantineFactRow(NamedTuple):
    """One event of a case in quarantine; `observed_us` is Unix time in µs."""

    case_id: str
    observed_us: int
    day: date
    device_id: str
    seq: int
    site_id: str
    type: str
    slot: str
    to_site_id: str
    fever: int
    symptoms: int
    reason: str
    version: int


class FollowupFactRow(NamedTuple):
    """One event of a case under follow-up; `observed_us` is Unix time in µs."""

    case_id: str
    observed_us: int
    day: date
    device_id: str
    seq: int
    district: str
    type: str
    source: str
    batch_id: str
    visit: str
    closed: str
    version: int


NEVER = date(1970, 1, 1)


class QuarantineCase(NamedTuple):
    """What one case adds to each (day, site) up to its last event, and the site where it is from the day `since` on."""

    case_id: str
    version: int
    open: int
    closed_on: date
    site_id: str
    since: date
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


class FollowupCase(NamedTuple):
    """What one case adds to each (day, district) up to its last event; `first_visit` is Unix time in s, or 0."""

    case_id: str
    version: int
    open: int
    closed_on: date
    district: str
    since: date
    opened_on: date
    batch_id: str
    first_visit: int
    closed_as: str
    days: list[date]
    districts: list[str]
    opened: list[int]
    visits: list[int]
    reached: list[int]
    closed: list[int]
    overdue: list[int]
    open_at_end: list[int]
    anomalies: list[int]


class PushReceiptRow(NamedTuple):
    """One receipt; `issued_at` is Unix time in s."""

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
    """Who did what to which list; `at` is Unix time in s, `lines` what the batch declared."""

    at: int
    who: str
    action: str
    batch_id: str
    authority: str
    list: str
    lines: int


class DeadLetterRow(NamedTuple):
    """One dead letter; `hour` is Unix time in s, `at_ms` the record's own time: a topic made again has other records at its offsets."""

    hour: int
    topic: str
    partition: int
    offset: int
    sha256: str
    reason: str
    at_ms: int


class SiteRow(NamedTuple):
    """One site of the register."""

    site_id: str
    kind: str
    division: str
    capacity: int
    version: int


class ProgressRow(NamedTuple):
    """How far a partition is recorded, in which refill, and the rows that prove it (streams/clickhouse/progress.py)."""

    topic: str
    topic_id: str
    partition: int
    next_offset: int
    refill: int
    held: str


TABLES: dict[str, type[NamedTuple]] = {
    "screening_facts": ScreeningFact,
    "device_events": DeviceEvent,
    "disposition_facts": DispositionFact,
    "quarantine_facts": QuarantineFactRow,
    "quarantine_cases": QuarantineCase,
    "followup_facts": FollowupFactRow,
    "followup_cases": FollowupCase,
    "push_receipts": PushReceiptRow,
    "push_audit": AuditRow,
    "dead_letter_facts": DeadLetterRow,
    "site_register": SiteRow,
    "recorder_progress": ProgressRow,
}

KEYS: dict[str, tuple[str, ...]] = {
    "screening_facts": ("day", "minute", "site_id", "device_id", "seq"),
    "device_events": ("day", "device_id", "seq"),
    "disposition_facts": ("day", "device_id", "seq"),
    "quarantine_facts": ("day", "device_id", "seq"),
    "followup_facts": ("day", "device_id", "seq"),
    "push_receipts": ("authority", "batch_id"),
    "push_audit": ("authority", "batch_id", "action"),
    "dead_letter_facts": ("topic", "partition", "offset", "sha256"),
}
"""What finds a row again that was written from Kafka, whatever replaced it since; the day first where rows go with their day, or with their case.
No case number: those must go, and this is kept with the progress."""


VARIED: dict[str, tuple[str, ...]] = {
    "screening_facts": ("minute", "site_id", "device_id", "seq"),
    "device_events": ("device_id", "seq", "site_id", "digest"),
}
"""Columns in which rows differ that have all else in common, as thousands do."""


class Block:
    """Rows of a table, a list a column. Rows that differ only in the varied columns of their table stand as one, with lists there."""

    __slots__ = ("_counted", "_rows", "columns", "fields", "table", "varied")

    def __init__(self, table: str, rows: Block | Sequence[tuple[Any, ...]] = ()) -> None:
        self.table, self.fields, self.varied = table, TABLES[table]._fields, VARIED.get(table, ())
        self._counted = self.fields.index(self.varied[0]) if self.varied else 0
        self.columns: list[list[Any]] = [[] for _ in self.fields]
        self._rows = 0
        self.extend(rows)

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The rows, each on its own."""
        return zip(*self.flat(), strict=True)

    def flat(self) -> list[list[Any]]:
        """The columns of the rows, each on its own."""
        if not self.varied:
            return self.columns
        which = [n for n, varied in enumerate(self.columns[self._counted]) for _ in varied]
        return [
            list(chain.from_iterable(column)) if field in self.varied else [column[n] for n in which]
            for field, column in zip(self.fields, self.columns, strict=True)
        ]

    @property
    def alike(self) -> float:
        """How many rows stand as one, on average."""
        return self._rows / max(len(self.columns[0]), 1)

    def __getitem__(self, field: str) -> list[Any]:
        """The column of that name; a varied one has lists."""
        return self.columns[self.fields.index(field)]

    def last(self, field: str) -> Any:
        """What the last row has in that column."""
        value = self[field][-1]
        return value[-1] if field in self.varied else value

    def extend(self, more: Block | Sequence[tuple[Any, ...]]) -> None:
        """Adds rows."""
        if isinstance(more, Block):
            self._add(more.columns, len(more))
        elif more:
            columns = zip(self.fields, zip(*more, strict=True), strict=True)
            self._add(([[v] for v in some] if field in self.varied else some for field, some in columns), len(more))

    def add(self, groups: Sequence[tuple[Any, ...]]) -> None:
        """Adds groups of rows that have all but the varied columns in common: there each has lists."""
        if groups:
            self._add(zip(*groups, strict=True), sum(len(group[self._counted]) for group in groups))

    def without(self, days: Set[date]) -> Block:
        """The rows of other days."""
        kept = [day not in days for day in self["day"]]
        found = Block(self.table)
        found._add([list(compress(column, kept)) for column in self.columns], 0)
        found._rows = sum(map(len, found.columns[self._counted])) if self.varied else len(found.columns[0])
        return found

    def _add(self, columns: Iterable[Iterable[Any]], count: int) -> None:
        for mine, some in zip(self.columns, columns, strict=True):
            mine.extend(some)
        self._rows += count


class Part(NamedTuple):
    """Decisions that are of one local day as well; minutes are Unix time in s."""

    alike: DecisionGroup
    day: date
    minutes: list[int]
    site_ids: list[str]
    device_ids: list[str]
    seqs: list[int]
    digests: list[int]


class Decided(NamedTuple):
    """A record, and its decisions by days, in its order."""

    record: Decisions
    parts: list[Part]

    @property
    def days(self) -> set[date]:
        """Those of its events."""
        return {part.day for part in self.parts}


def decided(record: Decisions, day_of: Callable[[int], date]) -> Decided:
    """Parts a record by days."""
    parts = []
    for alike in record.decisions:
        minutes = [ms // 60_000 * 60 for ms in alike.observed_ms]
        if not minutes:
            continue
        site_ids = [record.sites[n] for n in alike.sites]
        columns: tuple[list[Any], ...] = (minutes, site_ids, alike.device_ids, alike.seqs, alike.digests)
        if day_of(max(minutes)) == (day := day_of(min(minutes))):
            parts.append(Part(alike, day, *columns))
            continue
        days = list(map(day_of, minutes))
        for day in sorted(set(days)):
            own = [it == day for it in days]
            parts.append(Part(alike, day, *(list(compress(column, own)) for column in columns)))
    return Decided(record, parts)


def screening_facts(made: Iterable[Decided]) -> Block:
    """Facts of decisions records."""
    block = Block("screening_facts")
    block.add([
        (part.day, part.minutes, part.site_ids, part.device_ids, part.seqs, alike.kind, alike.direction, alike.stage, alike.people,
         alike.outcome, int(alike.late), alike.reasons, FIRST_WINS - record.decided_ms)
        for record, parts in made for part in parts for alike in (part.alike,)
    ])  # fmt: skip
    return block


def decided_events(made: Iterable[Decided]) -> Block:
    """The events of decisions records."""
    block = Block("device_events")
    block.add([
        (part.day, part.device_ids, part.seqs, part.site_ids, part.digests, int(part.alike.late), FIRST_WINS - record.decided_ms)
        for record, parts in made for part in parts
    ])  # fmt: skip
    return block


class Arrived(NamedTuple):
    """An event that workers read as devices sent it: decoded, its local day, and what Kafka and its bytes say of it."""

    event: Any
    day: date
    kafka_ms: int
    digest: int
    late: bool

    @property
    def days(self) -> set[date]:
        """Its own."""
        return {self.day}


def device_event(arrived: Arrived) -> list[DeviceEvent]:
    """The row of one event of a device."""
    event, site = arrived.event, getattr(arrived.event, "site_id", None) or arrived.event.district
    return [
        DeviceEvent(
            arrived.day,
            event.device_id,
            event.seq,
            site,
            arrived.digest,
            int(arrived.late),
            FIRST_WINS - arrived.kafka_ms,
        )
    ]


def disposition(arrived: Arrived) -> list[DispositionFact]:
    """The row of one disposition."""
    e = arrived.event
    return [DispositionFact(arrived.day, e.device_id, e.seq, e.site_id, e.of.device_id, e.of.seq, e.action, e.override or "",
                            FIRST_WINS - arrived.kafka_ms)]  # fmt: skip


def quarantine_fact_row(fact: QuarantineFact, day: date) -> QuarantineFactRow:
    """Returns the row of a quarantine fact that was observed on the local day `day`."""
    flags = {"fever": int(fact.fever), "symptoms": int(fact.symptoms)}
    return QuarantineFactRow(**asdict(fact) | flags, day=day)


def followup_fact_row(fact: FollowupFact, day: date) -> FollowupFactRow:
    """Returns the row of a follow-up fact that was observed on the local day `day`."""
    return FollowupFactRow(**asdict(fact), day=day)


def quarantine_fact_rows(arrived: Arrived, fever_c: float) -> list[QuarantineFactRow]:
    """Returns the row of one event in quarantine. A temperature of `fever_c` (°C) or more is fever."""
    fact = quarantine_fact(arrived.event, FIRST_WINS - arrived.kafka_ms, fever_c)
    return [quarantine_fact_row(fact, arrived.day)]


def followup_fact_rows(arrived: Arrived) -> list[FollowupFactRow]:
    """Returns the row of one event of a follow-up."""
    return [followup_fact_row(followup_fact(arrived.event, FIRST_WINS - arrived.kafka_ms), arrived.day)]


def _seconds(at: datetime) -> int:
    """Unix time in s, as far as a DateTime of ClickHouse goes."""
    return min(max(int(at.timestamp()), 0), 2**32 - 1)


def push_receipts(receipt: PushReceipt) -> list[PushReceiptRow]:
    """The row of one receipt: a confirmed one wins over the held one before it, else the first stays."""
    r = receipt
    if r.confirmation is not None:  # a confirmation that changed nothing
        return []
    version = max((FIRST_WINS << r.confirmed) - int(r.at.timestamp() * 1000), 0)
    return [PushReceiptRow(
        r.batch_id, r.authority, r.list, r.category, r.mode, r.status, r.code or "", r.lines_declared, r.accepted,
        r.duplicate, r.rejected, r.withdrawn, _seconds(r.issued_at), version,
    )]  # fmt: skip


def audit(receipt: PushReceipt) -> list[AuditRow]:
    """What a receipt tells of who did something: `push`, `withdraw` or `confirm`."""
    r = receipt
    if r.confirmation is not None:
        return []
    action = "confirm" if r.confirmed else "withdraw" if r.mode == "withdraw" else "push"
    return [AuditRow(_seconds(r.at), r.by, action, r.batch_id, r.authority, r.list, r.lines_declared)]


def dead_letters(letter: DeadLetter) -> list[DeadLetterRow]:
    """The row of one dead letter."""
    at_ms = _seconds(letter.at) * 1000 + letter.at.microsecond // 1000
    hour = at_ms // 3_600_000 * 3600
    return [DeadLetterRow(hour, letter.topic, letter.partition, letter.offset, letter.sha256, letter.reason, at_ms)]


def local_day(timezone: str) -> Callable[[int], date]:
    """Unix time in s → the local day in a time zone."""
    zone = ZoneInfo(timezone)

    @lru_cache(maxsize=100_000)
    def day(seconds: int) -> date:
        return datetime.fromtimestamp(seconds, UTC).astimezone(zone).date()

    return day
