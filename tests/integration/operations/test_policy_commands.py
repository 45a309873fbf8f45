"""`ninezero policy` and `ninezero register site` on a real broker, as their users run them."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from ninezero.agents.doctor.checks import examine
from ninezero.agents.policies.snapshot import PoliciesSnapshot, read_policies
from ninezero.schemas.formats import POLICIES
from ninezero.schemas.policies import PolicyRecord, PolicyUse, policy_key, use_key
from ninezero.schemas.register import CurrentPolicy
from ninezero.streams import settings
from ninezero.streams.kafka import administration
from ninezero.streams.kafka.statements import state, state_policies
from ninezero.streams.local_kafka.broker import Broker
from tests.support import System, wait_for
from tests.typist import Typist

LATER = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)
FROM = LATER.isoformat()


def policy(folder: Path, **changes: Any) -> str:
    """Writes a policy file and returns its name."""
    given = {
        "policy": "winter", "version": 1, "author": "li-wei", "legal_basis": "B-1", "fever_c": 37.0, "plausible_c": [30, 45],
        "max_list_age_s": 300, "outcomes": {}, "home": "370115", "exempt_origins": [],
    } | changes  # fmt: skip
    name = f"{given['policy']}-{given['version']}-{len(list(folder.iterdir()))}.json"
    (folder / name).write_text(json.dumps(given))
    return name


class Deployment(System):
    """A deployment without workers."""

    def does(self, *arguments: str) -> str:
        """Runs a command that succeeds, and returns its output."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def fails(self, *arguments: str) -> str:
        """Runs a command that fails with one line, and returns that line."""
        done = self.run(*arguments)
        *before, line = done.stderr.decode().splitlines()
        assert done.returncode == 1 and line.startswith("ninezero: "), done
        assert all(one.startswith(("acting on: Kafka ", "reading from: Kafka ")) for one in before), before
        return line

    def terminal(self, *arguments: str) -> Typist:
        """Runs a command on a terminal."""
        return Typist(settings.load(self.env), arguments, "acting on: Kafka", self.folder)

    def state(self) -> PoliciesSnapshot:
        """Returns what is on the topics."""
        return asyncio.run(read_policies(settings.load(self.env)))

    def doctor(self) -> list[str]:
        """Returns the findings about the policy."""
        return [f"{one.status}: {one.found}" for one in examine(self.env, ("policy",))]


@pytest.fixture
def deployment(kafka: Broker, tmp_path: Path) -> Iterator[Deployment]:
    system = Deployment(kafka.bootstrap, f"chdb://{tmp_path}/clickhouse", tmp_path)
    assert system.run("topics", "create", "--partitions", "1").returncode == 0
    yield system
    system.stop()
    administration.erase(settings.load(system.env), settings.ROLES)


def test_a_policy_goes_from_its_file_to_its_end(deployment: Deployment) -> None:
    assert "in force now: default@1" in deployment.does("policy", "show")
    template = json.loads(deployment.does("policy", "show", "default@1"))
    assert template["outcomes"]["fever"] == "refer" and template["author"] == ""
    assert "expected an identifier" in deployment.fails(
        "policy", "check", policy(deployment.folder, **{**template, "author": ""})
    )
    file = policy(deployment.folder, **{**template, "policy": "winter", "version": 1, "author": "li-wei", "legal_basis": "B-1", "fever_c": 37.0})  # fmt: skip
    assert "fever from 37.3 °C to 37.0 °C: more people are referred" in deployment.does("policy", "check", file)
    assert deployment.does("policy", "diff", "default@1", file).count("\n- ") == 1

    begun = deployment.does("policy", "shadow", file, "--by", "wang")
    assert "winter@1 begins as a shadow at" in begun and "(" in begun and " seconds" in begun
    deployment.does("policy", "end", "winter@1", "--by", "wang")
    asked = deployment.fails("policy", "activate", "winter@1", "--from", FROM, "--by", "wang")
    assert asked == "ninezero: nothing was written: repeat the command with --yes to accept that"
    done = deployment.does("policy", "activate", "winter@1", "--from", FROM, "--by", "wang", "--yes")
    assert f"({LATER:%Y-%m-%dT%H:%M:%SZ}), in 48 hours" in done and "Asia/Shanghai" in done
    assert "compared with default@1, which decides until then:\n- fever from 37.3 °C to 37.0 °C" in done
    table = deployment.does("policy", "show")
    assert "to come" in table and "next: winter@1, at" in table and "li-wei" in table and "wang" in table
    current = deployment.state().statements.current_policy
    assert current is not None and (current.policy, current.version, current.by) == ("winter", 1, "wang")
    assert json.loads(deployment.does("policy", "show", "winter@1"))["fever_c"] == 37.0

    until = (LATER + timedelta(days=1)).isoformat()
    ended = deployment.does("policy", "end", "winter@1", "--at", until, "--by", "wang", "--yes")
    assert "default@1 decides" in ended and "fever from 37.0 °C to 37.3 °C: fewer people are referred" in ended
    assert "already ends at" in deployment.does("policy", "end", "winter@1", "--at", until, "--by", "zhao", "--yes")
    cancelled = deployment.does("policy", "end", "winter@1", "--by", "wang", "--yes")
    assert "winter@1 is cancelled" in cancelled
    shown = deployment.does("policy", "show")
    assert "cancelled" in shown and "no change is planned" in shown and "has no effect" not in shown


def test_what_workers_would_refuse_is_not_written(deployment: Deployment) -> None:
    file = policy(deployment.folder)
    soon = (datetime.now(UTC) + timedelta(seconds=40)).isoformat()
    for arguments, line in (
        ((file, "--from", FROM, "--by", "li-wei"), "its author cannot approve its use"),
        ((file, "--from", soon, "--by", "wang"), "60 seconds"),
        ((file, "--from", "2026-01-31T08:00:00+08:00", "--by", "wang"), "--from has passed"),
        ((file, "--from", "2026-01-31T08:00:00", "--by", "wang"), "--from must be now, or a time with its offset"),
        ((file, "--from", "tomorrow", "--by", "wang"), "--from must be now, or a time with its offset"),
        ((file, "--from", "0001-01-01T00:00:00+14:00", "--by", "wang"), "--from "),
        ((file, "--from", FROM, "--by", "13800138000"), "--by is not an identifier"),
        (("winter@9", "--from", FROM, "--by", "wang"), "no policy of this name and version is known"),
        (("missing.json", "--from", FROM, "--by", "wang"), "the file cannot be read"),
        ((policy(deployment.folder, fever_c=12), "--from", FROM, "--by", "wang"), "line 1: fever_c: write a number"),
        ((policy(deployment.folder, outcomes={"fever": "clear"}), "--from", FROM, "--by", "wang"), "below the floor"),
        ((policy(deployment.folder, outcomes={"fevr": "hold"}), "--from", FROM, "--by", "wang"), "did you mean fever?"),
        ((policy(deployment.folder, policy="default"), "--from", FROM, "--by", "wang"), "default@1 is built in"),
    ):  # fmt: skip
        found = deployment.fails("policy", "activate", *arguments, "--yes")
        assert line in found and "13800138000" not in found, found
    assert deployment.state().history.timeline.policies == {}

    deployment.does("policy", "activate", file, "--from", FROM, "--by", "wang", "--yes")
    other = policy(deployment.folder, fever_c=38.0)
    same_time = policy(deployment.folder, version=2)
    for which, line in ((other, "it cannot be changed"), (same_time, "exactly the same time")):
        assert line in deployment.fails("policy", "activate", which, "--from", FROM, "--by", "wang", "--yes")
    assert "end that first" in deployment.fails("policy", "shadow", file, "--by", "wang")
    assert "its author cannot" in deployment.fails("policy", "end", "winter@1", "--by", "li-wei", "--yes")
    assert "nothing to end" in deployment.fails("policy", "end", "default@1", "--by", "wang", "--yes")
    timeline = deployment.state().history.timeline
    assert list(timeline.policies) == ["winter@1"] and len(timeline.uses) == 1 and timeline.refused == []


def test_an_activation_that_was_interrupted_is_continued_and_never_doubled(deployment: Deployment) -> None:
    given = settings.load(deployment.env)
    file = policy(deployment.folder)
    record = PolicyRecord("winter", 1, "li-wei", "B-1", 37.0, [30.0, 45.0], 300.0, {}, "370115", [])
    state_policies(given, [(policy_key("winter", 1), record)])
    state_policies(given, [(use_key("winter", 1), PolicyUse("active", LATER, None, "wang"))])
    assert deployment.state().statements.current_policy is None
    for _ in range(2):
        repeated = deployment.does("policy", "activate", file, "--from", FROM, "--by", "wang")
        assert "was stated before, with the same times" in repeated
        current = deployment.state().statements.current_policy
        assert current is not None and current.policy == "winter"
    timeline = deployment.state().history.timeline
    assert len(timeline.uses) == 1 and timeline.refused == []

    now = ("policy", "activate", policy(deployment.folder, version=2), "--from", "now", "--by", "wang", "--yes")
    deployment.does(*now)
    [first] = [one.from_us for one in deployment.state().history.timeline.uses if one.policy.version == 2]
    assert "was stated before" in deployment.does(*now)
    [again] = [one.from_us for one in deployment.state().history.timeline.uses if one.policy.version == 2]
    assert first == again


def test_on_a_terminal_what_changes_decisions_is_shown_and_asked(deployment: Deployment) -> None:
    file = policy(deployment.folder)
    for answer, status, line in (("\n", 1, "nothing was written"), ("y\n", 0, "winter@1 takes effect at")):
        with closing(deployment.terminal("policy", "activate", file, "--from", FROM, "--by", "wang")) as person:
            person.sees("fever from 37.3 °C to 37.0 °C: more people are referred", "[y/N]")
            person.types(answer)
            person.sees(line)
            person.ends(status)
        assert len(deployment.state().history.timeline.uses) == (status == 0)


def test_a_running_worker_applies_an_activation_and_is_not_ready_without_it(kafka: Broker, tmp_path: Path) -> None:
    system = Deployment(kafka.bootstrap, f"chdb://{tmp_path}/clickhouse", tmp_path, NINEZERO_REPLAY="1")
    assert system.run("topics", "create", "--partitions", "1").returncode == 0
    system.start("ledgers")

    def in_force() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{system.http + 2}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    try:
        wait_for(lambda: system.ready("ledgers"), 60, "the ledgers role")
        assert 'ninezero_policy_info{policy="default",version="1"} 1.0' in in_force()
        done = system.does("policy", "activate", policy(tmp_path), "--from", "now", "--by", "wang", "--yes")
        assert "winter@1 takes effect at" in done
        wait_for(lambda: 'policy_info{policy="winter",version="1"} 1.0' in in_force(), 20, "the policy in force")
        assert "ok: winter@1 is in force" in system.doctor()

        state(settings.load(system.env), CurrentPolicy("spring", 7, "wang", datetime.now(UTC)))
        wait_for(lambda: not system.ready("ledgers"), 20, "the role not to be ready")
        assert any(one.startswith("failed: the topic policies lacks spring@7") for one in system.doctor())
        system.does("policy", "activate", policy(tmp_path, policy="spring", version=7), "--from", "now", "--by", "wang", "--yes")  # fmt: skip
        wait_for(lambda: system.ready("ledgers"), 20, "the role to be ready again")
        system.does("policy", "end", "spring@7", "--by", "wang", "--yes")
        wait_for(lambda: 'policy_info{policy="winter",version="1"} 1.0' in in_force(), 20, "the policy before it")
    finally:
        system.stop()
        administration.erase(settings.load(system.env), settings.ROLES)
    assert "Traceback" not in system.logs()


def test_sites_are_stated_once_and_changes_are_named(deployment: Deployment) -> None:
    sites = deployment.folder / "sites.csv"
    header = "site_id,kind,division,capacity\n"
    sites.write_text(f"{header}road-1,road,370115,0\nroad-2,road,,0\nvillage-1,village,370115101203,9\n")
    assert (
        deployment.does("register", "site", "sites.csv")
        == "3 new (road-1, road-2, village-1), 0 changed, 0 as before\n"
    )
    sites.write_text(f"{header}road-1,road,370112,0\nroad-2,road,,0\n")
    assert deployment.does("sites", "load", "sites.csv") == (
        "0 new, 1 changed (road-1), 1 as before\n1 other registered site stays as before\n"
    )
    known = deployment.state().statements.sites
    assert {one.site_id: one.division for one in known.values()} == {"road-1": "370112", "road-2": "", "village-1": "370115101203"}  # fmt: skip
    sites.write_text(f"{header}road-9,road,370112,0\nroad-8,road,37011,0\n")
    assert "line 3: division: expected" in deployment.fails("register", "site", "sites.csv")
    assert len(deployment.state().statements.sites) == 3, "all lines are checked before any is written"

    assert deployment.doctor() == ["ok: default@1 is in force"]
    file = policy(deployment.folder, home="site")
    deployment.does("policy", "activate", file, "--from", FROM, "--by", "wang", "--yes")
    found = deployment.doctor()
    assert found[1].startswith("ok: winter@1 is next, at")
    assert found[2] == "warning: winter@1 takes its home from each site, and road-2 without a division use 370115"


def test_records_without_effect_are_shown_and_unreadable_ones_end_the_command(deployment: Deployment) -> None:
    given = settings.load(deployment.env)
    state_policies(given, [(use_key("winter", 1), PolicyUse("active", LATER, None, "wang"))])
    assert "has no effect: winter@1: no accepted policy has this name" in deployment.does("policy", "show")
    assert any(one.startswith("warning: 1 record of the last week has no effect") for one in deployment.doctor())
    with closing(KafkaProducer(bootstrap_servers=given.kafka)) as producer:
        producer.send(given.topic("policies"), b"{}", b"winter|1", POLICIES.headers).get(10)
    assert "unreadable_record: topic policies, partition 0, offset 1" in deployment.fails("policy", "show")
    deployment.does("records", "set-aside", "policies/0@1", "--by", "ops-1", "--yes")
    assert "in force now: default@1" in deployment.does("policy", "show")


def test_a_deployment_that_is_not_there_is_one_line(deployment: Deployment, tmp_path: Path) -> None:
    file = policy(deployment.folder)
    administration.erase(settings.load(deployment.env), settings.ROLES)
    commands = (
        ("policy", "show"),
        ("policy", "activate", file, "--from", FROM, "--by", "wang", "--yes"),
        ("policy", "end", "winter@1", "--by", "wang", "--yes"),
    )
    for arguments in commands:
        assert "topics are missing" in deployment.fails(*arguments)
    there = deployment.env["NINEZERO_KAFKA"]
    deployment.env["NINEZERO_KAFKA"] = "127.0.0.1:1"
    for arguments in commands:
        assert "Kafka does not answer" in deployment.fails(*arguments)
    deployment.env["NINEZERO_KAFKA"] = there
    assert deployment.run("policy", "check", file).returncode == 0, "it needs no connection"
