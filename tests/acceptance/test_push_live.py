"""Pushes on real engines: two screening workers, kill -9 in between, and a model of the expected results.

Try another run:  PUSH_SEED=123 .venv/bin/pytest tests/acceptance/test_push_live.py   (or many: make explore)

The tests use one deployment and one model, in this order. A list that one test leaves is there for the next.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from ninezero.streams.local_kafka.broker import Broker
from tests.support import wait_for

from . import oracle
from .fleet import PARTITIONS, SECOND_WORKER, Fleet, World, now, window
from .office import Office, confirmation, scan, token
from .oracle import SECOND, Ambiguous

pytestmark = pytest.mark.timeout(480)


@pytest.fixture(scope="module")
def world(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two screening workers, lists, a recorder, and one list with one entry."""
    seed = int(os.environ.get("PUSH_SEED") or 941570)
    fleet = Fleet(kafka.bootstrap, tmp_path_factory.mktemp("fleet"))
    fleet.prepare()
    fleet.start("lists", "recording", "screening", SECOND_WORKER)
    try:
        world = World(fleet, seed)
        world.push(world.batch("cdc", "first", "delta", listed(90, keys=("k1", "k2"))))
        world.wait_answered()
        fleet.wait_ready()
        yield world
    finally:
        fleet.stop()


def listed(
    subject: int, kind: str = "id", keys: tuple[str, ...] = ("k1", "k2"), seconds: float = 86_400
) -> dict[str, Any]:
    """Returns a valid line about a subject that the office does not use."""
    return {"tokens": {kind: [token(kind, subject, key) for key in keys]}, **window(seconds)}


def passages(world: World, *who: tuple[int, ...]) -> list[dict[str, Any]]:
    """Returns scans of healthy people who show their identity cards."""
    first = len(world.scans)
    return [passage(world, first + n, subjects, f"s{n % 5}") for n, subjects in enumerate(who)]


def passage(world: World, seq: int, subjects: tuple[int, ...], site_id: str) -> dict[str, Any]:
    people = [{"role": "driver", "tokens": {"id": token("id", subject)}, "temperature_c": 36.5} for subject in subjects]
    return scan(world.rng, "d", seq, site_id, now()) | {"people": people, "plate": None}


def check_all(world: World, *who: tuple[int, ...], seconds: float = 40) -> list[int]:
    """Checks on every partition that scans of these people are decided as in the model. Returns their sequence numbers."""
    seqs = world.scan_all(passages(world, *who))
    assert check_scans(world, seqs, seconds) == len(seqs)
    return seqs


def check_scans(world: World, seqs: list[int], seconds: float = 40) -> int:
    """Checks that every scan is decided as in the model. Returns the number of scans that the contract defines."""
    world.wait_decided(seqs, seconds)
    settled = 0
    for seq in seqs:
        try:
            expected = world.expected(seq)
        except Ambiguous:
            continue
        assert world.decided(seq) == expected, f"seed {world.seed}, scan {world.scans[seq]}"
        settled += 1
    return settled


def check_receipts(world: World, batch_id: str = "") -> None:
    """Checks that every receipt is one of the model, and equal to the first one of its batch."""
    lines = world.unexpected_receipts(batch_id) + world.changed_receipts()
    assert not lines, "\n".join([f"seed {world.seed}", *lines])


def random_scans(world: World, count: int) -> list[int]:
    """Sends scans of the people of the office to every partition."""
    first = len(world.scans)
    return world.scan_all(scan(world.rng, "d", first + n, f"s{n % 7}", now()) for n in range(count))


@dataclass(frozen=True)
class HeldBatches:
    """Batches that are held when the lists worker is killed."""

    sent_again: dict[str, Any]
    """It was sent again with other contents. It gets the same receipt, and its content does not change (§5)."""
    fresh: dict[str, Any]
    """It had its receipt for a moment only."""


@pytest.fixture(scope="module")
def held(world: World) -> HeldBatches:
    """Two batches are held, then the lists worker is killed and restarted."""
    full = [listed(120 + n) for n in range(12)]
    world.push(world.batch("cdc", "held", "full", *full))
    held = HeldBatches(
        world.batch("cdc", "held", "full", full[0], full[1], sequence=2),
        world.batch("cdc", "fresh", "delta", listed(140), declared_lines=2),
    )
    world.push(held.sent_again)
    world.wait_answered()
    assert world.answers[-1]["status"] == "held"
    again = held.sent_again | {"issued_at": window()["valid_to"], "declared_lines": 1}
    world.push(again | {"lines": [{"line": 1, **full[5]}]})
    world.rest(2)  # its offset is committed, so who follows does not read it as new
    world.push(held.fresh)
    world.until(lambda: not world.missing_receipts(), 20, "the receipt")
    world.fleet.kill("lists")  # its offset is not
    world.fleet.start("lists")
    return held


@pytest.mark.usefixtures("held")  # what it has done to the lists worker is the first kill
def test_random_pushes_give_the_results_of_the_model_despite_kills(world: World) -> None:
    print(f"PUSH_SEED={world.seed}")
    fleet, rng = world.fleet, world.rng
    office = Office(rng, "r", world.lists, now, soon=25 * SECOND)
    moment = rng.randrange(32)
    for act in range(36):
        for value in office.act():
            world.push(value)
        if act == moment:
            fleet.kill("lists")
        if act == moment + 3:
            fleet.start("lists")
    world.wait_answered()
    seqs = random_scans(world, 60)
    victim = rng.choice(("screening", SECOND_WORKER))
    fleet.kill(victim)
    seqs += random_scans(world, 60)
    fleet.start(victim)
    settled = check_scans(world, seqs)
    check_receipts(world)
    print(Counter((receipt["mode"], receipt["code"]) for receipt in world.receipts))
    for authority, name in office.names:  # every list has both keys, whatever ends from here on
        world.push(world.batch(authority, name, "delta", listed(91)))
    world.wait_answered()
    # While the only entry of a list with some key is about to expire, the contract defines no scan. From here on it
    # leaves only those undefined whose person's own entry expires at that moment.
    settled += check_scans(world, random_scans(world, 60))
    assert settled > 30


def test_a_second_person_confirms_a_batch_on_the_command_line(world: World) -> None:
    full = [listed(100 + n) for n in range(12)]
    world.push(world.batch("cdc", "confirmed", "full", *full))
    held = world.batch("cdc", "confirmed", "full", full[0])
    world.push(held)
    world.wait_answered()
    assert world.answers[-1]["code"] == "would_shrink"
    same = world.fleet.run("push", "--confirm", held["batch_id"], "--by", "li", "--authority", "cdc")
    assert (same.returncode, same.stderr.count(b"\n")) == (1, 1)
    done = world.fleet.run("push", "--confirm", held["batch_id"], "--by", "chen", "--authority", "cdc")
    assert done.returncode == 0, done.stderr
    batch = world.lists.batches["cdc", held["batch_id"]]
    for who in ("li", "chen"):  # the model processes it here
        word = oracle.Record(oracle.PUSHES, 0, 0, int(time.time() * 1000), None, b"")
        world.receipts.append(dict(world.lists.confirm(word, confirmation(batch, who, now()))))
    world.wait_answered()
    check_all(world, *((100 + n,) for n in range(12)))


def test_the_views_have_one_row_for_each_batch_and_the_complete_audit(world: World) -> None:
    names = ["list", "category", "mode", "status", "code", "lines_declared", "accepted", "duplicate", "rejected"]
    sql = f"SELECT batch_id, authority, {', '.join(names)}, withdrawn, toUnixTimestamp(issued_at) AS i FROM ninezero.push_batches"

    def batches() -> oracle.Rows:
        rows = [list(row.values()) for row in world.fleet.query(sql)]
        return {(row[0], row[1]): (*row[2:7], *map(int, row[7:])) for row in rows}

    def audit() -> oracle.Rows:
        rows = world.fleet.query("SELECT who, action, batch_id, authority, list, lines FROM ninezero.watchlist_audit")
        return dict(Counter((*list(row.values())[:5], int(row["lines"])) for row in rows))

    differences: list[str] = []

    def equal() -> bool:
        differences[:] = oracle.difference(oracle.push_batches(world.lists), batches())
        differences.extend(oracle.difference(oracle.watchlist_audit(world.lists), audit()))
        return not differences

    try:
        wait_for(equal, 20, "the views")
    except AssertionError as error:
        raise AssertionError("\n".join([f"seed {world.seed}", *differences])) from error


def test_exactly_the_malformed_records_are_dead_lettered(world: World) -> None:
    world.rest(1)
    letters = [json.loads(record.value) for record in world.tail.records["dead-letters"]]
    found = {(letter["topic"], letter["partition"], letter["offset"]): letter for letter in letters}
    assert found.keys() == world.dead.keys()
    for place, fault in world.dead.items():
        assert found[place]["reason"] in fault.reasons
        assert found[place]["path"] in fault.paths


@pytest.fixture(scope="module")
def repeated(world: World) -> dict[str, Any]:
    """An entry that is withdrawn as a mistake, on a list with another alerted entry that expires some seconds later."""
    world.push(world.batch("cdc", "brief", "delta", listed(220, seconds=9), listed(221)))
    world.wait_answered()
    check_all(world, (220,))
    mistake = world.batch("cdc", "brief", "withdraw", {"tokens": {"id": [token("id", 221)]}}, withdraw_reason="mistake")
    world.push(mistake)
    return mistake


@pytest.mark.usefixtures("repeated")  # an entry of it ends while this test and the next run
def test_a_withdrawal_for_mistake_corrects_each_alert_that_names_the_entry_once(world: World) -> None:
    # Two authorities use the same batch_id, so both entries have the same entry_id.
    mine = world.batch("cdc", "wrong", "delta", listed(200), listed(201), batch_id="same-name")
    world.push(mine)
    world.push(world.batch("port", "wrong", "delta", listed(202), batch_id="same-name"))
    world.push(world.batch("cdc", "short", "delta", listed(203, seconds=9)))
    world.wait_answered()
    who = ((200,), (201,), (202,), (203,), (200, 202), (210,), (200,), (201, 200))
    seqs = check_all(world, *who, *who)
    world.scan_all(world.scans[seq][0] for seq in seqs[:4])  # again: another alert with the same alert_id
    world.rest(2)
    entry = ("cdc", "wrong", "same-name:1")
    wanted = {
        alert["alert_id"]: alert["site_id"].encode()
        for seq in seqs
        for alert in world.alerts.get(seq, [])
        if any(entry == (e["authority"], e["list"], e["entry_id"]) for r in alert["reasons"] for e in r["entries"])
    }
    assert len(wanted) == 8
    mistake = world.batch("cdc", "wrong", "withdraw", {"tokens": {"id": [token("id", 200)]}}, withdraw_reason="mistake")
    for _ in range(4):
        world.push(mistake)
        time.sleep(0.05)  # so that the lists worker does not fetch them all together
    # An expired entry is no mistake, and neither is one that another withdrawal removes.
    cleared = world.batch("cdc", "wrong", "withdraw", {"tokens": {"id": [token("id", 201)]}}, withdraw_reason="cleared")
    world.push(cleared)
    world.wait_answered()
    world.until(lambda: len(world.corrections) >= len(wanted), 20, "corrections")
    world.rest(4)
    assert Counter(correction["correction_of"] for _, correction in world.corrections) == dict.fromkeys(wanted, 1)
    for key, correction in world.corrections:
        assert (key, correction["site_id"].encode()) == (wanted[correction["correction_of"]],) * 2
        assert correction["why"] == "mistake"


def test_a_stream_of_scans_follows_each_batch_and_never_sees_half_of_a_replacement(world: World) -> None:
    """Person 300 is added to a list and removed. Person 301 is on another list under entries that replace each other."""
    world.push(world.batch("cdc", "swap", "full", listed(301)))
    world.wait_answered()
    futures: list[tuple[dict[str, Any], Any]] = []
    first, ending = len(world.scans), threading.Event()

    def stream() -> None:
        while not ending.is_set():
            for _ in range(6):
                number = len(futures)
                event = passage(world, first + number, (300 + number // PARTITIONS % 2,), f"s{number % 7}")
                futures.append((event, world.scan(event, number % PARTITIONS)))
            time.sleep(0.03)

    streaming = threading.Thread(target=stream)
    streaming.start()
    changes: list[tuple[str, int, int]] = []
    """Expected result for person 300 after a change, the Kafka timestamp of the change and that of its receipt, in ms."""
    try:
        for turn in range(2):
            for mode, outcome in (("delta", "quarantine"), ("withdraw", "clear")):
                batch = world.batch("cdc", "stream", mode, listed(300))
                sent = world.push(batch)
                world.push(world.batch("cdc", "swap", "full", listed(301, seconds=90_000 + turn)))
                name = ("cdc", batch["batch_id"])
                world.until(lambda name=name: name in world.answered_ms, 20, "the receipt")
                changes.append((outcome, sent.timestamp_ms, world.answered_ms[name]))
                world.push(world.batch("cdc", "swap", "full", listed(301)))
                world.rest(2.6)
    finally:
        ending.set()
        streaming.join()
    for event, future in futures:
        world.note(event, future)
    world.until(lambda: all(event["seq"] in world.outcomes for event, _ in futures), 30, "every outcome")
    ends = [sent for _, sent, _ in changes[1:]] + [10**15]
    checked: Counter[str] = Counter()
    for event, _ in futures:
        at, (decided, decided_us) = world.scans[event["seq"]][1].timestamp_ms, world.outcomes[event["seq"]]
        if event["people"][0]["tokens"]["id"] == token("id", 301):
            assert decided == "quarantine", "a moment with neither entry"
            checked["swap"] += 1
            continue
        for (outcome, _, answered), end in zip(changes, ends, strict=True):
            if answered + 2000 < at and decided_us < end * 1000:  # one that waits may meet what is pushed meanwhile
                assert decided == outcome, f"{at - answered} ms after the receipt"
                checked[outcome] += 1
    assert min(checked.values()) > 50 and len(checked) == 3, checked


def test_a_repeated_withdrawal_corrects_no_alert_of_an_entry_that_has_expired_since(
    world: World, repeated: dict[str, Any]
) -> None:
    before = Counter(correction["correction_of"] for _, correction in world.corrections)
    world.rest(max(0.0, (ends_at(world, repeated) - now()) / SECOND + 11))  # the entry was removed from the list
    world.push(repeated)
    world.wait_answered()
    world.rest(4)
    assert Counter(correction["correction_of"] for _, correction in world.corrections) == before


def ends_at(world: World, batch: dict[str, Any]) -> int:
    """Returns the time at which the first entry of a batch's list expires."""
    where = (batch["authority"], batch["list"])
    return min(entry.valid_to for entry in world.lists.entries[where])


def test_a_batch_that_was_held_just_before_a_kill_can_be_confirmed(world: World, held: HeldBatches) -> None:
    check_confirmation(world, held.fresh)
    check_all(world, (140,))


def test_a_confirmation_applies_the_batch_that_was_held_whatever_was_sent_since(
    world: World, held: HeldBatches
) -> None:
    check_confirmation(world, held.sent_again)
    check_all(world, *((120 + n,) for n in range(6)))


def check_confirmation(world: World, batch: dict[str, Any]) -> None:
    """Confirms a batch and checks its receipt against the model."""
    world.push(confirmation(world.lists.batches["cdc", batch["batch_id"]], "chen", now()))
    assert world.receipts[-1]["confirmed"]
    world.wait_answered(15)
    check_receipts(world, batch["batch_id"])


def test_a_receipt_that_was_never_committed_is_in_no_view(world: World) -> None:
    """Writes as a lists worker does that is killed in a transaction."""
    receipt = next(answer for answer in world.answers if answer["status"] == "applied") | {"batch_id": "aborted"}
    producer: Any = KafkaProducer(
        bootstrap_servers=world.fleet.env["NINEZERO_KAFKA"], transactional_id=f"{world.fleet.prefix}test"
    )
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(world.fleet.prefix + "push-receipts", value=json.dumps(receipt).encode()).get(30)
    producer.abort_transaction()
    producer.close()
    world.rest(2)
    for view in ("push_batches", "watchlist_audit"):
        assert not world.fleet.query(f"SELECT 1 AS n FROM ninezero.{view} WHERE batch_id = 'aborted'"), view


def test_a_delayed_writer_restores_no_entry_and_stops_no_worker(world: World) -> None:
    """Writes an entry that a `full` removed (below the floor) again, and one that was withdrawn."""
    fleet, old = world.fleet, {}
    first = {
        mode: world.batch("cdc", f"late-{mode}", "delta", listed(400), listed(401)) for mode in ("full", "withdraw")
    }
    for batch in first.values():
        world.push(batch)
    world.wait_answered()
    for mode, batch in first.items():
        key = f"cdc|late-{mode}|{batch['batch_id']}:1".encode()
        old[key] = last_record(world, key)
        world.push(world.batch("cdc", f"late-{mode}", mode, listed(401 if mode == "full" else 400)))
    world.wait_answered()
    for key, record in old.items():
        world.producer.send(record.topic, record.value, key, record.headers, partition=0).get(30)

    def holds() -> None:
        assert fleet.ready("screening") and fleet.ready(SECOND_WORKER)
        check_all(world, *((400,) for _ in range(PARTITIONS)), *((401,) for _ in range(PARTITIONS)), seconds=15)

    time.sleep(1)
    holds()
    for mode in first:
        world.push(world.batch("cdc", f"late-{mode}", "delta", listed(402)))  # the next manifest of the list
    world.wait_answered()
    holds()
    fleet.kill(SECOND_WORKER)
    fleet.start(SECOND_WORKER)
    fleet.wait_ready()
    holds()


def last_record(world: World, key: bytes) -> Any:
    """Returns the newest record of a key on the compacted topic."""
    reader: Any = KafkaConsumer(bootstrap_servers=world.fleet.env["NINEZERO_KAFKA"])
    where = TopicPartition(world.fleet.prefix + "watchlist", 0)
    reader.assign([where])
    reader.seek_to_beginning(where)
    end, found = reader.end_offsets([where])[where], None
    while reader.position(where) < end:
        for record in reader.poll(500).get(where, []):
            found = record if record.key == key else found
    reader.close()
    assert found is not None
    return found
