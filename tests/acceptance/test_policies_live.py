"""Policies on real engines: a province of twenty districts, policies that change within the load, and kill -9 meanwhile.

Try another run:  POLICY_SEED=123 .venv/bin/pytest tests/acceptance/test_policies_live.py   (or many: make explore)

The tests use one deployment in replay mode, where a policy holds by the time at which an event was observed, so no test waits for it.
They use one model, in this order.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import KafkaAdminClient

from ninezero.streams.local_kafka.broker import Broker
from tests.support import wait_for

from . import oracle
from .client import Tail
from .fleet import SECOND_WORKER, Fleet
from .operators import policy
from .oracle import POLICIES, SECOND, Rows, difference
from .province import DISTRICTS, Province, sites
from .rendering import rfc3339
from .test_acceptance import OUTPUTS, _of_screening, _sent, _view, check_alerts, check_outcomes

pytestmark = pytest.mark.timeout(480)

SEED = int(os.environ.get("POLICY_SEED") or 370115)
ROLES = ("lists", "ledgers", "recording", "screening", SECOND_WORKER)


@pytest.fixture(scope="module")
def fleet(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(kafka.bootstrap, tmp_path_factory.mktemp("province"), NINEZERO_REPLAY="1")
    fleet.prepare()
    try:
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture(scope="module")
def province(fleet: Fleet) -> Iterator[Province]:
    """Sites, a history of policies, lists, and running workers."""
    with closing(Province(fleet.env["NINEZERO_KAFKA"], fleet.prefix, SEED, replay=True)) as province:
        begin(fleet, province)
        yield province


def begin(fleet: Fleet, province: Province) -> None:
    """Registers sites, writes policies, starts the workers and pushes lists."""
    path = fleet.folder / "sites.csv"
    rows = "".join(f"{','.join(map(str, site))}\n" for site in sites(province.run))
    path.write_text("site_id,kind,division,capacity\n" + rows, encoding="utf-8")
    command(fleet, "register", "site", str(path))
    province.load_register()
    province.write_policies(150)
    last = fleet.folder / "last.json"
    last.write_text(
        json.dumps(policy(province.rng, "last", 1) | {"home": "site", "max_list_age_s": 900, "author": "li"})
    )
    start = province.now() + (-60 if province.expected.policies.replay else 80) * SECOND + 123_000
    command(fleet, "policy", "activate", str(last), "--from", rfc3339(start), "--by", "wang", "--yes")
    province.load_policies(2)
    assert province.operators.reasons[-2:] == [None, None]
    fleet.start(*ROLES)
    batches = province.push()
    with closing(Tail(province.bootstrap, fleet.prefix, ["push-receipts"])) as tail:
        assert tail.until(lambda: len(tail.records["push-receipts"]) == len(batches), 60), fleet.logs()[-3000:]
    fleet.wait_ready()


def command(fleet: Fleet, *arguments: str) -> None:
    done = fleet.run(*arguments)
    assert done.returncode == 0, done.stderr


def alive(fleet: Fleet) -> None:
    ended = [role for role, process in fleet.workers.items() if process.poll() not in (None, -9)]
    assert not ended, f"{ended} ended:\n{fleet.logs()[-3000:]}"


def wait_decided(fleet: Fleet, province: Province, tail: Tail) -> None:
    """Waits until every event has its outcome, and its alert if it needs one."""
    expected = province.expected.events
    alerted = {who for who, event in expected.items() if event.outcome != "clear"}
    seen: dict[str, set[Any]] = {"screening-outcomes": set(), "screening-alerts": set()}
    place = dict.fromkeys(seen, 0)

    def done() -> bool:
        alive(fleet)
        tail.poll()
        for topic, found in seen.items():
            for record in tail.records[topic][place[topic] :]:
                message = json.loads(record.value)
                if topic == "screening-outcomes":
                    found |= {(one[0], one[1]) for one in message["outcomes"]}
                elif "device_id" in message:
                    found.add((message["device_id"], message["seq"]))
            place[topic] = len(tail.records[topic])
        return expected.keys() <= seen["screening-outcomes"] and alerted <= seen["screening-alerts"]

    wait_for(done, 40, "outcomes")


def check_results(fleet: Fleet, province: Province, former: Rows | None = None) -> None:
    """Checks every outcome, alert and view. What was not committed before a kill is decided again. The view of policies keeps what
    it had of a former topic."""
    expected, sent = province.expected, _sent(province.sent, province.expected)
    sent.update(dict.fromkeys(sent, fleet.kills))
    with closing(Tail(province.bootstrap, fleet.prefix, OUTPUTS)) as tail:
        wait_decided(fleet, province, tail)
        check = {
            "outcomes": lambda: check_outcomes(expected, tail.records["screening-outcomes"], sent),
            "alerts": lambda: check_alerts(expected, screened(tail), sent),
            "fevers": lambda: difference({case: 1 for case, fever in province.readings.items() if fever}, fevers(tail)),
            "dead letters": lambda: [str(one.value) for one in tail.records["dead-letters"]],
            "views": lambda: check_views(fleet, province, former or {}),
        }
        found: dict[str, list[str]] = {}

        def agreed() -> bool:
            tail.poll()
            found.update({name: lines() for name, lines in check.items()})
            return not any(found.values())

        try:
            wait_for(agreed, 10, "the results of the model")
        except AssertionError:
            report = [line for name, lines in found.items() if lines for line in (f"{name}:", *lines)]
            raise AssertionError("\n".join([*report, fleet.logs()[-3000:]])) from None


def screened(tail: Tail) -> list[oracle.Record]:
    return [one for one in _of_screening(tail.records["screening-alerts"]) if "rule" not in json.loads(one.value)]


def fevers(tail: Tail) -> Counter[str]:
    alerts = [json.loads(one.value) for one in tail.records["screening-alerts"]]
    return Counter(alert["case_id"] for alert in alerts if alert.get("rule") == "fever")


def check_views(fleet: Fleet, province: Province, former: Rows) -> list[str]:
    events, run = list(province.expected.events.values()), province.run
    day, counted = "toString(day)", list(oracle.COUNTED)
    views = {
        "screening_by_minute": (["toUnixTimestamp(minute)", "site_id"], counted, oracle.screening_by_minute(events)),
        "screening_by_day": ([day, "site_id", "kind", "direction"], counted, oracle.screening_by_day(events)),
        "reasons_by_day": ([day, "site_id", "rule"], ["count"], oracle.reasons_by_day(events)),
        "arrivals_by_day": ([day, "site_id", "mode", "stage"], ["people"], oracle.arrivals_by_day(events)),
    }
    wanted = oracle.policies_view(province.expected.policies)
    shown = {key: uses for key, uses in shown_policies(fleet).items() if key in wanted or key not in former}
    found = {"policies": difference(wanted, shown)}
    found["policy_shadow_by_day"] = difference(oracle.policy_shadow_by_day(events), shown_shadows(fleet))
    for name, (keys, values, rows) in views.items():
        view = _view(name, keys, values, run, "site_id", rows)
        found[name] = difference(view.expected, view.rows(fleet.query(view.sql)))
    return [line for name, lines in found.items() if lines for line in (f" {name}", *lines)]


def shown_shadows(fleet: Fleet) -> Rows:
    names = "policy, version, active_outcome, shadow_outcome, events"
    rows = fleet.query(f"SELECT toString(day) AS day, {names} FROM ninezero.policy_shadow_by_day")
    found = {
        tuple(int(v) if name == "version" else v for name, v in row.items() if name != "events"): row for row in rows
    }
    assert len(found) == len(rows)
    return {key: int(row["events"]) for key, row in found.items()}


def shown_policies(fleet: Fleet) -> Rows:
    sql = "SELECT policy, version, status, toUnixTimestamp(effective_from) AS begins, author FROM ninezero.policies"
    shown = fleet.query(f"{sql} WHERE status IN ('active', 'shadow')")
    return dict(Counter((r["policy"], int(r["version"]), r["status"], int(r["begins"]), r["author"]) for r in shown))


def check_cases(province: Province) -> None:
    """Checks that the load has the cases for which it was made."""
    events, policies = province.expected.events.values(), province.expected.policies
    of_policy = Counter(event.policy for event in events)
    assert sum(count > 20 for count in of_policy.values()) > 3, of_policy
    assert sum(outcome != event.outcome for event in events for outcome in event.shadows.values()) > 20
    homes = {policies.home_of(policies.policies.get(e.policy, policies.default), e.site_id) for e in events}
    assert len(homes) > DISTRICTS / 2
    reasons = {why for _, why in policies.refused}
    assert reasons > {"policy_out_of_bounds", "policy_unknown"}, reasons


def send_until_decided(province: Province, count: int) -> None:
    """Sends events, and returns when the first ones are decided."""
    with closing(Tail(province.bootstrap, province.prefix, ["screening-outcomes"])) as tail:
        outcomes = tail.records["screening-outcomes"]
        tail.until(lambda: tail.poll() == 0, 10)
        before = len(outcomes)
        province.send(count)
        tail.until(lambda: len(outcomes) > before, 30)


def test_every_result_is_that_of_the_policy_of_its_event_despite_kills(fleet: Fleet, province: Province) -> None:
    province.send_readings(60)
    for victim in ("screening", SECOND_WORKER, "ledgers"):
        send_until_decided(province, 700)
        fleet.kill(victim)
        fleet.start(victim)
    check_cases(province)
    check_results(fleet, province)


def why_not_ready(fleet: Fleet, role: str) -> str:
    """Returns what a screening worker says when it is asked whether it is ready; nothing if it does not answer."""
    port = fleet.second_http if role == SECOND_WORKER else fleet.http
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError:
        return ""


def test_a_worker_without_its_policies_waits_and_then_decides_by_them(fleet: Fleet, province: Province) -> None:
    screening = ("screening", SECOND_WORKER)
    with closing(KafkaAdminClient(bootstrap_servers=province.bootstrap)) as admin:
        admin.delete_topics([fleet.prefix + POLICIES])
    wait_for(lambda: all(fleet.workers[role].poll() == 1 for role in screening), 20, "the end of the roles")
    fleet.kills += len(screening)
    command(fleet, "topics", "create")
    fleet.start(*(role for role in ROLES if fleet.workers[role].poll() is not None))
    former = oracle.policies_view(province.expected.policies)
    records = province.forget_policies()
    province.write_again(records[:-1])
    sending = province.post(200, again=0)
    wait_for(lambda: all("last@1" in why_not_ready(fleet, role) for role in screening), 20, "a reason why they wait")
    with closing(Tail(province.bootstrap, fleet.prefix, ["screening-outcomes"])) as tail:
        tail.until(lambda: tail.poll() == 0, 10)
        decided = {
            (one[0], one[1]) for r in tail.records["screening-outcomes"] for one in json.loads(r.value)["outcomes"]
        }
    assert not decided & {(e["device_id"], e["seq"]) for e in (json.loads(value) for _, value, _ in sending)}
    province.write_again(records[-1:])
    province.note(sending)
    check_results(fleet, province, former)


@pytest.mark.switching
def test_events_on_both_sides_of_each_switch_keep_their_policy_despite_kills(kafka: Broker, tmp_path: Path) -> None:
    """The same by the clock of the broker: the policies take effect a minute after they were written."""
    fleet = Fleet(kafka.bootstrap, tmp_path)
    fleet.prepare()
    try:
        with closing(Province(kafka.bootstrap, fleet.prefix, SEED + 1, replay=False)) as province:
            begin(fleet, province)
            begins = sorted(use.begins for use in province.expected.policies.uses if use.status == "active")
            victims = iter(("screening", SECOND_WORKER) * 3)
            wait_for(lambda: province.now() > begins[0] - 3 * SECOND, 60, "the first switch")
            due = begins[0]
            while province.now() < begins[0] + 30 * SECOND:
                province.send(25)
                if province.now() >= due and (victim := next(victims, None)):
                    fleet.kill(victim)
                    fleet.start(victim)
                    due = min((one for one in begins if one > due + 4 * SECOND), default=due + 60 * SECOND)
            assert sum(len(event.by_policy) > 1 for event in province.expected.events.values()) > 20
            province.send_readings(60)
            check_cases(province)
            check_results(fleet, province)
    finally:
        fleet.stop()
