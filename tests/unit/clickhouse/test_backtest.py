"""The backtest in the real embedded engine equals an oracle, and says what it cannot judge."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, timedelta

import pytest

from ninezero.agents.logic.policy.policy import DEFAULT, Policy
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES
from ninezero.agents.recording.backtest import MAX_DAYS, Backtest, backtest
from ninezero.schemas.rows import FIRST_WINS, ScreeningFact
from ninezero.streams.clickhouse import Engine, inserts

FIRST, DAYS = date(2026, 3, 1), 18
MINUTE = 1_772_300_040

FORMER = Policy(
    name="former",
    version=3,
    home="370115",
    outcomes={"outside_district_without_pass": "clear", "weak_match": "turn_back"},
)
OTHER = Policy(
    name="other", version=2,
    outcomes={"outside_province_without_pass": "clear", "fever": "hold", "weak_match": "refer", "close_contact": "hold"},
)  # fmt: skip
KNOWN = {policy.label: policy for policy in (DEFAULT, FORMER, OTHER)}.get


def facts(rng: random.Random, count: int, days: int = DAYS) -> list[ScreeningFact]:
    """Returns facts that three policies decided; a fifth of them was decided again later, by another policy."""
    found = []
    for seq in range(count):
        day, policy = rng.randrange(days), rng.choice([DEFAULT, FORMER])
        site, stage = rng.choice(["s1", "s2", "s3"]), rng.choice(["", "", "boarded"])
        for later in range(1 + (rng.random() < 0.2)):
            policy = OTHER if later else policy
            rules = rng.choices(policy.rules(), k=rng.choice([0, 0, 1, 2, 4]))
            found.append(
                ScreeningFact(FIRST + timedelta(days=day), MINUTE + day * 86_400, site, "d", seq, "vehicle", "in", stage, len(rules) or 1,
                              policy.most_severe(rules), 0, sorted(rule.name for rule in rules), policy.label, [], [],
                              FIRST_WINS - 1_000 * (1 + later) - seq)
            )  # fmt: skip
    return found


def write(engine: Engine, rng: random.Random, some: list[ScreeningFact]) -> None:
    """Inserts facts in random order, some of them twice, in several parts."""
    some = [*some, *rng.sample(some, len(some) // 10)]
    rng.shuffle(some)
    for start in range(0, len(some), len(some) // 5):
        inserts.insert(engine, "screening_facts", some[start : start + len(some) // 5])


def first_decisions(some: list[ScreeningFact]) -> list[ScreeningFact]:
    first: dict[int, ScreeningFact] = {}
    for fact in sorted(some, key=lambda fact: -fact.version):
        first.setdefault(fact.seq, fact)
    return list(first.values())


def expected(some: list[ScreeningFact], policy: Policy) -> Counter[tuple[date, str, str, str]]:
    return Counter(
        (fact.day, fact.site_id, fact.outcome, policy.most_severe([RULES[name] for name in fact.reasons]))
        for fact in some
    )


def cells(found: Backtest) -> Counter[tuple[date, str, str, str]]:
    return Counter({(cell.day, cell.site_id, cell.old, cell.new): cell.events for cell in found.cells})


@pytest.mark.parametrize("seed", range(3))
def test_first_decisions_of_days_that_are_not_sealed_are_judged_by_their_rules(engine: Engine, seed: int) -> None:
    rng = random.Random(seed)
    some = facts(rng, 2_000)
    write(engine, rng, some)
    sealed = {FIRST + timedelta(days=n) for n in (0, 1, 16)}
    engine.insert("ninezero_data.sealed_days", ("day", "frozen"), [(day, n % 2) for n, day in enumerate(sealed)])
    last = sorted({fact.day for fact in some} - sealed)[-MAX_DAYS:]
    for policy, days in ((OTHER, MAX_DAYS), (FORMER, 3), (DEFAULT, 1)):
        judged = [fact for fact in first_decisions(some) if fact.day in last[-days:]]
        found = backtest(engine.read, policy, KNOWN, days)
        assert found.days == last[-days:] and cells(found) == expected(judged, policy)
        assert found.decided_by == Counter(fact.policy for fact in judged)
        by_outcomes = Counter((cell.old, cell.new) for cell in found.cells for _ in range(cell.events))
        assert found.matrix() == by_outcomes and sum(by_outcomes.values()) == len(judged)
        if days == MAX_DAYS:
            pairs = {pair for pair in by_outcomes if pair[0] != pair[1]}
            assert len(pairs) >= 6, "outcomes become milder and more severe"
    keys = [(cell.day, cell.site_id, OUTCOMES.index(cell.old), OUTCOMES.index(cell.new)) for cell in found.cells]
    assert keys == sorted(keys)


def test_events_keep_their_outcomes_under_the_policy_that_decided_them(engine: Engine) -> None:
    rng = random.Random(7)
    some = [fact for fact in facts(rng, 500) if fact.policy == FORMER.label]
    write(engine, rng, some)
    found = backtest(engine.read, FORMER, KNOWN, 1)
    assert found.cells and all(cell.old == cell.new for cell in found.cells) and found.limits == []


def test_what_the_facts_do_not_contain_is_named(engine: Engine) -> None:
    rng = random.Random(8)
    some = facts(rng, 300, days=1)
    write(engine, rng, some)
    n = Counter(fact.policy for fact in first_decisions(some))
    policy = Policy(
        name="new", version=1, fever_c=37.0, home="site", exempt_origins=("3701", "HK"), outcomes={"fever": "hold"}
    )
    found = backtest(engine.read, policy, {FORMER.label: FORMER}.get, 1)
    former = f"former@3 judged {n['former@3']} events with"
    assert found.limits == [
        f"default@1, which decided {n['default@1']} events, is not known here: only its outcomes are judged again",
        f"fever_c is 37, but {former} 37.3: that is not judged again",
        f"home is site, but {former} {FORMER.home}: that is not judged again",
        f"exempt_origins is 3701, HK, but {former} empty: that is not judged again",
        f"outside_district_without_pass is turn_back, but clear in former@3: to which of its {n['former@3']} events it applies is not known",
    ]  # fmt: skip


def test_an_event_with_a_rule_of_a_newer_release_keeps_at_least_its_outcome(engine: Engine) -> None:
    rows = [
        ScreeningFact(FIRST, MINUTE, "s", "d", seq, "vehicle", "in", "", 1, outcome, 0, rules, "default@1", [], [], FIRST_WINS)
        for seq, (outcome, rules) in enumerate(
            [("quarantine", ["fever_in_lane", "weak_match"]), ("hold", ["fever_in_lane", "fever"]), ("refer", ["fever"])]
        )
    ]  # fmt: skip
    inserts.insert(engine, "screening_facts", rows)
    found = backtest(engine.read, Policy(outcomes={"fever": "turn_back"}), KNOWN)
    assert found.matrix() == {("quarantine", "quarantine"): 1, ("hold", "turn_back"): 1, ("refer", "turn_back"): 1}
    assert found.limits == ["2 events have a rule that this release does not know: they keep at least their outcome"]


def test_a_database_without_facts_gives_an_empty_result_and_a_wrong_number_of_days_is_an_error(engine: Engine) -> None:
    assert backtest(engine.read, OTHER, KNOWN) == Backtest([], {}, [], [])
    for days in (0, MAX_DAYS + 1):
        with pytest.raises(ValueError, match="from 1 to 14"):
            backtest(engine.read, OTHER, KNOWN, days)
