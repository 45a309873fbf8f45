"""`ninezero push` sends the files of an authority, and the checkpoint gets the outcomes, on a real broker and real workers."""

from __future__ import annotations

import csv
import itertools
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaProducer
from openpyxl import Workbook

from ninezero import Device, Traveller
from ninezero.agents.cli import main as cli
from ninezero.schemas.formats import WATCHLIST
from ninezero.streams import settings as settings_
from ninezero.streams.edge.documents.key_ring import KeyRing, new_ring
from ninezero.streams.edge.documents.normal_forms import check_character
from ninezero.streams.local_kafka.broker import Broker
from tests.integration.edge.test_device import read
from tests.support import NINEZERO, System, wait_for

WHO = ("--authority", "cdc", "--category", "confirmed_case", "--by", "op1", "--basis", "LAW-1")


def resident(n: int) -> str:
    seventeen = f"110105{1950 + n % 50}0{1 + n % 9}{10 + n % 19}{n % 1000:03d}"
    return seventeen + check_character(seventeen)


PEOPLE = list(dict.fromkeys(resident(n) for n in range(12_000)))


@pytest.fixture(scope="module")
def system(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("push")
    new_ring(folder / "keys.json")
    deployment = System(
        kafka.bootstrap, f"chdb://{folder}/db", folder,
        NINEZERO_KEYS=str(folder / "keys.json"), NINEZERO_OUTBOX=str(folder / "outbox"),
    )  # fmt: skip
    deployment.prepare()
    deployment.start("lists", "screening")
    yield deployment
    deployment.stop()


class ListUnderTest:
    """One list of an authority with people of its own, and a checkpoint that screens them."""

    _names = itertools.count()

    def __init__(self, system: System, gate: Device) -> None:
        number = next(self._names)
        self.system, self.gate, self.name = system, gate, f"l{number}"
        self.people = PEOPLE[number * 50 : number * 50 + 50]

    def push(self, *arguments: str, fails: str = "") -> str:
        """Runs `ninezero push` and returns its output, which contains no identity. `fails` is a part of the expected error."""
        done = self.system.run(
            "push", *arguments, *(() if {"--confirm", "--result"} & {*arguments} else (*WHO, "--list", self.name))
        )
        shown, error = done.stdout.decode(), done.stderr.decode()
        assert not any(word in shown + error for word in (*self.people, "张三", "138000")), "an identity on the screen"
        assert (done.returncode, error[:10]) == ((1, "ninezero: ") if fails else (0, "")), shown + error
        assert fails in error and error.count("\n") == bool(fails), error
        return shown

    def csv(self, people: list[str], header: str = "id") -> str:
        path = self.system.folder / f"{time.time_ns()}.csv"
        path.write_text("\n".join([header, *people]) + "\n")
        return str(path)

    def outcomes(self, *people: str) -> list[str]:
        """Returns the outcome of each person at the checkpoint."""
        travellers = [Traveller(role="pedestrian", id=person, temperature_c=36.5) for person in people]
        tickets = [self.gate.scan("pedestrian", [traveller]) for traveller in travellers]
        return [ticket.wait(60).outcome for ticket in tickets]

    def restart(self, *roles: str) -> None:
        for role in roles:
            self.system.kill(role)
        self.system.start(*roles)
        wait_for(lambda: all(self.system.ready(role) for role in roles), 60, "the restarted roles")


@pytest.fixture(scope="module")
def gate(system: System) -> Iterator[Device]:
    with Device(settings_.load(system.env, edge=True), site_id="road-01", device_id="gate-a") as device:
        yield device


@pytest.fixture
def lists(system: System, gate: Device) -> ListUnderTest:
    return ListUnderTest(system, gate)


def wait_until_applied() -> None:
    """Waits the two seconds within which a batch matches after its receipt."""
    time.sleep(2)


def test_files_of_an_authority_become_one_batch_and_the_result_of_every_line_is_reported(lists: ListUnderTest) -> None:
    people, until = lists.people, f"{datetime.now() + timedelta(days=5):%Y年%m月%d日}"
    wide = str.maketrans("0123456789X", "０１２３４５６７８９Ｘ")
    rows = [f"张三;{person.translate(wide)};13800013800;{until}" for person in people[:3]]
    rows += [f"张三;;;{until}", f"张三;{people[3]};;"]
    text = "\n".join(["附件：密切接触者名单", "姓名;身份证号;联系电话;隔离截止日期", *rows])
    first, second, rejects = (lists.system.folder / name for name in ("list.csv", "list.xlsx", "rejects.csv"))
    first.write_bytes(text.encode("gb18030"))
    book = Workbook()
    book.active.append(["证件号码", "手机号", "截止"])
    book.active.append([people[4], 13800013801.0, datetime.now() + timedelta(days=3)])
    book.active.append([1.1010519491231e17, 1380001380, None])
    book.save(second)
    call = (str(first), str(second), "--rejects", str(rejects), "--batch-id", "b1")
    assert "nothing was sent" in lists.push(*call, "--check")
    shown = lists.push(*call).splitlines()
    assert shown[:2] == ["file 1: columns id B, phone C, valid_to D", "file 2: columns id A, phone B, valid_to C"]
    assert shown[-1] == "applied: 4 accepted, 0 duplicate, 3 rejected, 0 withdrawn"
    rows = [line.partition("): ")[0] for line in shown if line.startswith("file") and " row " in line]
    assert rows == [
        "file 1 row 6: rejected (no_token", "file 1 row 7: rejected (no_window", "file 2 row 3: rejected (no_token",
        "file 2 row 3: rejected (id:digits_lost", "file 2 row 3: rejected (phone:phone_invalid",
    ]  # fmt: skip
    assert "    → column D: write the date as year-month-day, or give --days if no end is known" in shown
    assert [row[:4] for row in csv.reader(rejects.read_text("utf-8-sig").splitlines())] == [
        ["file", "row", "code", "findings"], ["1", "6", "no_token", ""], ["1", "7", "no_window", ""],
        ["2", "3", "no_token", "id:digits_lost;phone:phone_invalid"],
    ]  # fmt: skip
    wait_until_applied()
    assert lists.outcomes(*people[:6]) == ["refer"] * 3 + ["clear", "refer", "clear"]
    assert lists.push(*call).splitlines()[-1] == shown[-1], "the same batch again gets the same receipt"


def test_a_workbook_is_pushed_as_it_is_shown_and_hidden_rows_only_if_that_was_said(lists: ListUnderTest) -> None:
    people, day = lists.people, datetime.combine(datetime.now().date() + timedelta(days=5), datetime.min.time())
    book, path = Workbook(), lists.system.folder / "shown.xlsx"
    book.active.append(["请在第二张表中填写"])
    page = book.create_sheet("名单")
    page.append(["身份证号", "手机号", "截止"])
    for number, person in enumerate(people[:4]):
        page.append([person, 13800013800 + number, day if number == 0 else None])
    page.merge_cells("C2:C5")
    page.row_dimensions[3].hidden = page.row_dimensions[4].hidden = True
    page["B5"].number_format = "0%"
    book.save(path)
    lists.push(
        str(path),
        fails="no header of an identity column is recognised, on sheet 1 (Sheet), and other sheets have a list",
    )
    lists.push(str(path), "--sheet", "名单", fails="file 1: 2 hidden rows below the header, the first is row 3")
    shown = lists.push(str(path), "--sheet", "2", "--hidden", "include").splitlines()
    assert shown[0] == "file 1: columns id A, phone B, valid_to C; 2 hidden rows included" and "4 accepted" in shown[-1]
    [finding] = [
        number for number, line in enumerate(shown) if "row 5: sent, to be checked (phone:number_format)" in line
    ]
    assert shown[finding + 1].startswith("    → column B: ")
    wait_until_applied()
    assert lists.outcomes(*people[:5]) == ["refer"] * 4 + ["clear"]
    removed = lists.push(
        str(path), "--sheet", "2", "--hidden", "skip", "--withdraw", "--reason", "cleared"
    ).splitlines()
    assert "2 hidden rows left out" in removed[0] and "2 withdrawn" in removed[-1]
    wait_until_applied()
    assert lists.outcomes(*people[:4]) == ["clear", "refer", "refer", "clear"]


def test_a_column_mapping_is_given_and_saved(lists: ListUnderTest) -> None:
    path, saved = lists.csv([f"{lists.people[0]},x"], "Nummer,sonst"), str(lists.system.folder / "map.json")
    lists.push(path, "--days", "5", fails="give --map id=A, if that is right")
    letters = lists.push(path, "--days", "5", "--map", "id=A").splitlines()
    assert letters[0].endswith("row 1 is read as the header") and "applied: 1 accepted" in letters[-1]
    assert "1 accepted" in lists.push(path, "--days", "7", "--map", "id=Nummer", "--save-mapping", saved)
    assert "1 accepted" in lists.push(path, "--days", "6", "--mapping", saved)


def test_the_same_files_again_are_answered_with_the_receipt_of_the_first_time(lists: ListUnderTest) -> None:
    path, other = lists.csv([*lists.people[:4], "无"]), lists.csv(lists.people[4:6])
    first = lists.push(path, "--days", "5").splitlines()
    batch = next(line for line in first if line.startswith("sending as batch ")).split()[3].rstrip(",")
    rejects = lists.system.folder / f"rejects-{batch}.csv"
    written = rejects.read_bytes()
    rejects.unlink()
    again = lists.push(path, "--days", "5").splitlines()
    assert first[-1] == again[-1] == "applied: 4 accepted, 0 duplicate, 1 rejected, 0 withdrawn"
    before = next(line for line in again if line.startswith(f"these files were sent before as batch {batch} ("))
    assert "nothing is sent" in before and not any("sending as batch" in line for line in again)
    assert rejects.read_bytes() == written, "who was interrupted before the rejects file gets it now"
    nowhere = str(lists.system.folder / "no folder" / "rejects.csv")
    shown = lists.push(path, "--days", "5", "--rejects", nowhere, fails="a file cannot be written")
    assert shown.splitlines()[-1] == first[-1], "the receipt is shown, whatever becomes of the rejects file"
    assert lists.push("--result", batch).splitlines()[-1] == first[-1]
    assert f"sending as batch {batch}-2, " in lists.push(path, "--days", "5", "--again")
    assert "4 withdrawn" in lists.push(path, "--withdraw", "--reason", "cleared")
    assert "4 accepted" in lists.push(path, "--days", "5"), "the list has changed since, so it is a new batch"
    lists.push(other, "--days", "5")
    assert "sending as batch" in lists.push(path, "--days", "5"), "a later batch may have changed what this one states"


TODAY, TOMORROW = "Etc/GMT+12", "Etc/GMT-12"
"""Time zones that are a day apart."""


def test_what_the_same_files_were_yesterday_is_named(lists: ListUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    path, dated = (
        lists.csv(lists.people[:4]),
        lists.csv([f"{lists.people[5]},{date.today() + timedelta(days=9)}"], "id,valid_to"),
    )
    monkeypatch.setitem(lists.system.env, "NINEZERO_TIMEZONE", TODAY)
    batches = [re.search(r"sending as batch (\S+),", lists.push(file, "--days", "5")) for file in (dated, path)]
    monkeypatch.setitem(lists.system.env, "NINEZERO_TIMEZONE", TOMORROW)
    shown = lists.push(path, "--days", "5")
    assert batches[1] and f"these files were sent yesterday as batch {batches[1][1]} (" in shown
    assert "sending as batch" in shown and "4 accepted, 0 duplicate" in shown, "they end a day later"
    assert "yesterday" not in lists.push(path, "--days", "5") and "yesterday" not in lists.push(dated, "--days", "5")


@pytest.mark.parametrize("when", ["on the same day", "after midnight"])
def test_a_push_that_was_interrupted_before_its_receipt_is_continued_by_the_same_command(
    when: str, lists: ListUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After midnight under the name that the interrupted command has printed."""
    path = lists.csv(lists.people[:4])
    monkeypatch.setitem(lists.system.env, "NINEZERO_TIMEZONE", TODAY)
    lists.system.kill("lists")
    command = [NINEZERO, "push", path, *WHO, "--list", lists.name, "--days", "5"]
    with subprocess.Popen(
        command, env=lists.system.env, cwd=lists.system.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as pushing:  # fmt: skip
        assert pushing.stdout is not None and pushing.stderr is not None
        sending = next(line for line in pushing.stdout if line.startswith(b"sending as batch "))
        batch = sending.decode().split()[3].rstrip(",")
        wait_for(
            lambda: any(push["batch_id"] == batch for push in read(lists.system, "watchlist-pushes")), 30, "the batch"
        )
        pushing.send_signal(signal.SIGINT)
        error = pushing.stderr.read().decode()
    assert (
        pushing.returncode == 130
        and f"The same command continues with it and shows its receipt (after midnight add --batch-id {batch}); to see it"
        in error
    )
    lists.push("--result", batch, fails="there is no receipt of batch")
    lists.system.start("lists")
    wait_for(lambda: lists.system.ready("lists"), 60, "the lists role")
    same = ["--days", "5"]
    if when == "after midnight":
        monkeypatch.setitem(lists.system.env, "NINEZERO_TIMEZONE", TOMORROW)
        same += ["--batch-id", batch]
    shown = lists.push(path, *same).splitlines()
    assert shown[-1] == "applied: 4 accepted, 0 duplicate, 0 rejected, 0 withdrawn"
    assert any(batch in line for line in shown)
    receipts = [one for one in read(lists.system, "push-receipts") if one["list"] == lists.name]
    assert {(one["batch_id"], one["accepted"]) for one in receipts} == {(batch, 4)}


def test_a_large_full_list_is_sent_in_parts_replaces_the_old_one_and_survives_restarts(lists: ListUnderTest) -> None:
    first = lists.push(lists.csv(PEOPLE[1000:10_000]), "--days", "5", "--full")
    assert "in 2 parts" in first and "applied: 9,000 accepted" in first
    wait_until_applied()
    some = (PEOPLE[1000], PEOPLE[5000], PEOPLE[9999])
    assert lists.outcomes(*some) == ["refer"] * 3
    fewer = lists.csv(PEOPLE[4000:10_000])
    lists.push(fewer, "--days", "6", "--full", fails="3,000 of 9,000 entries would leave the list")
    second = lists.push(lists.csv(PEOPLE[2000:10_000]), "--days", "6", "--full")
    assert "8,000 accepted, 0 duplicate, 0 rejected, 1,000 withdrawn; 1,000 of 9,000 entries leave the list" in second
    wait_until_applied()
    assert lists.outcomes(*some) == ["clear", "refer", "refer"]
    lists.restart("lists", "screening")
    assert lists.outcomes(*some) == ["clear", "refer", "refer"]
    third = lists.push(lists.csv(PEOPLE[4000:4010]), "--withdraw", "--reason", "cleared")
    assert "0 rejected, 10 withdrawn" in third


def test_a_shrinking_list_is_held_until_a_second_person_confirms_it(lists: ListUnderTest) -> None:
    people = lists.people
    lists.push(lists.csv(people[:30]), "--days", "5")
    few, none = lists.csv(people[:5]), lists.csv(["???"])
    lists.push(few, "--days", "5", "--full", "--batch-id", "few", fails="held (would_shrink)")
    lists.push(none, "--days", "5", "--full", "--batch-id", "none", fails="held (would_empty)")
    wait_until_applied()
    assert lists.outcomes(people[0], people[29]) == ["refer", "refer"], "the last good list stays in force"
    lists.push("--confirm", "few", "--by", "op1", fails="a second person has to")
    lists.push("--confirm", "unknown-id", "--by", "op2", fails="no receipt of such a batch")
    lists.restart("lists")
    assert "applied: 5 accepted" in lists.push("--confirm", "few", "--by", "op2")
    assert "applied: 5 accepted" in lists.push("--confirm", "few", "--by", "op2"), (
        "the same confirmation gets the same receipt"
    )
    lists.push(
        "--confirm",
        "few",
        "--by",
        "op3",
        fails="the batch is not held. see its result: somebody else may have confirmed it: ninezero push --result few",
    )
    lists.push(lists.csv(people[:6]), "--days", "5")
    lists.push(
        "--confirm", "none", "--by", "op2", fails="a later batch of the list was applied since. push the files again"
    )
    wait_until_applied()
    assert lists.outcomes(people[0], people[5], people[29]) == ["refer", "refer", "clear"]


def sequences(shown: str) -> list[int]:
    """Returns the sequence number of each batch that `ninezero push` says it sends."""
    return [int(number) for number in re.findall(r"^sending as batch \S+, sequence ([0-9]+)", shown, re.MULTILINE)]


def test_no_sequence_locks_a_list_and_the_next_one_follows_the_last_that_was_applied(lists: ListUnderTest) -> None:
    people, in_2099 = lists.people, int(datetime(2099, 1, 1, tzinfo=UTC).timestamp() * 1000)
    for ahead in (2**63 - 1, in_2099):
        one = lists.csv(people[:1])
        lists.push(one, "--days", "5", "--sequence", str(ahead), fails="rejected (sequence_ahead)")
    assert sequences(lists.push(lists.csv(people[:1]), "--days", "5")) == [1], "nothing was applied to the list"
    lists.push(lists.csv(people[1:2]), "--days", "5", "--sequence", "40")
    assert sequences(lists.push(lists.csv(people[2:3]), "--days", "5")) == [41]
    assert sequences(lists.push(lists.csv(people[3:4]), "--days", "5", "--batch-id", f"{lists.name}-own")) == [42]
    lists.push(lists.csv(people[4:5]), "--days", "5", "--sequence", "42", fails="rejected (stale_sequence)")
    wait_until_applied()
    assert lists.outcomes(*people[:5]) == ["refer"] * 4 + ["clear"]


def test_batches_that_are_held_one_after_the_other_can_each_be_confirmed(lists: ListUnderTest) -> None:
    lists.push(lists.csv(lists.people[:20]), "--days", "5")
    for batch, kept in (("half", 9), ("few", 4)):
        call = (lists.csv(lists.people[:kept]), "--days", "5", "--full", "--batch-id", f"{lists.name}-{batch}")
        lists.push(*call, fails="held (would_shrink)")
    for batch, kept in (("half", 9), ("few", 4)):
        assert f"applied: {kept} accepted" in lists.push("--confirm", f"{lists.name}-{batch}", "--by", "op2")


def test_a_batch_under_a_strange_key_is_held_so_that_nobody_is_held_for_it(
    lists: ListUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person is held if a list lacks the key of their tokens."""
    ours, people = ListUnderTest(lists.system, lists.gate), lists.people
    ours.push(ours.csv(ours.people[:1]), "--days", "5")
    new_ring(lists.system.folder / "strange.json")
    monkeypatch.setitem(lists.system.env, "NINEZERO_KEYS", str(lists.system.folder / "strange.json"))
    for mode in ((), ("--full",)):
        lists.push(lists.csv(people[:1]), "--days", "5", *mode, fails="held (unknown_key_ids)")
    monkeypatch.undo()
    wait_until_applied()
    assert lists.outcomes(people[0], people[1], ours.people[0]) == ["clear", "clear", "refer"]


def test_a_withdrawal_for_mistake_corrects_each_alert_once(lists: ListUnderTest) -> None:
    people = lists.people
    lists.push(lists.csv(people[:3]), "--days", "5", "--batch-id", "a1")
    wait_until_applied()
    assert lists.outcomes(people[0], people[0], people[1]) == ["refer"] * 3
    call = (lists.csv([people[0], people[8]]), "--withdraw", "--reason", "mistake", "--batch-id", "w1")
    shown = lists.push(*call)
    assert (
        "file 1 row 3: rejected (not_listed): the list has no such entry" in shown
        and "1 rejected, 1 withdrawn" in shown
    )
    wait_until_applied()
    assert lists.outcomes(people[0], people[1]) == ["clear", "refer"]

    def corrections() -> list[dict[str, Any]]:
        return [alert for alert in read(lists.system, "screening-alerts") if "correction_of" in alert]

    wait_for(lambda: len(corrections()) == 2, 20, "the corrections")
    lists.push(*call)
    time.sleep(4)
    alerts = [alert for alert in read(lists.system, "screening-alerts") if "alert_id" in alert]
    wrong = {a["alert_id"] for a in alerts if a["reasons"][0]["entries"][0]["entry_id"] == "a1:1"}
    assert {c["correction_of"] for c in corrections()} == wrong and len(corrections()) == len(wrong) == 2
    assert {(c["site_id"], c["why"]) for c in corrections()} == {("road-01", "mistake")}


class LateScans:
    """A device that was without a network: its scans arrive long after they were observed."""

    def __init__(self, lists: ListUnderTest) -> None:
        self._lists, self._device = lists, f"late-{lists.name}"
        self._ring = KeyRing.load(Path(lists.system.env["NINEZERO_KEYS"]))
        self._seq = itertools.count()

    def send(self, person: str, observed: datetime) -> int:
        """Sends the scan of a person. Returns its sequence number."""
        who = {"role": "pedestrian", "tokens": {"id": self._ring.tokens("id", person)[0]}, "temperature_c": 36.5}
        seq = next(self._seq)
        event = {
            "device_id": self._device,
            "seq": seq,
            "site_id": "road-01",
            "observed_at": observed,
            "kind": "pedestrian",
            "people": [who],
        }
        producer = KafkaProducer(bootstrap_servers=self._lists.system.env["NINEZERO_KAFKA"])
        producer.send(self._lists.system.prefix + "checkpoint-scans", orjson.dumps(event), b"road-01").get(10)
        producer.close()
        return seq

    def outcome(self, person: str, observed: datetime) -> str:
        """Sends the scan of a person, and returns its outcome."""
        seq, found = self.send(person, observed), list[str]()

        def answered() -> bool:
            outcomes = [row for each in read(self._lists.system, "screening-outcomes") for row in each["outcomes"]]
            found[:] = [row[2] for row in outcomes if row[:2] == [self._device, seq]]
            return bool(found)

        wait_for(answered, 20, "the outcome")
        return found[0]


def test_a_renewal_does_not_unlist_people_for_what_was_observed_before_it(lists: ListUnderTest) -> None:
    people, late = lists.people, LateScans(lists)
    until, later = (f"{datetime.now() + timedelta(days=days):%Y-%m-%d}" for days in (9, 12))
    path = lists.csv([f"{person},{until}" for person in people[:3]], "id,截止")
    offline = datetime.now(UTC) - timedelta(hours=9)
    assert "3 accepted, 0 duplicate" in lists.push(path)
    wait_until_applied()
    after_the_first = datetime.now(UTC)
    assert late.outcome(people[0], after_the_first) == "refer"
    assert late.outcome(people[0], offline) == "refer"  # observed before the first push
    assert "0 accepted, 3 duplicate" in lists.push(path, "--again")
    for renewal in (
        ("--full",),
        (),
        ("--days", "13"),
    ):
        renewed = lists.csv([f"{person},{'' if '--days' in renewal else later}" for person in people[:3]], "id,截止")
        lists.push(renewed, *renewal)
        wait_until_applied()
        assert [late.outcome(people[1], at) for at in (after_the_first, offline)] == ["refer", "refer"], renewal
    assert late.outcome(people[4], after_the_first) == "clear"


def test_a_withdrawal_for_mistake_after_renewals_and_a_merger_corrects_every_alert(lists: ListUnderTest) -> None:
    people, until = lists.people, f"{datetime.now() + timedelta(days=9):%Y-%m-%d}"
    lists.push(lists.csv([people[0], people[2]]), "--days", "5", "--batch-id", "m1")
    lists.push(lists.csv([people[1]]), "--days", "5", "--batch-id", "m2")
    wait_until_applied()
    assert lists.outcomes(people[0], people[1], people[2]) == ["refer"] * 3
    lists.push(lists.csv([people[0]]), "--days", "6", "--batch-id", "m3")  # a renewal
    wait_until_applied()
    assert lists.outcomes(people[0]) == ["refer"]
    both = lists.csv([f"{people[0]},{people[1]},{until}"], "id,pass,截止")
    first = lists.csv([f"{people[1]},{people[1]},{until}"], "id,pass,截止")
    assert "1 accepted" in lists.push(first, "--batch-id", "m4")
    assert "1 accepted" in lists.push(both, "--batch-id", "m5")  # it is both entries, which become one
    shown = lists.system.run("watchlist", "show", "m2:1").stdout.decode()
    assert "m2:1 on cdc/" in shown and "was merged into m1:1" in shown and "m5" in shown
    wait_until_applied()
    assert lists.outcomes(people[0]) == ["refer"]
    lists.restart("lists")
    assert "1 withdrawn" in lists.push(lists.csv([people[0]]), "--withdraw", "--reason", "mistake", "--batch-id", "m6")

    def named(*ids: str) -> set[str]:
        alerts = [alert for alert in read(lists.system, "screening-alerts") if "reasons" in alert]
        entries = {a["alert_id"]: {e["entry_id"] for r in a["reasons"] for e in r["entries"]} for a in alerts}
        return {alert for alert, those in entries.items() if those & set(ids)}

    def corrected() -> set[str]:
        return {alert["correction_of"] for alert in read(lists.system, "screening-alerts") if "correction_of" in alert}

    wrong = named("m1:1", "m2:1")
    assert len(wrong) == 4
    wait_for(lambda: wrong <= corrected(), 20, "the corrections")
    assert not named("m1:2") & corrected()


def test_an_expired_entry_stops_matching_and_leaves_the_topic_and_the_memory(lists: ListUnderTest) -> None:
    people, soon = lists.people, f"{datetime.now(UTC) + timedelta(seconds=20):%Y-%m-%dT%H:%M:%SZ}"
    later = f"{datetime.now(UTC) + timedelta(days=6):%Y-%m-%d}"
    path = lists.csv([f"{people[0]},{soon}", f"{people[1]},{later}"], "id,valid_to")
    lists.push(path, "--batch-id", "x1", "--valid-from", f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}")
    wait_until_applied()
    assert lists.outcomes(people[0]) == ["refer"]

    def shown(entry: str) -> str:
        return lists.system.run("watchlist", "show", entry).stdout.decode()

    assert "confirmed_case" in shown("x1:1")
    wait_for(lambda: datetime.now(UTC).isoformat() > soon, 25, "the end of the entry")
    time.sleep(0.5)
    assert lists.outcomes(people[0]) == ["clear"]
    wait_for(lambda: "no rows" in shown("x1:1"), 20, "the removal of the entry")
    assert lists.system.ready("screening") and lists.outcomes(people[1]) == ["refer"]
    assert "valid" in shown("x1:2")


def test_a_record_of_a_delayed_writer_brings_no_entry_back(lists: ListUnderTest) -> None:
    people = lists.people
    lists.push(lists.csv(people[:3]), "--days", "5", "--batch-id", "d1")
    old = [record for record in read(lists.system, "watchlist") if record["record"] == "entry"][-3]
    lists.push(lists.csv(people[:1]), "--withdraw", "--reason", "cleared")
    producer = KafkaProducer(bootstrap_servers=lists.system.env["NINEZERO_KAFKA"])
    key = f"cdc|{lists.name}|d1:1".encode()
    producer.send(lists.system.prefix + "watchlist", orjson.dumps(old), key, WATCHLIST.headers).get(10)
    producer.close()
    lists.push(lists.csv(people[5:6]), "--days", "5")
    wait_until_applied()
    assert lists.outcomes(people[0], people[1], people[5]) == ["clear", "refer", "refer"]
    lists.restart("screening")
    assert lists.outcomes(people[0], people[1], people[5]) == ["clear", "refer", "refer"]


def test_a_wrong_command_line_is_answered_in_one_line(
    lists: ListUnderTest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, person, who = lists.csv(lists.people[:3]), lists.people[0], (*WHO, "--list", lists.name)
    for name, value in lists.system.env.items():
        monkeypatch.setenv(name, value)
    for arguments, line in (
        ((), "name the files to push"),
        ((path,), "missing: --authority (health authority that pushes, such as cdc-jiyang), --list ("),
        ((path, "--category", person, *WHO[:2]), "--category must be one of"),
        ((path, *who, "--by", "王"), "(no Chinese characters: write pinyin or a code), such as wang"),
        ((path, *WHO[:4], "--list", "l", "--basis", "x", "--by", person), "--by is wrong: use letters A to Z"),
        ((path, *who, "--withdraw"), "go together"),
        ((path, *who, "--withdraw", "--full", "--reason", "mistake"), "exclude each other"),
        ((path, *who, "--withdraw", "--reason", person), "--reason must be one of expired, cleared, mistake"),
        ((path, *who, "--map", person), "--map is FIELD=COLUMN"),
        ((path, *who, "--valid-from", person), "--valid-from is not a time"),
        ((f"{lists.system.folder}/{person}", *who), "there is no such file"),
        ((path, *who, "--days", person), "--days is wrong: give a whole number from 1 to 36500"),
        ((path, *who, "--days", "29"), "--days is at most 28"),
        (("--confirm", "b1"), "missing: --by (person who pushes, such as wang)"),
        (("--confirm", "b1", "--by", "li", "--check"), "--confirm and --result go with no files, not with --check"),
        ((path, "--result", "b1"), "--confirm and --result go with no files"),
        (("--confirm", "b1", "--by", "li", "--result", "b1"), "and not with each other"),
        ((path, *who, "--batch-id", person), "--batch-id is wrong: use letters"),
        ((path, *who, f"--{person}"), "is no option of ninezero push"),
    ):
        monkeypatch.setattr(sys, "argv", ["ninezero", "push", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        error = capsys.readouterr().err
        assert (ended.value.code, error.count("\n")) == (1, 1) and line in error and person not in error
    monkeypatch.setitem(lists.system.env, "NINEZERO_KAFKA", "127.0.0.1:9")
    lists.push(path, "--days", "5", fails="Kafka does not answer")
