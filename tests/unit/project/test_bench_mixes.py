"""The mixes of the benchmarks: what a mix states of its scans is what the rules and the peers in Python say of them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import chain

import msgspec
import pytest

from ninezero.agents.logic.policy import reference
from ninezero.agents.logic.policy.rules import RULES
from ninezero.schemas.events import Scan
from ninezero.schemas.times import unix_micros
from tests.bench import feed, mixes
from tests.bench.peers import rules
from tests.bench.peers.dict_watchlist import DictWatchlist

ENTRIES, SCANS = 1000, 6000
MIXES = [*mixes.MIXES.values(), mixes.coach(1), mixes.coach(80), *(mixes.concerning(n) for n in (0, 50, 100))]
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def watchlist() -> DictWatchlist:
    lists = [mixes.contacts(ENTRIES), *mixes.EXPRESSWAY_LISTS]
    return DictWatchlist(chain.from_iterable(feed.lines_of(one, NOW) for one in lists))


def scans_of(mix: mixes.Mix) -> list[tuple[Scan | None, list[mixes.PersonRule] | None]]:
    """Returns scans of a mix, None for those that are malformed, each with what the mix states of it."""
    scans = feed.Scans(SCANS // 20 if mix.name == "80 people" else SCANS, mix, ENTRIES)
    found = []
    for (_, _, value), stated in zip(scans.records(NOW), scans.rules, strict=True):
        try:
            found.append((msgspec.json.decode(value, type=Scan), stated))
        except msgspec.ValidationError:
            found.append((None, stated))
    return found


@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: mix.name)
def test_a_mix_states_what_the_rules_and_the_peers_decide(mix: mixes.Mix, watchlist: DictWatchlist) -> None:
    for scan, stated in scans_of(mix):
        assert (scan is None) == (stated is None)
        if scan is not None:
            arguments = scan, unix_micros(scan.observed_at), watchlist, mixes.HOME, False
            decision = reference.decide_scan(*arguments)
            assert [(hit.person, hit.rule) for hit in decision.hits] == stated
            assert rules.decide_scan(*arguments) == decision


def test_the_expressway_is_as_it_is_described() -> None:
    found = scans_of(mixes.EXPRESSWAY)
    scans = [scan for scan, _ in found if scan is not None]
    people = [person for scan in scans for person in scan.people]
    rules_of = Counter(rule for _, stated in found for _, rule in stated or ())
    elsewhere = [person for person in people if person.origin != mixes.HOME]
    without_pass = rules_of["outside_district_without_pass"] + rules_of["outside_province_without_pass"]
    listed = sum(count for rule, count in rules_of.items() if RULES[rule].person_entries)
    assert len(people) / len(scans) == pytest.approx(3, rel=0.05)
    assert {len(scan.people) for scan in scans} == {1, 2, 3, 4, 6}
    assert len(elsewhere) / len(people) == pytest.approx(0.4, rel=0.05)
    assert without_pass / len(elsewhere) == pytest.approx(0.1, rel=0.1)
    assert sum(p.temperature_confirmed_c is not None for p in people) / len(people) == pytest.approx(0.1, rel=0.1)
    assert listed / len(people) == pytest.approx(0.01, rel=0.2)
    assert rules_of.keys() == RULES.keys() - {"list_stale"}, "a rule does not occur"


@pytest.mark.parametrize("percent", [0, 10, 50, 100])
def test_as_many_drivers_as_asked_have_a_reason_or_a_pass(percent: int) -> None:
    found = scans_of(mixes.concerning(percent))[:1000]
    passes = sum(scan is not None and scan.people[0].tokens.pass_ is not msgspec.UNSET for scan, _ in found)
    assert passes + sum(bool(stated) for _, stated in found) == 10 * percent
    assert passes == 4 * percent


@pytest.mark.parametrize("mix", mixes.MIXES.values(), ids=lambda mix: mix.name)
def test_fewer_scans_are_the_first_of_many_whatever_the_watchlist_has(mix: mixes.Mix) -> None:
    few, many = feed.Scans(200, mix, ENTRIES), feed.Scans(2000, mix, 10 * ENTRIES)
    assert few.rules == many.rules[:200]
