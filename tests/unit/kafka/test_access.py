"""The printed commands grant the same permissions as the product does, and are safe for any user name."""

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


def test_the_printed_commands_grant_the_same_permissions(settings: Settings) -> None:
    printed = set()
    for line in commands(settings, USERS):  # type: ignore[arg-type]
        program, rest, add, allow, principal, *words = shlex.split(line)
        assert (program, rest, add, allow) == ("kafka-acls.sh", "$@", "--add", "--allow-principal")
        given = list(zip(words[::2], words[1::2], strict=True))
        prefixed = ("--resource-pattern-type", "prefixed") in given
        operations = [value for option, value in given if option == "--operation"]
        for option, name in given:
            if option in ("--topic", "--group", "--transactional-id"):
                printed |= {
                    (principal, one.upper(), option[2:].replace("-", "_").upper(), name, prefixed) for one in operations
                }
    granted = {
        (g.principal, one, g.resource, g.name, g.prefixed) for g in grants(settings, USERS) for one in g.operations
    }  # type: ignore[arg-type]
    assert printed == granted
    assert {g.principal for g in grants(settings, USERS)} == {  # type: ignore[arg-type]
        *(f"User:ninezero-{party}" for party in ACCESS if party != "devices"), *(f"User:{name}" for name in USERS["devices"])
    }  # fmt: skip


def test_every_topic_has_the_prefix_and_a_writer(settings: Settings) -> None:
    assert all(grant.name.startswith("jy.") for grant in grants(settings))
    assert {topic for access in ACCESS.values() for topic in access.writes} == set(topics.ALL)


def test_only_workers_read_topics_with_tokens_and_write_the_topics_of_workers() -> None:
    tokens = {topics.SCANS, topics.ARRIVALS, topics.PUSHES}
    written_by_workers = {topic for role in ROLES for topic in ACCESS[role].writes}
    for party in set(ACCESS) - set(ROLES):
        assert not tokens & set(ACCESS[party].reads) and not written_by_workers & set(ACCESS[party].writes), party
    assert topics.WATCHLIST not in ACCESS["devices"].reads


def test_the_ledgers_role_sees_how_far_arrivals_are_screened_and_reads_none(settings: Settings) -> None:
    of_ledgers = {
        g for g in grants(settings) if g.principal == "User:ninezero-ledgers" and g.operations == ("DESCRIBE",)
    }
    assert {(g.resource, g.name) for g in of_ledgers} == {
        ("TOPIC", "jy.station-arrivals"),
        ("GROUP", "jy.ninezero-screening"),
    }
    assert topics.ARRIVALS not in ACCESS["ledgers"].reads
