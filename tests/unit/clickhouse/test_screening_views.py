"""Views of screening in the real embedded engine: the first decision counts, whatever the order of inserts."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import date

import pytest

from ninezero.agents.logic.policy.rules import RULES
from ninezero.schemas.rows import FIRST_WINS, ScreeningFact
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import Engine

MINUTE = 1_767_200_040


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    connection = clickhouse.connect(f"chdb://{tmp_path_factory.mktemp('chdb')}")
    clickhouse.migrate(connection)
    yield connection
    connection.close()


def write(engine: Engine, facts: list[ScreeningFact]) -> None:
    engine.insert("ninezero_data.screening_facts", ScreeningFact._fields, facts)


@pytest.mark.parametrize("seed", range(8))
def test_every_order_of_inserts_and_replays_gives_the_same_counts(engine: Engine, seed: int) -> None:
    rng = random.Random(seed)
    site = f"order-{seed}"
    first = {
        n: rng.choice([("clear", []), ("refer", ["fever", "confirmed_case"]), ("hold", ["no_identity", "no_identity"])])
        for n in range(30)
    }
    facts = []
    for n, (outcome, reasons) in first.items():
        fact = ScreeningFact(
            date(2026, 1, 1),
            MINUTE + n % 3 * 60,
            site,
            "d",
            n,
            "vehicle",
            "in",
            "",
            2,
            outcome,
            0,
            reasons,
            "default@1",
            [],
            [],
            FIRST_WINS - 1000,
        )
        facts.append(fact)
        if rng.random() < 0.5:  # decided again, later, under another list
            facts.append(fact._replace(outcome="quarantine", reasons=["close_contact"], version=FIRST_WINS - 2000))
    order = facts + rng.sample(facts, 10)
    rng.shuffle(order)
    for start in range(0, len(order), 7):
        write(engine, order[start : start + 7])
    got = engine.query(f"SELECT * FROM ninezero.screening_by_day WHERE site_id = '{site}'")[0]
    outcomes = [outcome for outcome, _ in first.values()]
    assert {k: int(got[k]) for k in ("passages", "people", "clear", "refer", "hold", "quarantine", "fevers")} == {
        "passages": 30, "people": 60, "clear": outcomes.count("clear"), "refer": outcomes.count("refer"), "hold": outcomes.count("hold"),
        "quarantine": 0, "fevers": outcomes.count("refer"),
    }  # fmt: skip
    reasons = {
        r["rule"]: int(r["count"])
        for r in engine.query(f"SELECT rule, count FROM ninezero.reasons_by_day WHERE site_id = '{site}'")
    }
    expected = {
        "fever": outcomes.count("refer"),
        "confirmed_case": outcomes.count("refer"),
        "no_identity": 2 * outcomes.count("hold"),
    }
    assert reasons == {k: v for k, v in expected.items() if v}


def test_every_rule_is_counted_and_shown_by_day_and_by_minute(engine: Engine) -> None:
    day, minute, seq = date(2026, 1, 2), MINUTE + 86_400, itertools.count()
    expected = {rule: n for n, rule in enumerate(RULES, start=1)}
    write(
        engine,
        [
            ScreeningFact(
                day,
                minute,
                "rules",
                "d",
                next(seq),
                "vehicle",
                "in",
                "",
                1,
                RULES[rule].outcome,
                0,
                [rule],
                "default@1",
                [],
                [],
                FIRST_WINS - 1,
            )
            for rule, n in expected.items()
            for _ in range(n)
        ],
    )
    for view, condition in (
        ("reasons_by_day", f"day = '{day}'"),
        ("reasons_by_minute", f"toUInt32(minute) = {minute}"),
    ):
        rows = engine.query(f"SELECT rule, count FROM ninezero.{view} WHERE {condition}")
        assert {row["rule"]: int(row["count"]) for row in rows} == expected, view
