"""The whole system, used through its command line and Kafka only, against the oracle.

Run one engine:      .venv/bin/pytest tests/acceptance -k chdb
Try another run:     ACCEPTANCE_SEED=123 .venv/bin/pytest tests/acceptance -k chdb   (or many: make explore)
More or less of it:  ACCEPTANCE_EVENTS=20000

Readings of the contract that only concern this file (the others stand in oracle/):

R9   `ninezero query` answers while a worker runs; where it refuses (chDB holds its folder for one process), the
     worker is stopped for the time of the query, and started again if the recorder had not caught up.
R10  `--format json`, "one object a row": JSON lines or one array of objects; 64-bit numbers may be text.
R11  A resend may or may not have an outcome and an alert of its own: at least one for each event, at most one for
     each of its records, all the same unless the policy changed in between.
R12  Fields beyond those of the contract are welcome ("additions are welcome") and are not compared; but none may
     hold a token, or a piece of a dead-lettered value.
R13  The key of a dead letter is its source topic with or without the prefix; `hour` is that of the dead letter's
     `at`, so hours are compared by their sums and their range.
R14  A null `code` in the view push_batches may be null or empty; `issued_at` is compared in whole seconds.
R15  An unknown category need not be echoed.
R16  Site kinds are no closed list in the contract: "checkpoint" and "station" are used.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import transfers

from . import oracle
from .authorities import CANARY
from .client import Client, Tail
from .oracle import CATEGORIES, MINUTE, SECOND, Expected, Record, Rows, difference

COMMAND = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "ninezero"
OUTPUTS = ("screening-outcomes", "screening-alerts", "dead-letters")
WAIT = 240
QUIET = 15
"""Seconds without a change after which the test stops waiting and reports the difference."""


def free_port() -> int:
    """Returns the first of four free ports. They are below the ports of outgoing connections, so that none of these takes one first."""
    for _ in range(100):
        base = random.randrange(10_000, 32_000)
        with ExitStack() as held:
            try:
                for port in range(base, base + 4):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise AssertionError("no four free ports in a row")


@dataclass
class System:
    """One deployment, controlled by the command line and the environment of §8 only."""

    env: dict[str, str]
    folder: Path
    worker: subprocess.Popen[bytes] | None = None

    def run(self, *args: str, check: bool = True, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [COMMAND, *args], env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=seconds
        )
        assert "Traceback" not in done.stderr, done.stderr
        if check:
            assert done.returncode == 0, f"ninezero {' '.join(args)}: {done.returncode}\n{done.stderr}"
        return done

    def start(self) -> None:
        with (self.folder / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                [COMMAND, "worker"], env=self.env, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        """Sends SIGTERM, and kills the process group after half a minute. The group is a session of its own."""
        if self.worker is None:
            return
        self.worker.terminate()
        try:
            self.worker.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.worker.pid, signal.SIGKILL)
            self.worker.wait(10)
        self.worker = None

    def alive(self) -> None:
        assert self.worker is None or self.worker.poll() is None, f"the worker ended:\n{self.log()}"

    def log(self) -> str:
        return (self.folder / "worker.log").read_text(errors="replace")[-3000:]

    def query(self, sql: str) -> list[dict[str, Any]] | None:
        """Returns rows as objects (R10), or None if the command failed."""
        done = self.run("query", sql, "--format", "json", check=False)
        if done.returncode != 0:
            assert done.returncode == 1
            assert len(done.stderr.strip().splitlines()) == 1, f"more than one line: {done.stderr}"
            self.rejection = done.stderr.strip()
            return None
        text = done.stdout.strip()
        if text.startswith("["):
            rows: list[dict[str, Any]] = json.loads(text)
            return rows
        return [json.loads(line) for line in text.splitlines()]

    rejection: str = field(default="", init=False)


@pytest.fixture(params=["chdb", pytest.param("server", marks=pytest.mark.server)])
def clickhouse(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ClickHouse of either engine."""
    if request.param == "chdb":
        return f"chdb://{tmp_path}/clickhouse"
    server = request.getfixturevalue("clickhouse_server")
    return server if isinstance(server, str) else str(server.url)


@pytest.fixture
def system(kafka: Any, clickhouse: str, tmp_path: Path) -> Iterator[System]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("NINEZERO_")}
    env |= {
        "NINEZERO_KAFKA": kafka.bootstrap,
        "NINEZERO_CLICKHOUSE": clickhouse,
        "NINEZERO_ORDER": "TEST-2026-1",
        "NINEZERO_SUNSET": "2099-01-01T00:00:00+00:00",
        "NINEZERO_TOPIC_PREFIX": f"t{secrets.token_hex(4)}.",
        "NINEZERO_HTTP": f"127.0.0.1:{free_port()}",
    }
    system = System(env, tmp_path)
    yield system
    system.stop()


# --- reading the results --------------------------------------------------------------------------------------


def _json(record: Record) -> dict[str, Any]:
    value = json.loads(record.value)
    assert isinstance(value, dict)
    return value


def _instant(text: Any) -> int:
    moment = oracle.instant(text)
    assert moment is not None, f"not RFC 3339 with an offset: {text}"
    return moment


Identity = tuple[str, int]


def _sent(records: list[Record], expected: Expected) -> Counter[Identity]:
    """Returns the number of valid records of each event."""
    found: Counter[Identity] = Counter()
    for record in records:
        if record.topic != oracle.PUSHES and (record.topic, record.partition, record.offset) not in expected.dead:
            event = json.loads(record.value)
            found[event["device_id"], event["seq"]] += 1
    return found


def outcomes_of(records: list[Record]) -> dict[Identity, list[tuple[Any, ...]]]:
    """Returns (site, outcome, people) of each event, once for each outcome record."""
    found: dict[Identity, list[tuple[Any, ...]]] = {}
    for record in records:
        batch = _json(record)
        assert record.key == batch["site_id"].encode()
        assert _instant(batch["at"]) <= record.at + 5 * SECOND
        assert isinstance(batch["watchlist_version"], int)
        for device_id, seq, outcome, people in batch["outcomes"]:
            found.setdefault((device_id, seq), []).append((batch["site_id"], outcome, tuple(people)))
    return found


def _entry(entry: dict[str, Any]) -> tuple[Any, ...]:
    names = ("matched", "category", "authority", "list", "batch_id", "entry_id")
    return (*(entry[name] for name in names), _instant(entry["valid_to"]))


def _of_screening(records: list[Record]) -> list[Record]:
    """Returns the alerts without those about transfers."""
    return [record for record in records if "transfer_id" not in _json(record)]


def alerts_of(records: list[Record]) -> dict[Identity, list[dict[str, Any]]]:
    found: dict[Identity, list[dict[str, Any]]] = {}
    for record in records:
        alert = _json(record)
        assert "correction_of" not in alert, "nothing was withdrawn"
        assert record.key == alert["site_id"].encode()
        found.setdefault((alert["device_id"], alert["seq"]), []).append(alert)
    return found


def _alert_content(alert: dict[str, Any]) -> tuple[Any, ...]:
    reasons = [(r["person"], r["rule"], tuple(_entry(e) for e in r["entries"])) for r in alert["reasons"]]
    return alert["policy"], alert["site_id"], _instant(alert["observed_at"]), alert["outcome"], tuple(reasons)


# --- comparing with the oracle ----------------------------------------------------------------------------------


def check_outcomes(expected: Expected, records: list[Record], sent: Counter[Identity]) -> list[str]:
    actual = outcomes_of(records)
    wanted = {who: (e.site_id, *e.answer(e.policy)) for who, e in expected.events.items()}
    found = {
        who: _one_of(set(answers), wanted.get(who), _allowed(expected, who, lambda e, p: (e.site_id, *e.answer(p))))
        for who, answers in actual.items()
    }
    lines = difference(wanted, found)
    often = {who: len(answers) for who, answers in actual.items() if len(answers) > sent[who]}
    return lines + ([f"  more outcomes than records: {often}"] if often else [])


def _allowed(expected: Expected, who: Identity, content: Callable[[oracle.Decided, str], Any]) -> set[Any]:
    """Returns what may be stated about an event: a resend is judged by the policy of its own time (R11)."""
    event = expected.events.get(who)
    return set() if event is None else {content(event, policy) for policy in event.by_policy}


def _one_of(found: set[Any], wanted: Any, allowed: set[Any]) -> Any:
    """Returns what is wanted if it was found, and nothing that is not allowed; otherwise what was found."""
    if wanted in found and found <= allowed:
        return wanted
    return found.pop() if len(found) == 1 else sorted(map(str, found))


def check_alerts(expected: Expected, records: list[Record], sent: Counter[Identity]) -> list[str]:
    actual = alerts_of(records)
    wanted: dict[Any, Any] = {}
    for who, event in expected.events.items():
        if event.outcome != "clear":
            wanted[who] = _alert_of(event, event.policy)
    found: dict[Any, Any] = {}
    lines = []
    of_alert: dict[str, Identity] = {}
    for who, alerts in actual.items():
        different = {_alert_content(alert) for alert in alerts}
        allowed = _allowed(expected, who, _alert_of)
        if who in wanted:
            found[who] = _one_of(different, wanted[who], allowed)
        elif not different <= allowed:
            found[who] = sorted(map(str, different))
        stated = {(a["alert_id"], str([(r["person"], r["rule"]) for r in a["reasons"]])) for a in alerts}
        if not len(stated) == len({alert_id for alert_id, _ in stated}) == len({rules for _, rules in stated}):
            lines.append(f"  {who}: a resend with the same reasons has another alert_id, or one with others the same")
        if any(of_alert.setdefault(alert_id, who) != who for alert_id, _ in stated):
            lines.append(f"  {who}: shares an alert_id with another event")
        if len(alerts) > sent[who]:
            lines.append(f"  {who}: {len(alerts)} alerts for {sent[who]} records")
        late = {alert["late"] for alert in alerts}
        if who in expected.events and not late <= expected.events[who].late:
            lines.append(f"  {who}: late is {late}, expected {expected.events[who].late}")
        for alert in alerts:
            _instant(alert["decided_at"])
            assert isinstance(alert["watchlist_version"], int)
    return difference(wanted, found) + lines[:10]


def _alert_of(event: oracle.Decided, policy: str) -> tuple[Any, ...]:
    """Returns the content of the alert that a policy requires."""
    reasons = tuple((r.person, r.rule, r.entries) for r in event.by_policy[policy])
    return policy, event.site_id, _instant(event.event["observed_at"]), event.answer(policy)[0], reasons


def check_dead_letters(expected: Expected, records: list[Record], prefix: str) -> list[str]:
    wanted = {where: (dead.size, dead.sha256, "reason and path allowed") for where, dead in expected.dead.items()}
    found: dict[tuple[str, int, int], Any] = {}
    lines = []
    for record in records:
        letter = _json(record)
        where = (letter["topic"], letter["partition"], letter["offset"])
        if where in found:
            lines.append(f"  {where}: dead-lettered twice")
        dead = expected.dead.get(where)
        verdict = "reason and path allowed"
        if dead is not None and letter["reason"] not in dead.fault.reasons:
            verdict = f"reason {letter['reason']} not in {sorted(dead.fault.reasons)} (path {letter['path']!r})"
        elif dead is not None and letter["path"] not in dead.fault.paths:
            verdict = f"path {letter['path']!r} not in {dead.fault.paths}"
        found[where] = (letter["size"], letter["sha256"], verdict)
        if record.key not in (letter["topic"].encode(), (prefix + letter["topic"]).encode()):
            lines.append(f"  {where}: key {record.key!r}")
        _instant(letter["at"])
    return difference(wanted, found) + lines[:10]


def check_receipts(expected: Expected, records: list[Record]) -> list[str]:
    names = ("authority", "list", "mode", "status", "code", "lines_declared", "accepted", "duplicate", "rejected")

    def content_of(receipt: dict[str, Any]) -> tuple[Any, ...]:
        category = receipt["category"] if receipt["category"] in CATEGORIES else "unknown"  # R15
        rejects = tuple((reject["line"], reject["code"]) for reject in receipt["rejects"])
        return (category, *(receipt[name] for name in names), receipt["withdrawn"], rejects)

    receipts = [_json(record) for record in records]
    wanted: dict[Any, Any] = {}
    for receipt in expected.receipts:
        wanted.setdefault(receipt["batch_id"], []).append(content_of(receipt))
    found: dict[Any, Any] = {}
    for receipt in receipts:
        _instant(receipt["at"])
        found.setdefault(receipt["batch_id"], []).append(content_of(receipt))
    keys = [f"  key {r.key!r}" for r, one in zip(records, receipts, strict=True) if r.key != one["authority"].encode()]
    same = {receipt["batch_id"]: receipt for receipt in receipts}
    unequal = [f"  {r['batch_id']}: another receipt the second time" for r in receipts if r != same[r["batch_id"]]]
    return difference(wanted, found) + keys[:10] + unequal[:10]


def check_privacy(sent: list[Record], received: list[Record]) -> list[str]:
    """Checks that no token that was sent, and no part of a malformed value, is on any topic (SCOPE 1, §2)."""
    tokens = {match for record in sent for match in re.findall(rb"\.([0-9a-f]{32})", record.value)}
    lines = []
    for record in received:
        if CANARY.encode() in record.value or CANARY.encode() in (record.key or b""):
            lines.append(f"  {record.topic} {record.partition} {record.offset}: a piece of a bad value")
        if tokens & set(re.findall(rb"(?=([0-9a-f]{32}))", record.value)):
            lines.append(f"  {record.topic} {record.partition} {record.offset}: a token")
    return lines[:10]


@dataclass(frozen=True)
class View:
    """One view of §6: its query, the number of its key columns, and its expected rows."""

    sql: str
    keys: int
    expected: Rows
    numbers: frozenset[str]
    """Columns of whole numbers, which JSON may contain as text (R10)."""

    def rows(self, answer: list[dict[str, Any]]) -> Rows:
        rows: Rows = {}
        for row in answer:
            values = [
                int(value) if name in self.numbers else "" if value is None else value for name, value in row.items()
            ]
            key = tuple(values[: self.keys])
            assert key not in rows, f"two rows for {key}"
            rest = tuple(values[self.keys :])
            rows[key] = rest[0] if len(rest) == 1 else rest
        return rows


def _view(name: str, keys: list[str], values: list[str], run: str, by: str, expected: Rows) -> View:
    columns = [f"{text} AS c{n}" for n, text in enumerate(keys + values)]
    sql = f"SELECT {', '.join(columns)} FROM ninezero.{name} WHERE startsWith({by}, '{run}-')"
    texts = {"site_id", "rule", "mode", "stage", "kind", "direction", "batch_id", "authority", "list", "category"}
    texts |= {"status", "code", "toString(day)"}
    numbers = frozenset(f"c{n}" for n, text in enumerate(keys + values) if text not in texts)
    return View(sql, len(keys), expected, numbers)


def views(expected: Expected, run: str) -> dict[str, View]:
    events = list(expected.events.values())
    counted = list(oracle.COUNTED)
    day = "toString(day)"
    pushed = ["list", "category", "mode", "status", "code", "lines_declared", "accepted", "duplicate"]
    pushed += ["rejected", "withdrawn", "toUnixTimestamp(issued_at)"]
    return {
        "screening_by_minute": _view(
            "screening_by_minute",
            ["toUnixTimestamp(minute)", "site_id"],
            counted,
            run,
            "site_id",
            oracle.screening_by_minute(events),
        ),
        "screening_by_day": _view(
            "screening_by_day",
            [day, "site_id", "kind", "direction"],
            counted,
            run,
            "site_id",
            oracle.screening_by_day(events),
        ),
        "reasons_by_day": _view(
            "reasons_by_day", [day, "site_id", "rule"], ["count"], run, "site_id", oracle.reasons_by_day(events)
        ),
        "arrivals_by_day": _view(
            "arrivals_by_day",
            [day, "site_id", "mode", "stage"],
            ["people"],
            run,
            "site_id",
            oracle.arrivals_by_day(events),
        ),
        "transfers_by_day": _view(
            "transfers_by_day",
            [day, "site_id"],
            ["transfers", "boarded", "delivered", "missing"],
            run,
            "site_id",
            _transfers_by_day(expected),
        ),
        "push_batches": _view(
            "push_batches", ["batch_id", "authority"], pushed, run, "authority", oracle.push_batches(expected.lists)
        ),
    }


def _unknown_categories(rows: Rows) -> Rows:
    """Replaces categories that the contract does not have by `unknown` (R15)."""
    return {k: (v[0], v[1] if v[1] in CATEGORIES else "unknown", *v[2:]) for k, v in rows.items()}


def check_dead_letters_by_hour(system: System, letters: list[Record], before: dict[tuple[str, str], int]) -> list[str]:
    answer = system.query(
        "SELECT toUnixTimestamp(hour) AS h, topic, reason, records FROM ninezero.dead_letters_by_hour"
    )
    if answer is None:
        return [f"  query rejected: {system.rejection}"]
    parsed = [_json(record) for record in letters]
    moments = [_instant(letter["at"]) for letter in parsed]
    wanted: Counter[Any] = Counter((letter["topic"], letter["reason"]) for letter in parsed)
    found: Counter[Any] = Counter({key: -count for key, count in before.items()})
    for row in answer:
        found[row["topic"], row["reason"]] += int(row["records"])
    hours = {int(row["h"]) for row in answer}
    lines = difference(wanted, {key: count for key, count in found.items() if count})
    first, last = (moment // (60 * MINUTE) * 3600 for moment in (min(moments), max(moments)))
    if not before and not all(hour % 3600 == 0 and first <= hour <= last for hour in hours):
        lines.append(f"  hours {sorted(hours)} outside {first} to {last}")
    return lines


def _dead_letters_before(system: System) -> dict[tuple[str, str], int]:
    """A ClickHouse server may hold dead letters of other tests, which have no name of this one."""
    rows = system.query(
        "SELECT topic, reason, sum(records) AS n FROM ninezero.dead_letters_by_hour GROUP BY topic, reason"
    )
    assert rows is not None, system.rejection
    return {(row["topic"], row["reason"]): int(row["n"]) for row in rows}


def check_views(system: System, expected: Expected, run: str, more: Callable[[], list[str]]) -> list[str]:
    """Returns the differences of every view, after the time that the recorder may take (R9)."""
    found: list[str] = ["  not read"]
    until = time.monotonic() + WAIT
    before, changed = found, time.monotonic()
    while found and time.monotonic() < min(until, changed + QUIET):
        system.alive()
        found = _differences(system, expected, run, more)
        if found != before:
            before, changed = found, time.monotonic()
        if found and any("query rejected" in line for line in found):
            print(f"the query was rejected while a worker ran ({system.rejection}); the worker is stopped for it")
            system.stop()
            found = _differences(system, expected, run, more)
            if found:
                system.start()
        if found:
            time.sleep(1)
    return found


def _differences(system: System, expected: Expected, run: str, more: Callable[[], list[str]]) -> list[str]:
    found: list[str] = []
    for name, view in views(expected, run).items():
        answer = system.query(view.sql)
        if answer is None:
            return [f" {name}", f"  query rejected: {system.rejection}"]
        wanted, actual = view.expected, view.rows(answer)
        if name == "push_batches":
            wanted, actual = _unknown_categories(wanted), _unknown_categories(actual)
        lines = difference(wanted, actual)
        found += [f" {name}", *lines] if lines else []
    lines = more()
    return found + ([" dead_letters_by_hour", *lines] if lines else [])


def _journeys(expected: Expected) -> list[transfers.Journey]:
    """Returns the transfers of the accepted arrivals."""
    arrivals = (one.event for one in expected.events.values() if one.event.get("transfer_id"))
    begin = datetime(1970, 1, 1, tzinfo=UTC)
    sent = []
    for event in arrivals:
        if event["stage"] != "registered":
            at = begin + timedelta(microseconds=oracle.instant(event["observed_at"]) or 0)
            sent.append(transfers.Sent(len(sent), event | {"observed_at": at.isoformat()}))
    return transfers.journeys(sent, "Asia/Shanghai")


def _transfers_by_day(expected: Expected) -> Rows:
    names = ("transfers", "boarded", "delivered", "missing")
    rows = transfers.transfers_by_day(_journeys(expected))
    return {(str(row["day"]), row["site_id"]): tuple(row[name] for name in names) for row in rows}


def check_transfers(system: System, expected: Expected) -> list[str]:
    """Waits for the alerts about transfers, and returns what is wrong about them."""
    found: dict[str, tuple[str, str, str]] = {}
    journeys = _journeys(expected)
    tail = Tail(system.env["NINEZERO_KAFKA"], system.env["NINEZERO_TOPIC_PREFIX"], ("screening-alerts",))

    def wanted() -> set[tuple[str, str, str]]:
        due = transfers.not_delivered(journeys, 6, datetime.now(UTC))
        return {(transfer, site, str(day)) for transfer, site, day in due}

    def done() -> bool:
        for record in tail.records["screening-alerts"]:
            alert = _json(record)
            if alert.get("rule") == "not_delivered":
                found[alert["alert_id"]] = (alert["transfer_id"], alert["site_id"], alert["day"])
        return sorted(found.values()) == sorted(wanted())

    try:
        tail.until(done, 4 * QUIET)
    finally:
        tail.close()
    assert len(wanted()) > 10, "the case that is tested does not occur"
    return [] if done() else difference(dict.fromkeys(wanted(), 1), Counter(found.values()))


# --- the test ---------------------------------------------------------------------------------------------------


def _load_sites(system: System, sites: list[str]) -> None:
    """Loads sites with `sites load`, and waits for the recorder to show them. The last site is left out (R8)."""
    rows = [
        (site, "station" if "-st" in site else "checkpoint", "370115", 100 + n) for n, site in enumerate(sites[:-1])
    ]
    path = system.folder / "sites.csv"
    text = "".join(f"{','.join(map(str, row))}\n" for row in rows)
    path.write_text("site_id,kind,division,capacity\n" + text, encoding="utf-8")
    system.run("sites", "load", str(path))
    run = sites[0].partition("-")[0]
    sql = f"SELECT site_id, kind, division, capacity FROM ninezero.sites WHERE startsWith(site_id, '{run}-')"
    shown: set[tuple[str, str, str, int]] = set()
    end = time.monotonic() + 4 * QUIET
    while shown != set(rows) and time.monotonic() < end:
        answer = system.query(sql)
        assert answer is not None, system.rejection
        shown = {(r["site_id"], r["kind"], str(r["division"]), int(r["capacity"])) for r in answer}
    assert shown == set(rows)


def _wait_until_processed(system: System, expected: Expected, tail: Tail) -> None:
    alerted = {who for who, event in expected.events.items() if event.outcome != "clear"}
    seen: dict[str, set[Any]] = {topic: set() for topic in OUTPUTS}
    place = dict.fromkeys(OUTPUTS, 0)
    last = time.monotonic()

    def quiet() -> bool:
        return time.monotonic() > last + QUIET

    def done() -> bool:
        nonlocal last
        system.alive()
        for topic in OUTPUTS:
            last = time.monotonic() if place[topic] < len(tail.records[topic]) else last
            for record in tail.records[topic][place[topic] :]:
                message = _json(record)
                if topic == "screening-outcomes":
                    seen[topic] |= {(one[0], one[1]) for one in message["outcomes"]}
                elif topic == "screening-alerts":
                    if "transfer_id" not in message:
                        seen[topic].add((message["device_id"], message["seq"]))
                else:
                    seen[topic].add((message["topic"], message["partition"], message["offset"]))
            place[topic] = len(tail.records[topic])
        return (
            expected.events.keys() <= seen["screening-outcomes"]
            and alerted <= seen["screening-alerts"]
            and expected.dead.keys() <= seen["dead-letters"]
        )

    if not tail.until(lambda: done() or quiet(), WAIT) or not done():
        print(
            f"not all processed, and nothing came for {QUIET} s: { ({topic: len(found) for topic, found in seen.items()}) } of"
        )
        print(f"{len(expected.events)} outcomes, {len(alerted)} alerts, {len(expected.dead)} dead letters")
    enough = time.monotonic() + 3  # what resends say, and what should not come at all
    tail.until(lambda: time.monotonic() > enough, 5)


def _decided_in_time(client: Client, outcomes: list[Record], expected: Expected) -> None:
    """The oracle assumes lists that do not change: no window may have ended before the last decision."""
    last = max((_instant(_json(record)["at"]) for record in outcomes), default=0)
    ends = [e.valid_to for e in expected.lists.all() if e.valid_to > client.base]
    if last >= min(ends, default=last + 1):
        pytest.fail(
            "the run took so long that entries expired: the result is undefined; set a smaller ACCEPTANCE_EVENTS"
        )


@pytest.mark.timeout(1200)
def test_all_results_are_what_the_contract_requires(system: System) -> None:
    seed = int(os.environ.get("ACCEPTANCE_SEED") or 20200206)
    run = f"r{secrets.token_hex(3)}"
    print(f"ACCEPTANCE_SEED={seed}, run {run}")
    prefix = system.env["NINEZERO_TOPIC_PREFIX"]
    system.run("topics", "create")
    system.run("migrate")
    before = _dead_letters_before(system)
    count = int(os.environ.get("ACCEPTANCE_EVENTS") or 1500)
    client = Client(system.env["NINEZERO_KAFKA"], prefix, seed, run, count)
    system.start()
    _load_sites(system, client.sites())
    receipts = client.push()
    client.send()
    client.close()
    expected = oracle.expect(client.records)
    sent = _sent(client.records, expected)
    tail = Tail(system.env["NINEZERO_KAFKA"], prefix, OUTPUTS)
    _wait_until_processed(system, expected, tail)
    tail.close()
    received = tail.records
    _decided_in_time(client, received["screening-outcomes"], expected)
    letters = received["dead-letters"]
    checks = {
        "receipts": check_receipts(expected, receipts),
        "outcomes": check_outcomes(expected, received["screening-outcomes"], sent),
        "alerts": check_alerts(expected, _of_screening(received["screening-alerts"]), sent),
        "dead letters": check_dead_letters(expected, letters, prefix),
        "privacy": check_privacy(client.records, [*receipts, *(r for some in received.values() for r in some)]),
        "transfers": check_transfers(system, expected),
        "views": check_views(system, expected, run, lambda: check_dead_letters_by_hour(system, letters, before)),
    }
    report = [line for name, lines in checks.items() if lines for line in (f"{name}:", *lines)]
    assert not report, "\n".join([f"seed {seed}", *report, f"worker's log:\n{system.log()}"])
