"""The permissions as commands: the same as those that are granted, and safe to run whatever the users are called."""

from __future__ import annotations

import shlex

import pytest

from ninezero.streams.kafka import topics
from ninezero.streams.kafka.access import ACCESS, commands, grants
from ninezero.streams.settings import ROLES, Settings, load

SETTINGS = {
    "NINEZERO_KAFKA": "h:1",
    "NINEZERO_ORDER": "O",
    "NINEZERO_SUNSET": "2100-01-01T00:00:00Z",
    "NINEZERO_TOPIC_PREFIX": "jy.",
}
USERS = {"devices": ["gate-1", "CN=gate 2; rm -rf /,O='x'"]}


@pytest.fixture
def settings() -> Settings:
    return load(SETTINGS, edge=True)


def test_the_commands_say_what_is_granted(settings: Settings) -> None:
    said = set()
    for line in commands(settings, USERS):  # type: ignore[arg-type]
        program, rest, add, allow, principal, *words = shlex.split(line)
        assert (program, rest, add, allow) == ("kafka-acls.sh", "$@", "--add", "--allow-principal")
        given = list(zip(words[::2], words[1::2], strict=True))
        prefixed = ("--resource-pattern-type", "prefixed") in given
        operations = [value for option, value in given if option == "--operation"]
        for option, name in given:
            if option in ("--topic", "--group", "--transactional-id"):
                said |= {
                    (principal, one.upper(), option[2:].replace("-", "_").upper(), name, prefixed) for one in operations
                }
    wanted = {
        (g.principal, one, g.resource, g.name, g.prefixed) for g in grants(settings, USERS) for one in g.operations
    }  # type: ignore[arg-type]
    assert said == wanted
    assert {g.principal for g in grants(settings, USERS)} == {  # type: ignore[arg-type]
        *(f"User:ninezero-{who}" for who in ACCESS if who != "devices"), *(f"User:{name}" for name in USERS["devices"])
    }  # fmt: skip


def test_every_topic_has_its_prefix_and_somebody_who_writes_it(settings: Settings) -> None:
    assert all(grant.name.startswith("jy.") for grant in grants(settings))
    assert {topic for access in ACCESS.values() for topic in access.writes} == set(topics.ALL)


def test_nobody_but_the_workers_reads_what_has_tokens_or_writes_what_they_write() -> None:
    tokens = {topics.SCANS, topics.ARRIVALS, topics.PUSHES}
    theirs = {topic for role in ROLES for topic in ACCESS[role].writes}
    for who in set(ACCESS) - set(ROLES):
        assert not tokens & set(ACCESS[who].reads) and not theirs & set(ACCESS[who].writes), who
    assert topics.WATCHLIST not in ACCESS["devices"].reads
