"""A province: one deployment with a home for each of its sites, and policies that change within a load."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer

from . import oracle
from .client import Tail
from .devices import MAD_TEMPERATURES
from .office import scan, token
from .operators import Operators, policy, spoiled
from .oracle import ARRIVALS, CATEGORIES, DAY, MINUTE, POLICIES, PUSHES, REGISTER, SCANS, SECOND, Expected, Record
from .rendering import MS, rfc3339

DISTRICTS = 20
HEADERS = [("format", b"policies/1")]
QUARANTINE = "quarantine-events"
Sending = tuple[str, bytes, Any]
"""An event that is sent: its topic, its value, and the producer's future."""


def sites(run: str) -> list[tuple[str, str, str, int]]:
    """Returns a checkpoint for each district, some with the division of a township or village, and one without a division."""
    more = ("", "001", "001003")
    found = [(f"{run}-cp{n}", "checkpoint", f"3701{n:02}{more[n % 3]}", n) for n in range(1, DISTRICTS + 1)]
    return [*found, (f"{run}-cp0", "checkpoint", "", 0)]


@dataclass
class LiveOperators(Operators):
    """Operators whose records the broker gets, too. The topic keeps the time by its own clock."""

    send: Callable[[str, bytes, bytes | None], Record] = field(kw_only=True)

    def write(self, key: str, value: dict[str, Any] | None) -> Record:
        if value is not None and 30 <= value.get("max_list_age_s", 0) <= 900:
            value |= {"max_list_age_s": 900}  # no fault of the lists role is tested here
        raw = None if value is None else json.dumps(value)
        record = self.send(POLICIES, key.encode(), None if raw is None else raw.encode())
        self.records.append(record)
        self.reasons.append(self.model.process(record))
        return record

    def elapse(self) -> None:
        self.now_ms = time.time_ns() // 1_000_000


class Province:
    """What is sent to a deployment, and what must follow from it.

    Args:
        bootstrap: the broker.
        prefix: of the topics.
        seed: of everything random.
        replay: whether policies hold by the time at which events were observed.
    """

    def __init__(self, bootstrap: str, prefix: str, seed: int, replay: bool) -> None:
        self.bootstrap, self.prefix = bootstrap, prefix
        self.rng = random.Random(seed)
        self.run = f"p{self.rng.randrange(16**6):06x}"
        self.expected = Expected(policies=oracle.Policies(replay=replay))
        self.sent: list[Record] = []
        """The events."""
        self.readings: dict[str, bool] = {}
        """Whether the reading of each case is a fever by the policy of its time."""
        self.seqs: dict[str, int] = {}
        self.producer: Any = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=2)
        self.operators = LiveOperators(self.rng, self.expected.policies, 0, send=self._send_policy)

    def close(self) -> None:
        self.producer.close()

    def _send(self, topic: str, key: bytes, value: bytes | None, **more: Any) -> Any:
        return self.producer.send(self.prefix + topic, key=key, value=value, **more)

    def _send_policy(self, topic: str, key: bytes, value: bytes | None) -> Record:
        meta = self._send(topic, key, value, headers=HEADERS).get(30)
        return Record(topic, 0, meta.offset, meta.timestamp, key, value or b"")

    def read(self, topic: str, count: int) -> list[Record]:
        """Returns the records of a topic, at least so many."""
        tail = Tail(self.bootstrap, self.prefix, (topic,))
        with closing(tail):
            assert tail.until(lambda: len(tail.records[topic]) >= count, 30), f"{len(tail.records[topic])} of {count}"
            return tail.records[topic]

    def load_register(self) -> None:
        """Passes the sites of the register to the model."""
        for record in self.read(REGISTER, DISTRICTS + 1):
            self.expected.process(record)

    def load_policies(self, count: int) -> None:
        """Passes records that somebody else wrote to the model."""
        known = self.operators.records
        for record in self.read(POLICIES, len(known) + count)[len(known) :]:
            known.append(record)
            self.operators.reasons.append(self.expected.policies.process(record))

    def forget_policies(self) -> list[Record]:
        """Begins a model without policies, for a topic that was created again. Returns the records of the former one."""
        records, former = self.operators.records, self.expected.policies
        self.expected.policies = oracle.Policies(former.default, former.replay, sites=former.sites)
        self.operators = LiveOperators(self.rng, self.expected.policies, 0, send=self._send_policy)
        return records

    def write_again(self, records: Iterable[Record]) -> None:
        """Writes records of a former topic in their order."""
        for record in records:
            assert record.key is not None
            self.operators.write(record.key.decode(), json.loads(record.value) if record.value else None)

    def write_policies(self, records: int) -> None:
        """Writes a random history, and what every load needs: a policy below a floor, one from the future, a use that comes before its
        policy, some that replace each other, and a shadow. The others take effect within ten minutes of now."""
        for _ in range(records):
            self.operators.act()
        low = spoiled(self.rng, policy(self.rng, "low", 1))
        use = {
            "status": "active",
            "effective_from": rfc3339(self.now() + DAY),
            "effective_to": None,
            "approved_by": "chen",
        }
        self.operators.write("low|1", low)
        self.operators.write("low|1|use", use)
        self.operators.write("late|1|use", use)  # before its policy
        self.operators.write("late|1", policy(self.rng, "late", 1))
        self.operators.write("future|1", policy(self.rng, "future", 1))
        self.operators.write("future|1|use", use)
        replay, now = self.expected.policies.replay, self.now()
        for n in range(4):
            start = now + ((n - 3) * MINUTE if replay else (62 + 3 * n) * SECOND) + n
            ends = rfc3339(start + (20 if replay else 2) * SECOND) if n % 2 else None
            self.operators.write(f"turn|{n + 1}", policy(self.rng, "turn", n + 1) | {"fever_c": 36.5 + n / 2})
            self.operators.write(f"turn|{n + 1}|use", use | {"effective_from": rfc3339(start), "effective_to": ends})
        start = now - 5 * MINUTE if replay else now + MINUTE
        self.operators.write("beside|1", policy(self.rng, "beside", 1) | {"fever_c": 38.0, "home": "420106"})
        self.operators.write("beside|1|use", use | {"status": "shadow", "effective_from": rfc3339(start)})

    def push(self) -> list[str]:
        """Pushes a list of each category. Returns the ids of the batches."""
        now = self.now()
        ids = []
        for n, category in enumerate(CATEGORIES):
            window = {"valid_from": rfc3339(now - DAY), "valid_to": rfc3339(now + DAY)}
            subjects = range(n * 5, n * 5 + 4)
            kinds = ("pass", "id") if category == "health_pass" else ("id", "passport", "phone", "plate")
            lines = [
                {"line": s, "tokens": {kind: [token(kind, s, key) for key in ("k1", "k2")] for kind in kinds}, **window}
                for s in subjects
            ]
            ids.append(f"{self.run}-{category}")
            value = {
                "batch_id": ids[-1],
                "authority": f"{self.run}-cdc",
                "pushed_by": "li",
                "list": category,
                "category": category,
            }
            value |= {
                "mode": "delta",
                "sequence": 1,
                "issued_at": rfc3339(now // SECOND * SECOND),
                "legal_basis": "JN-2026-17",
            }
            value |= {"purpose": "epidemic_control", "declared_lines": len(lines), "lines": lines}
            raw = json.dumps(value).encode()
            meta = self._send(PUSHES, b"cdc", raw).get(30)
            self.expected.process(Record(PUSHES, 0, meta.offset, meta.timestamp, b"cdc", raw))
        return ids

    # --- events -------------------------------------------------------------------------------------------------

    @staticmethod
    def now() -> int:
        return time.time_ns() // 1_000_000 * MS

    def moment(self) -> int:
        """Returns when an event was observed: at an end of an interval, next to one, or within nine minutes of now."""
        rng, now = self.rng, self.now()
        ends = {end for use in self.expected.policies.uses for end in (use.begins, use.ends) if end is not None}
        near = [end for end in ends if now - 9 * MINUTE < end < now + 9 * MINUTE]
        if near and rng.random() < 0.3:
            return -(-rng.choice(sorted(near)) // MS) * MS + rng.choice((-MS, 0, 0, MS))
        return now + rng.randrange(-9 * MINUTE, 9 * MINUTE) // MS * MS

    def person(self, person: dict[str, Any]) -> dict[str, Any]:
        rng = self.rng
        policies = list(self.expected.policies.policies.values()) or [oracle.DEFAULT]
        stated = rng.choice(policies)
        bounds = (stated.fever_c, stated.fever_c, *stated.plausible_c)
        usual = (36.2, 35.5, rng.choice(bounds), rng.choice(bounds) - 0.1, None)
        person["temperature_c"] = rng.choices(usual, (8, 2, 2, 2, 1))[0]
        if rng.random() < 0.15:
            person["temperature_confirmed_c"] = rng.choice((35.9, rng.choice(bounds), *MAD_TEMPERATURES))
        person["health_code"] = rng.choice(("green", "green", "none", "yellow", "red"))
        person["origin"] = rng.choice(
            (None, "CN", f"3701{rng.randint(1, DISTRICTS):02}", "370999", "420106", "US", "HK")
        )
        if rng.random() < 0.6:
            person["tokens"] = {"id": token("id", 900 + rng.randrange(90))}
        return person

    def event(self) -> tuple[str, dict[str, Any]]:
        rng = self.rng
        site = f"{self.run}-cp{rng.randint(0, DISTRICTS + 1)}"  # the last one is not in the register
        device = f"{site}_d"
        seq = self.seqs.get(device, 0)
        self.seqs[device] = seq + 1
        event = scan(rng, device, seq, site, self.moment())
        event["people"] = [self.person(person) for person in event["people"]]
        event["direction"] = rng.choice(("in", "in", "out"))
        if rng.random() < 0.75:
            return SCANS, event
        common = {name: event[name] for name in ("device_id", "seq", "site_id", "observed_at")}
        journey = {"mode": "rail", "service": "G12", "stage": "boarded", "transfer_id": None, "destination": None}
        return ARRIVALS, common | journey | {"person": event["people"][0] | {"role": "traveller"}}

    def send(self, count: int) -> None:
        """Sends events, and one in six of those that were sent before once more. They are in the model when this returns."""
        self.note(self.post(count))

    def post(self, count: int, again: float = 1 / 6) -> list[Sending]:
        """Sends events without a word to the model: pass them to `note` then.

        Args:
            count: the number of events.
            again: how often another one is sent once more.
        """
        rng, sending = self.rng, list[Sending]()
        for _ in range(count):
            topic, event = self.event()
            value = json.dumps(event).encode()
            sending.append((topic, value, self._send(topic, event["site_id"].encode(), value)))
            if rng.random() < again:
                topic, value = rng.choice([(one.topic, one.value) for one in self.sent[-300:]] + [(topic, value)])
                key = json.loads(value)["site_id"].encode()
                sending.append((topic, value, self._send(topic, key, value)))
        self.producer.flush()
        return sending

    def note(self, sending: Iterable[Sending]) -> None:
        """Passes events to the model when the broker has acknowledged them."""
        for topic, value, one in sending:
            meta = one.get(30)
            record = Record(topic, meta.partition, meta.offset, meta.timestamp, b"", value)
            self.sent.append(record)
            self.expected.process(record)

    def send_readings(self, count: int) -> None:
        """Sends a reading of each of so many cases."""
        rng, sent = self.rng, []
        for case_id, seq in self._cases(count):
            fevers = sorted({policy.fever_c for policy in self.expected.policies.policies.values()} | {37.3})
            temperature, observed = rng.choice(fevers) - rng.choice((0, 0, 0.1)), self.moment()
            event = {"device_id": f"{self.run}-q", "seq": seq, "case_id": case_id, "site_id": f"{self.run}-hotel"}
            event |= {"observed_at": rfc3339(observed), "type": "reading", "slot": None, "temperature_c": temperature}
            event |= {"symptoms": False, "to_site_id": None, "term_days": None, "reason": None}
            sent.append(
                (case_id, temperature, observed, self._send(QUARANTINE, case_id.encode(), json.dumps(event).encode()))
            )
        policies = self.expected.policies
        for case_id, temperature, observed, future in sent:
            moment = observed if policies.replay else future.get(30).timestamp * MS
            self.readings[case_id] = temperature >= policies.active(moment).fever_c

    def _cases(self, count: int) -> Iterator[tuple[str, int]]:
        first = len(self.readings)
        return ((f"c.{self.rng.randrange(16**32):032x}", first + n) for n in range(count))
