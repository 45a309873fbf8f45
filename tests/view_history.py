"""A random history of a deployment for the test of the views: what its devices, authorities and workers wrote to Kafka.

It contains what the contract's rules about views are for: resends and replays, several contents under one number, late events,
gaps, devices whose days interleave, events around midnight of two time zones, dispositions before and after their scan.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from typing import Any, NamedTuple, get_args
from zlib import crc32

from ninezero.agents.logic.days import Days
from ninezero.agents.logic.policy.rules import RULES
from ninezero.schemas.events import (
    CareAlert,
    CareRule,
    Correction,
    DeadLetter,
    DecisionGroup,
    Decisions,
    PushReceipt,
    encode,
)
from ninezero.schemas.rows import PolicyUseRow, ProgressRow, SiteRow
from ninezero.streams.kafka.topics import (
    ALERTS,
    ARRIVALS,
    DEAD_LETTERS,
    DECISIONS,
    DISPOSITIONS,
    FOLLOWUPS,
    QUARANTINE,
    RECEIPTS,
    SCANS,
    TRANSFERS,
    Topic,
)
from tests import case_events
from tests.acceptance.oracle import Reason
from tests.transfers import Sent, random_transfers

LATE_MS = 600_000
FIRST_DAY = 12
"""The earliest day of a passage, in days before today."""


@dataclass
class Event:
    """One record of a device as it reached Kafka, with the decision about it if it is a scan or an arrival.

    Attributes:
        at_ms: its Kafka timestamp.
        first_ms: the time by which the first of several contents is found: that of the decision, or the Kafka timestamp.
        shadows: the outcome of each shadow policy.
    """

    topic: Topic
    body: dict[str, Any]
    at_ms: int
    days: Days
    reasons: tuple[Reason, ...] = ()
    first_ms: int = 0
    shadows: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.first_ms = self.at_ms

    @property
    def value(self) -> bytes:
        return encode(self.body)

    @property
    def number(self) -> tuple[str, int]:
        return self.body["device_id"], self.body["seq"]

    @property
    def observed_ms(self) -> int:
        return round(datetime.fromisoformat(self.body["observed_at"]).timestamp() * 1000)

    @property
    def day(self) -> date:
        return self.days.of(self.observed_ms * 1000)

    @property
    def place(self) -> str:
        return str(self.body.get("site_id") or self.body["district"])

    @property
    def late(self) -> bool:
        return self.at_ms - self.observed_ms > LATE_MS


class Message(NamedTuple):
    """One Kafka record. `events` are the events that it records, `transfer` is its transfer event."""

    topic: Topic
    timestamp: int
    value: bytes
    events: tuple[Event, ...] = ()
    transfer: Sent | None = None

    @property
    def key(self) -> bytes:
        """Its Kafka key; only that of a transfer event matters."""
        return self.transfer.body["transfer_id"].encode() if self.transfer else b"k"

    @property
    def headers(self) -> Any:
        """Its Kafka headers."""
        return self.topic.format.headers if self.topic.format else ()


class History:
    """Everything that was written, in random order, and replays of it."""

    def __init__(self, seed: int, now: datetime, days: Days) -> None:
        self.days = days
        self.rng, self._now_ms = random.Random(seed), int(now.timestamp() * 1000)
        self.today, self._times = self.days.of(self._now_ms * 1000), 0
        self.screened: list[Event] = []
        self.dispositions: list[Event] = []
        self.cases = list(self._cases())
        for name in ("d1", "d2", "d3", "d4"):
            self._device(name)
        self._contents_on_two_days()
        self._silent_devices()
        self.receipts, self.letters = list(self._receipts()), list(self._letters())
        self.transfers = list(self._transfers(random.Random(seed)))
        self.alerts = list(self._alerts())

    def messages(self) -> list[Message]:
        """Returns the records in random order; some occur twice."""
        found = [*self._decisions(), *self.receipts, *self.letters, *self.alerts, *self.transfers]
        found += [Message(e.topic, e.at_ms, e.value, (e,)) for e in [*self.dispositions, *self.cases]]
        found += self.rng.sample(found, len(found) // 5)
        self.rng.shuffle(found)
        return found

    def sites(self) -> list[SiteRow]:
        """Returns the registered sites; one was registered again with other values."""
        kinds = {"s1": "checkpoint", "s2": "checkpoint", "s3": "station", "q1": "quarantine", "q2": "quarantine"}
        rows = [SiteRow(site, kind, "370115", 3 * (kind == "quarantine"), 1) for site, kind in kinds.items()]
        return [*rows, SiteRow("s3", "station", "370104", 0, 3), SiteRow("s3", "station", "370105", 0, 2)]

    def policies(self) -> list[PolicyUseRow]:
        """Returns the uses of policies: one without a use, one whose end was set later, and a shadow that was activated."""
        hour = self._now_ms // 3_600_000 * 3_600_000
        begin, middle, end = (hour - days * 86_400_000 for days in (9, 5, 2))
        return [
            PolicyUseRow("lenient", 1, 1, "proposed", None, None, "mei", "", 1),
            PolicyUseRow("strict", 2, 1, "shadow", begin, None, "mei", "jun", 1),
            PolicyUseRow("strict", 2, 1, "shadow", begin, middle, "mei", "jun", 3),
            PolicyUseRow("strict", 2, 2, "active", middle, None, "mei", "lan", 2),
            PolicyUseRow("strict", 10, 1, "active", end, None, "jun", "lan", 2),
            PolicyUseRow("strict", 10, 1, "proposed", None, None, "jun", "", 1),
        ]

    def progress(self) -> list[ProgressRow]:
        """Returns progress of partitions: of a topic that was created again, during a rebuild, and of an empty partition."""
        now = self._now_ms
        rows = [
            ("dispositions", "old", 0, 0, 90, now - 9_000_000, 0),
            ("dispositions", "new", 0, 0, 5, now - 60_000, 3),
        ]
        rows += [("dispositions", "new", 1, 0, 50, now - 30_000, 0), ("dispositions", "new", 1, 0, 70, now - 20_000, 1)]
        rows += [("dispositions", "new", 1, 1, 20, now - 8_000_000, 50), ("push-receipts", "new", 0, 0, 0, now, 0)]
        return [ProgressRow(*row, marks="{}") for row in rows]

    def _kafka_ms(self, observed_ms: int) -> int:
        """Returns a time of arrival that no other record has. It lies a few seconds after a whole minute before now."""
        rng = self.rng
        lag = rng.choice([0, 0, 0, 0, 0, 15, 60, 60 * 30]) * 60_000
        minutes = max((self._now_ms - observed_ms - lag) // 60_000, 0)
        self._times += 1
        return self._now_ms - minutes * 60_000 - 2_000 - self._times

    def _device(self, name: str) -> None:
        """Adds a device. Its numbers follow its clock, except where its days interleave."""
        rng, count = self.rng, 150
        midnight = self.days.start(self.today - timedelta(days=FIRST_DAY)) // 1000
        span = self._now_ms - 4 * 3_600_000 - midnight
        scans: list[int] = []
        kinds = [rng.random() for _ in range(count)]
        for seq, at in enumerate(sorted(rng.random() for _ in range(count))):
            observed = midnight + int(at * span)
            if rng.random() < 0.15:  # near midnight here, or in UTC
                observed = observed // 86_400_000 * 86_400_000 + rng.choice([0, 16]) * 3_600_000 + rng.randrange(-90_000, 90_000)  # fmt: skip
            if rng.random() < 0.1:
                observed += rng.choice([-1, 1]) * 86_400_000
            observed = min(max(observed, midnight), midnight + span)
            kind = kinds[seq]
            if kind < 0.07:
                continue  # lost, or dead-lettered
            if kind < 0.27 and scans:
                following = seq + 1 if seq + 1 < count and 0.27 <= kinds[seq + 1] <= 0.85 else 90_000
                self._disposition(name, seq, observed, [*scans[-6:], *scans[-3:], rng.choice(scans), following, 90_000])
            elif kind > 0.85:
                self._screened(name, seq, observed, arrival=True)
            else:
                scans.append(seq)
                self._screened(name, seq, observed, arrival=False)

    def _screened(self, device: str, seq: int, observed_ms: int, arrival: bool) -> None:
        rng = self.rng
        body: dict[str, Any] = {
            "device_id": device, "seq": seq, "site_id": rng.choice(["s1", "s2", "s3"]), "observed_at": _text(observed_ms),
        }  # fmt: skip
        person: dict[str, Any] = {"role": "traveller", "tokens": {}, "temperature_c": 36.5}
        if arrival:
            body |= {
                "mode": rng.choice(["air", "rail"]), "service": "CA12", "stage": rng.choice(["registered", "boarded", "delivered"]),
                "transfer_id": None, "destination": None, "person": person,
            }  # fmt: skip
        else:
            people = [person] * rng.choice([1, 1, 2, 5])
            body |= {"kind": rng.choice(["vehicle", "pedestrian"]), "direction": rng.choice(["in", "in", "out"]), "people": people}  # fmt: skip
        first = Event(ARRIVALS if arrival else SCANS, body, self._kafka_ms(observed_ms), self.days, self._reasons(body))
        self.screened.append(first)
        if rng.random() < 0.2 and first.day < self.today - timedelta(
            days=3
        ):  # sent again, and decided again under other lists
            self.screened.append(
                Event(first.topic, body, self._kafka_ms(observed_ms + 180_000), self.days, self._reasons(body))
            )
        if rng.random() < 0.15:  # another content under the same number; either of them may have arrived first
            shift = rng.choice([0, 60_000, 3_600_000, *(86_400_000 * n for n in (1, 2, 4, 7))]) * rng.choice([1, -1])
            other = body | {"observed_at": _text(observed_ms + shift)}
            if not arrival:
                other |= rng.choice([{"people": [person] * 3}, {"kind": "vehicle"}, {"site_id": "s4"}, {"direction": "out"}])  # fmt: skip
            else:
                other |= {"stage": "delivered", "site_id": rng.choice(["s1", "s4"])}
            begin = self._now_ms - FIRST_DAY * 86_400_000
            if begin < observed_ms + shift < self._now_ms - 4 * 3_600_000 and other != body:
                self.screened.append(
                    Event(first.topic, other, self._kafka_ms(observed_ms), self.days, self._reasons(other))
                )

    def _reasons(self, body: dict[str, Any]) -> tuple[Reason, ...]:
        rng = self.rng
        if rng.random() < 0.5:
            return ()
        people: list[int | None] = [*range(len(body.get("people", "1")))]
        who = [*people, None] if "people" in body else people
        found = {(rng.choice(who), rng.choice(list(RULES))) for _ in range(rng.choice([1, 1, 2, 4]))}
        if rng.random() < 0.2:  # a rule that applies to several
            found |= {(person, "fever") for person in people}
        return tuple(Reason(person, rule, RULES[rule].outcome) for person, rule in found)

    def _disposition(self, device: str, seq: int, observed_ms: int, of: list[int]) -> None:
        """Adds a disposition of one of some numbers of the device: a scan, one that follows, or one that never existed."""
        rng = self.rng
        body: dict[str, Any] = {
            "device_id": device, "seq": seq, "site_id": rng.choice(["s1", "s2"]), "observed_at": _text(observed_ms), "of": {"device_id": device, "seq": rng.choice(of)},
            "action": rng.choice(["released", "referred", "turned_back"]), "override": rng.choice([None, None, "other"]),
        }  # fmt: skip
        self.dispositions.append(Event(DISPOSITIONS, body, self._kafka_ms(observed_ms), self.days))
        if rng.random() < 0.3:
            other = body | rng.choice(
                [{}, {"action": "sent_to_quarantine"}, {"site_id": "s3"}, {"override": "remeasured"}]
            )
            self.dispositions.append(Event(DISPOSITIONS, other, self._kafka_ms(observed_ms), self.days))

    def _contents_on_two_days(self) -> None:
        """Adds a device whose numbers have two contents, on two of the days that are dropped, frozen, sealed and live later."""
        for seq, agos in enumerate(permutations((11, 8, 7, 3), 2)):
            for site, ago, arrived in zip(("s1", "s2"), agos, (2.5, 1), strict=True):
                observed = self._now_ms - ago * 86_400_000
                body = {
                    "device_id": "two-days", "seq": seq, "site_id": site, "observed_at": _text(observed), "kind": "vehicle",
                    "direction": "in", "people": [{"role": "traveller", "tokens": {}, "temperature_c": 36.5}],
                }  # fmt: skip
                at_ms = self._kafka_ms(self._now_ms - int(arrived * 86_400_000))
                self.screened.append(Event(SCANS, body, at_ms, self.days, self._reasons(body)))

    def _silent_devices(self) -> None:
        """Adds devices that were last heard of 5 to 2,000 minutes ago, one of them resent."""
        for name, minutes in {"awake": [600, 5], "silent": [700, 45], "gone": [2_000], "resent": [90, 40]}.items():
            for seq, ago in enumerate(minutes):
                self._screened(name, seq if name != "resent" else 0, self._now_ms - ago * 60_000 - 2_000, arrival=False)
        for event in self.screened:
            if event.body["device_id"] in ("awake", "silent", "gone", "resent"):
                self._times += 1
                event.at_ms = event.observed_ms - self._times

    def _cases(self) -> Iterator[Event]:
        """Yields the events of cases: some were closed long ago, some lately, some are open."""
        self._made: list[Event] = []
        made = [(case_events.make(self.rng, ago), name) for ago, name in (((13, 11), "old"), ((5, 0), "new"))]
        for events, name in made:
            for ms, event in events:
                observed = round(datetime.fromisoformat(event["observed_at"]).timestamp() * 1000)
                ms = min(ms, observed + 120_000)  # a resend does not tell of its time when it has replaced no row yet
                body = event | {"case_id": f"c.{'ab'[name == 'new'] * 30}{event['case_id'][-2:]}", "device_id": f"{name}-{event['device_id']}"}  # fmt: skip
                self._made.append(
                    Event(QUARANTINE if "site_id" in body else FOLLOWUPS, body, self._kafka_ms(ms), self.days)
                )
        yield from self._made

        admitted = next(e for e in reversed(self._made) if e.body["type"] == "admitted")
        visit = next(e for e in reversed(self._made) if e.body["type"] == "visit")
        unknown = {"case_id": "c." + "c" * 32}
        odd = [  # an open case admitted, transferred to nowhere and released elsewhere; reports about cases that were never opened
            (admitted, {}), (admitted, {"type": "transferred"}), (admitted, unknown | {"type": "reading"}), (visit, unknown),
            (admitted, {"case_id": "c." + "d" * 32}), (admitted, {"case_id": "c." + "d" * 32, "type": "released", "site_id": "q4"}),
        ]  # fmt: skip
        for n, (event, change) in enumerate(odd):
            body = event.body | change | {"device_id": "odd", "seq": 3 * n}
            yield Event(event.topic, body, self._kafka_ms(event.observed_ms), self.days)

    def _decisions(self) -> Iterator[Message]:
        """Yields decisions about up to eight events each, made at the time of the last one."""
        batch: list[Event] = []
        for event in sorted(self.screened, key=lambda e: e.at_ms):
            # Two decisions about one number in one record would have no first one.
            repeated = event.number in {e.number for e in batch}
            if repeated or len(batch) == 8 or event.body["device_id"] in {e.body["device_id"] for e in batch[-3:]}:
                yield self._decided(batch)
                batch = []
            batch.append(event)
        yield self._decided(batch)

    def _decided(self, events: list[Event]) -> Message:
        """Returns the record of decisions. Shadow policies change in the history."""
        days = (self._now_ms - max(event.at_ms for event in events)) / 86_400_000
        return _decisions(events, next(labels for since, labels in SHADOWS if days >= since))

    def _receipts(self) -> Iterator[Message]:
        """Yields receipts of batches. Two authorities use the same names; held batches are confirmed later or never."""
        rng, begin = self.rng, self._now_ms - 20 * 86_400_000
        for n in range(1, 13):
            issued = begin + n * 3_600_000
            held = n % 4 == 0
            receipt = PushReceipt(
                batch_id=f"b{n % 7}", authority="ab"[n // 7], list=rng.choice(["l1", "l2"]), category="close_contact",
                mode=rng.choice(["delta", "full", "withdraw"]), status="held" if held else rng.choice(["applied", "rejected"]),
                code="would_shrink" if held else None, lines_declared=n, accepted=0 if held else n - 1, duplicate=n % 2, rejected=1,
                withdrawn=n % 3, rejects=[], issued_at=_time(issued), at=_time(issued + 5_000), by=rng.choice(["mei", "jun"]),
            )  # fmt: skip
            yield Message(RECEIPTS, issued, encode(receipt))
            if held and n < 12:
                receipt.status, receipt.code, receipt.confirmed, receipt.at = (
                    "applied",
                    None,
                    True,
                    _time(issued + 90_000),
                )
                receipt.by = "lan"
                yield Message(RECEIPTS, issued, encode(receipt))
            receipt.confirmation, receipt.at = "not_held", _time(issued + 99_000)  # a confirmation that changes nothing
            yield Message(RECEIPTS, issued, encode(receipt))

    def _transfers(self, rng: random.Random) -> Iterator[Message]:
        """Yields transfer events. No two of them reach Kafka in the same millisecond."""
        begin, end = (_time(self._now_ms - days * 86_400_000) for days in (FIRST_DAY, 0.5))
        for n, (at, body) in enumerate(random_transfers(rng, begin, end, 150)):
            if datetime.fromisoformat(body["observed_at"]) < end:
                at_ms = (int(at.timestamp()) * 1000) // 100_000 * 100_000 + n
                yield Message(TRANSFERS, at_ms, encode(body), transfer=Sent(at_ms, body))

    def _alerts(self) -> Iterator[Message]:
        """Yields alerts as they were sent: of cases and transfers, some late or again from another place, beside other alerts."""
        rng, rules = self.rng, get_args(CareRule)
        for n in range(120):
            rule, ago = rng.choice(rules), rng.randrange(FIRST_DAY)
            at_home = rule in ("visit_overdue", "symptoms") and rng.random() < 0.7
            day = self.today - timedelta(days=ago)
            alert = CareAlert(
                alert_id=f"{n:032x}", rule=rule, case_id=None if rule == "not_delivered" else case_events.case(n),
                site_id=None if at_home else rng.choice(["q1", "q2", "s3"]), district=rng.choice(["d1", "d2"]) if at_home else None,
                transfer_id=f"t{n}" if rule == "not_delivered" else None, day=day, slot=None, at=_time(self._now_ms),
            )  # fmt: skip
            ends_ms = self.days.end(day) // 1000
            limit = ends_ms + 72 * 3_600_000
            sent = rng.choice([ends_ms, ends_ms + 3_600_000, limit - 1, limit, limit + 1, limit + 86_400_000])
            sent = min(sent, self._now_ms - 60_000)
            yield Message(ALERTS, sent, encode(alert))
            if rng.random() < 0.2:  # a worker that was killed sends it again; the case may have moved meanwhile
                alert.site_id = alert.site_id and "q9"
                yield Message(ALERTS, min(sent + 1000, self._now_ms), encode(alert))
            yield Message(ALERTS, sent, encode(Correction(f"{n:032x}", "s1", _time(sent), "mistake")))

    def _letters(self) -> Iterator[Message]:
        for n in range(40):
            at = self._now_ms - self.rng.randrange(6 * 3_600_000)
            letter = DeadLetter(
                topic=self.rng.choice([SCANS.name, DISPOSITIONS.name]), partition=n % 3, offset=n // 2, path="", size=2,
                reason=self.rng.choice(["not_json", "schema_invalid", "day_sealed"]), sha256=f"{n:064x}", at=_time(at),
            )  # fmt: skip
            yield Message(DEAD_LETTERS, at, encode(letter))


SHADOWS = ((10, ["lenient@1"]), (9, []), (5, ["strict@2"]), (0, ["strict@2", "lenient@10"]))
"""The shadow policies at times until a number of days ago."""


def _decisions(events: list[Event], shadows: list[str]) -> Message:
    """Returns the record of decisions. Their time becomes the events' time of arrival."""
    sites = sorted({event.place for event in events})
    groups: dict[tuple[Any, ...], DecisionGroup] = {}
    for event in events:
        body, decided = event.body, max((r.outcome for r in event.reasons), key=_SEVERITY.index, default="clear")
        rng = random.Random(f"{event.value!r} {event.at_ms}")
        would = [decided if rng.random() < 0.6 else rng.choice(_SEVERITY) for _ in shadows]
        event.shadows = dict(zip(shadows, would, strict=True))
        common = (
            body.get("kind") or body["mode"], body.get("direction", "in"), body.get("stage", ""), len(body.get("people", "1")),
            decided, event.late, tuple(sorted(r.rule for r in event.reasons)), tuple(would),
        )  # fmt: skip
        group = groups.setdefault(common, DecisionGroup(*common[:6], list(common[6]), would, [], [], [], [], []))
        group.sites.append(sites.index(event.place))
        group.device_ids.append(body["device_id"])
        group.seqs.append(body["seq"])
        group.observed_ms.append(event.observed_ms)
        group.digests.append(crc32(event.value))
    at_ms = max(event.at_ms for event in events)
    record = Decisions(
        policy="default@1", shadows=shadows, decided_ms=at_ms, watchlist_version=1, sites=sites, decisions=list(groups.values())
    )  # fmt: skip
    for event in events:
        event.first_ms = at_ms
    return Message(DECISIONS, at_ms, encode(record), tuple(events))


_SEVERITY = ("clear", "hold", "turn_back", "quarantine", "refer")


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _text(ms: int) -> str:
    return _time(ms).isoformat(timespec="milliseconds")
