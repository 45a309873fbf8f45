"""An outbox serves one deployment: which settings are those of the same one, what the file states, and how it is handed to another device."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from ninezero.streams import settings as settings_
from ninezero.streams.edge.device import outbox, outbox_place
from ninezero.streams.edge.device.outbox import NewEvent, Outbox, OutboxError
from ninezero.streams.edge.device.outbox_deployment import OutboxDeployment
from ninezero.streams.edge.device.outbox_summary import read_summary

OURS = OutboxDeployment("", "A-1", ("a:1", "b:1"), "cluster-a")
SETTINGS = settings_.load(
    {"NINEZERO_KAFKA": "a:1,b:1", "NINEZERO_ORDER": "A-1", "NINEZERO_SUNSET": "2099-01-01T00:00:00Z"}, edge=True
)


@pytest.mark.parametrize(
    ("prefix", "order", "kafka", "cluster", "same"),
    [
        ("", "A-1", "a:1", "cluster-a", True),
        ("", "A-2", "a:1", "cluster-a", True),  # the order was prolonged
        ("", "A-2", "c:1", "cluster-a", True),  # and the brokers moved
        ("", "A-1", "b:1,c:1", "cluster-b", True),  # Kafka was installed again at an address that it had
        ("", "A-2", "a:1", "cluster-b", False),  # another deployment came to this address
        ("", "A-1", "c:1", "cluster-b", False),
        ("t.", "A-1", "a:1", "cluster-a", False),
        ("t.", "A-1", "a:1", "", False),
        ("", "A-1", "a:1", "", True),  # without Kafka: an address that it had, or nobody can tell
        ("", "A-2", "b:1", "", True),
        ("", "A-1", "c:1", "", None),
    ],
)
def test_which_settings_are_those_of_the_deployment_of_an_outbox(
    prefix: str, order: str, kafka: str, cluster: str, same: bool | None
) -> None:
    assert OURS.is_same(OutboxDeployment(prefix, order, tuple(kafka.split(",")), cluster)) is same


@pytest.mark.parametrize(
    ("order", "kafka", "same"), [("A-2", "a:1", True), ("A-1", "c:1", True), ("A-2", "c:1", False)]
)
def test_an_outbox_that_was_never_connected_may_get_another_address_or_order_but_not_both(
    order: str, kafka: str, same: bool
) -> None:
    """A wrong address is corrected, and the events that waited are sent."""
    never = OutboxDeployment("", "A-1", ("a:1",))
    assert never.is_same(OutboxDeployment("", order, (kafka,))) is same
    assert never.is_same(OutboxDeployment("", order, (kafka,), "cluster-a")) is same


def new(text: str, **fields: object) -> NewEvent:
    return NewEvent(
        "checkpoint-scans", b"s", lambda seq: json.dumps({"device_id": "d1", "seq": seq, "at": text, **fields}).encode()
    )


def opened(path: Path, deployment: OutboxDeployment | None = None, device: str = "d1") -> Outbox:
    return Outbox(path, device, deployment=deployment or OutboxDeployment.of(SETTINGS))


def test_the_outbox_of_another_deployment_gives_and_gets_nothing(tmp_path: Path) -> None:
    """Neither when it is opened nor when Kafka turns out to be another one later. In its own deployment it goes on as it was."""
    box = opened(tmp_path / "d1.sqlite")
    assert not box.is_confirmed()
    box.confirm("cluster-a")
    assert box.is_confirmed() and box.append([new("a")], "boot", 1) == range(1)
    box.close()
    other = OutboxDeployment("t.", "B-1", ("z:1",))
    box = opened(tmp_path / "d1.sqlite", other)
    refusal = box.refusal()
    assert refusal and "belongs to another deployment (order A-1, Kafka a:1,b:1, topic prefix none): start" in str(
        refusal
    )
    assert "NINEZERO_OUTBOX" in refusal.chinese and "replaced" not in str(refusal)
    with pytest.raises(OutboxError, match="belongs to another deployment"):
        box.append([new("b")], "boot", 1)
    box.close()
    box = opened(tmp_path / "d1.sqlite", OutboxDeployment("", "A-2", ("a:1",)))
    assert box.refusal() is None, "a prolonged order"
    with pytest.raises(
        OutboxError, match=r"belongs to another deployment .*; if it is the same deployment whose Kafka was"
    ):
        box.confirm("cluster-b")
    with pytest.raises(OutboxError, match="belongs to another deployment"):
        box.append([new("b")], "boot", 1)
    box.confirm("cluster-a")
    assert box.append([new("b")], "boot", 1) == range(1, 2)
    box.close()
    found = read_summary(tmp_path / "d1.sqlite")
    assert found.deployment == OutboxDeployment("", "A-2", ("a:1",), "cluster-a") and found.waiting == 2


def test_an_outbox_of_unknown_brokers_accepts_nothing_before_they_answer(tmp_path: Path) -> None:
    box = opened(tmp_path / "d1.sqlite")
    box.confirm("cluster-a")
    box.close()
    for answers in (False, True):
        box = opened(tmp_path / "d1.sqlite", OutboxDeployment("", "A-1", ("c:1",)))
        with pytest.raises(OutboxError, match=r"used for another Kafka \(order A-1, Kafka a:1,b:1, .*does not answer"):
            box.append([new("a")], "boot", 1)
        if answers:
            box.confirm("cluster-a")
            assert box.append([new("a")], "boot", 1) == range(1)
        box.close()


def test_an_outbox_that_states_no_deployment_belongs_to_the_first_that_opens_it(tmp_path: Path) -> None:
    """Those of version 3 and before state none."""
    path = tmp_path / "d1.sqlite"
    box = opened(path)
    box.append([new("a")], "boot", 1)
    box.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE device DROP COLUMN deployment")
        db.execute("UPDATE device SET compared = 1")
        db.execute("PRAGMA user_version = 3")
        db.commit()
    found = read_summary(path)
    assert (found.deployment, found.waiting, found.is_of_another(OURS)) == (None, 1, False)
    box = opened(path)
    assert box.refusal() is None and box.compared() and box.append([new("b")], "boot", 1) == range(1, 2)
    box.close()
    assert read_summary(path).deployment == OutboxDeployment.of(SETTINGS)
    box = opened(path, OutboxDeployment.of(replace(SETTINGS, topic_prefix="t.")))
    assert box.refusal() is not None
    box.close()


def test_a_damaged_statement_is_a_damaged_outbox(tmp_path: Path) -> None:
    path = tmp_path / "d1.sqlite"
    opened(path).close()
    for damaged in ("{}", "nothing", '{"topic_prefix":1}'):
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE device SET deployment = ?", (damaged,))
            db.commit()
        with pytest.raises(OutboxError, match=r"^the outbox file is damaged: keep it"):
            opened(path)
        with pytest.raises(sqlite3.Error):
            read_summary(path)


def refused(folder: Path, device: str = "d1") -> Path:
    """Makes a new outbox with a scan, its disposition, and a disposition of an earlier outbox; then Kafka has events of its device."""
    path = folder / f"{device}.sqlite"
    box = opened(path, device=device)
    of = [{"device_id": "d1", "seq": seq} for seq in (0, 7)]
    box.append([new("a"), *(new("b", of=one) for one in of), new("c", of={"device_id": "d9", "seq": 0})], "boot", 1)
    box.stop_accepting()
    box.close()
    return path


def test_events_of_a_refused_outbox_can_be_sent_under_another_device_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the change is interrupted at any step."""
    box = opened(refused(tmp_path))
    with pytest.raises(
        OutboxError, match=r"It holds 4 events that are not sent: .*ninezero outbox rename d1 NEW_ID, and"
    ) as error:
        box.append([new("d")], "boot", 1)
    box.close()
    assert "有 4 条没有发送" in error.value.chinese and "NOT accepted" in str(error.value)
    for step in ("_hand_over", "_rename_whole", "_settle"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(outbox_place, step, interrupt)
            outbox_place.rename(tmp_path, "d1", "d2")
        if step != "_settle":
            assert [path.name for path in tmp_path.glob("*.sqlite")] == ["d1.sqlite"]
    assert [path.name for path in tmp_path.glob("*.sqlite")] == ["d2.sqlite"], "it is renamed already"
    box = opened(tmp_path / "d2.sqlite", device="d2")
    events = [json.loads(event.value) for event in box.read_unsent(-1, 9)]
    assert [(event["device_id"], event["seq"], event["at"]) for event in events] == [
        ("d2", 0, "a"), ("d2", 1, "b"), ("d2", 2, "b"), ("d2", 3, "c")
    ]  # fmt: skip
    assert [event["of"]["device_id"] for event in events[1:]] == ["d2", "d1", "d9"]
    assert not box.compared() and not box.is_stopped() and box.append([new("d")], "boot", 1) == range(4, 5)
    box.close()


def test_no_copy_of_an_event_stays_under_its_former_device_id(tmp_path: Path) -> None:
    path = refused(tmp_path)
    outbox_place.rename(tmp_path, "d1", "a-longer-device-id")
    assert path.with_name("a-longer-device-id.sqlite").read_bytes().count(b'"at"') == 4


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_outbox_of_which_something_may_have_been_sent_keeps_its_device(tmp_path: Path) -> None:
    path = refused(tmp_path)
    taken = refused(tmp_path, "d2")
    for device, new_id, problem in (
        ("d1", "d2", "a device with the new id has an outbox here"),
        ("d3", "d4", "there is no outbox of that device in "),
    ):
        with pytest.raises(OutboxError, match=problem):
            outbox_place.rename(tmp_path, device, new_id)
    taken.unlink()
    box = Outbox(path, "d1")
    with pytest.raises(OutboxError, match="in use"):
        outbox_place.rename(tmp_path, "d1", "d2")
    box.set_compared()
    box.close()
    with pytest.raises(OutboxError, match="only an outbox of which nothing was sent can be renamed"):
        outbox_place.rename(tmp_path, "d1", "d2")
    assert read_summary(path).device_id == "d1" and outbox.erase(path) == 4
