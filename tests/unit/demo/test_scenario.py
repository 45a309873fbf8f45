"""Scenario files are checked, and the generated records add up to their totals."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date
from pathlib import Path

import msgspec
import pytest

from ninezero.agents.demo.records import Day, split
from ninezero.agents.demo.scenario import Scenario
from ninezero.agents.demo.scenario_file import RECEPTION_SITE, ScenarioError, Spec, load
from ninezero.schemas.events import Arrival, Disposition, PushBatch, QuarantineEvent, Scan
from ninezero.streams.edge.documents.key_ring import KeyRing, new_ring
from ninezero.streams.kafka import topics

SCENARIOS = Path(__file__).parents[3] / "agents" / "demo" / "scenarios"


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    path = tmp_path_factory.mktemp("ring") / "keys.json"
    new_ring(path)
    return KeyRing.load(path)


@pytest.fixture(scope="module")
def lakeside() -> Spec:
    return load(SCENARIOS / "lakeside.toml")


@pytest.fixture(scope="module")
def days(lakeside: Spec, ring: KeyRing) -> list[Day]:
    return list(Scenario(lakeside, 7, ring).days())


def test_the_same_file_seed_and_keys_give_the_same_records(lakeside: Spec, ring: KeyRing, days: list[Day]) -> None:
    assert list(Scenario(lakeside, 7, ring).days()) == days
    assert next(Scenario(lakeside, 8, ring).days()) != days[0]


def test_the_records_add_up_to_the_totals_of_the_file(lakeside: Spec, days: list[Day]) -> None:
    published = lakeside.published
    seen, kinds = set[tuple[str, int]](), Counter[str]()
    for day in days:
        for record in day.events:
            if record.topic is topics.SCANS:
                try:
                    scan = msgspec.json.decode(record.value, type=Scan)
                except msgspec.DecodeError:
                    continue
                if (
                    scan.observed_at.year < 2100 and (scan.device_id, scan.seq) not in seen
                ):  # one malformed record is a scan of 2100
                    seen.add((scan.device_id, scan.seq))
                    kinds[scan.kind] += 1
    assert kinds == {"vehicle": published.vehicle_checks, "pedestrian": lakeside.invented.pedestrians}
    left_behind = lakeside.invented.left_behind
    assert sum(day.valid for day in days) == kinds.total() + 3 * published.delivered + 2 * left_behind
    batches = [msgspec.json.decode(record.value, type=PushBatch) for day in days for record in day.batches]
    passes = [batch for batch in batches if batch.category == "health_pass"]
    assert sum(len(batch.lines) for batch in passes) == published.health_passes
    assert len(batches) - len(passes) == published.push_batches
    assert sum(len(batch.lines) for batch in batches) == published.health_passes + published.person_times
    reports = [record for day in days for record in day.reports]
    stays = [msgspec.json.decode(r.value, type=QuarantineEvent) for r in reports if r.topic is topics.QUARANTINE]
    assert sum(event.type == "admitted" for event in stays) == published.quarantined
    assert sum(event.type == "released" for event in stays) == published.quarantine_released
    done = [msgspec.json.decode(r.value, type=Disposition) for r in reports if r.topic is topics.DISPOSITIONS]
    assert sum(disposition.action == "turned_back" for disposition in done) == published.turned_back


def test_transfers_deliver_everyone_but_those_who_are_left_behind(lakeside: Spec, days: list[Day]) -> None:
    sent: dict[tuple[str, int], Arrival] = {}
    for day in days:
        for record in day.events:
            if record.topic is topics.ARRIVALS:
                arrival = msgspec.json.decode(record.value or b"", type=Arrival)
                sent[arrival.device_id, arrival.seq] = arrival
    stages: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for arrival in sent.values():
        stages[str(arrival.transfer_id)][arrival.stage] += 1
    assert len(stages) == sum(day.transfers for day in days) < lakeside.published.delivered
    missing = [one["boarded"] - one["delivered"] for one in stages.values()]
    assert (
        sum(missing)
        == sum(n > 0 for n in missing)
        == lakeside.invented.left_behind
        == sum(d.left_behind for d in days)
        > 0
    )
    assert {(a.stage, a.site_id == RECEPTION_SITE) for a in sent.values()} == {
        ("registered", False),
        ("boarded", False),
        ("delivered", True),
    }
    assert sum(day.left_behind for day in days[-2:]) == 0


def test_some_stays_are_extended_and_some_exceed_their_term(days: list[Day]) -> None:
    """Each report reaches Kafka in the order of its time, so that the alerts are those of the terms."""
    reports = [msgspec.json.decode(record.value or b"") for day in days for record in day.reports]
    assert [r["observed_at"] for r in reports] == sorted(r["observed_at"] for r in reports)
    stays = [r for r in reports if r.get("case_id") and r.get("site_id")]
    opened = [r for r in reports if r.get("district") and r["type"] == "opened"]
    released = {r["case_id"] for r in stays if r["type"] == "released"}
    extended = [r for r in stays if r["type"] == "extended"]
    assert extended and {r["term_days"] for r in extended} == {17} and {r["case_id"] for r in extended} <= released
    ended = [r for r in opened if r["observed_at"][:10] <= str(days[-6].day)]
    assert 0 < len(ended) < len(opened) and {r["term_days"] for r in opened} == {5}
    assert sum(day.release_due for day in days) == len(released) + len(ended)
    assert sum(day.term_exceeded for day in days) == 2 * sum(day.overnight for day in days) > 0


def test_resent_and_malformed_records_are_among_the_events(days: list[Day]) -> None:
    resent, malformed = sum(day.resent for day in days), sum(day.malformed for day in days)
    assert resent > 100 and malformed > 20
    assert sum(len(day.events) for day in days) == sum(day.valid for day in days) + resent + malformed


def test_the_packaged_scenario_is_jiyang() -> None:
    spec = load()
    assert (spec.published.vehicle_checks, spec.last_day) == (370_000, date(2020, 3, 10))
    assert len(spec.sites()) == 9 + 1_200 + len(spec.stations) + 1 + 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("days = 21", "days = 3"), "days: expected a whole number from 16 to 400"),
        (("quarantine_released = 9", "quarantine_released = 8"), "must add up to quarantined"),
        (("push_batches = 40", "push_batches = 400"), "push_batches must not exceed person_times"),
        (("[published]", "[published]\nsecret = 1"), "published: unknown field"),
        (("[published]", "[secret"), "it is not TOML"),
    ],
)
def test_a_wrong_scenario_is_described_without_quoting_it(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "scenario.toml"
    text = (SCENARIOS / "lakeside.toml").read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert message in str(caught.value) and "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_scenario_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        load(tmp_path / "none.toml")


def test_a_total_is_split_in_proportion_and_without_a_remainder() -> None:
    assert split(10, [1.0, 1.0, 2.0]) == [2, 3, 5]
    assert sum(split(1_343, [1 + 0.02 * n for n in range(47)])) == 1_343
    assert split(0, [1.0, 3.0]) == [0, 0]
