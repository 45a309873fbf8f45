"""An outbox is found from every folder, and one in the former default folder comes along whole."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ninezero.streams import settings as settings_
from ninezero.streams.edge.device import outbox_place
from ninezero.streams.edge.device.outbox import NewEvent, Outbox, OutboxError
from ninezero.streams.edge.device.outbox_place import outbox_file
from ninezero.streams.settings import Settings, SettingsError

GIVEN = {"NINEZERO_KAFKA": "127.0.0.1:9", "NINEZERO_ORDER": "T", "NINEZERO_SUNSET": "2099-01-01T00:00:00Z"}


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings without NINEZERO_OUTBOX, in a folder where an earlier release ran a device with three events that wait."""
    folder = tmp_path / "where it ran"
    folder.mkdir()
    monkeypatch.chdir(folder)
    box = Outbox(folder / ".run" / "outbox" / "gate-a.sqlite", "gate-a")
    box.append([NewEvent("checkpoint-scans", b"s", lambda seq: b"%d" % seq)] * 3, "boot", 1)
    box.close()
    return settings_.load(GIVEN | {"XDG_STATE_HOME": str(tmp_path / "state")}, edge=True)


def events(path: Path, next_seq: int) -> None:
    """Checks that an outbox has the three events and goes on behind them."""
    box = Outbox(path, "gate-a")
    assert [event.value for event in box.read_unsent(-1, 10)][:3] == [b"0", b"1", b"2"]
    assert box.append([NewEvent("checkpoint-scans", b"s", lambda seq: b"%d" % seq)], "boot", 1) == range(
        next_seq, next_seq + 1
    )
    box.close()


def test_an_outbox_of_the_former_folder_is_moved_with_its_events_and_its_counter(
    given: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = outbox_file(given, "gate-a")
    assert path == tmp_path / "state" / "ninezero" / "outbox" / "gate-a.sqlite"
    assert not list((tmp_path / "where it ran" / ".run" / "outbox").iterdir())
    events(path, 3)
    monkeypatch.chdir(tmp_path)
    assert outbox_file(given, "gate-a") == path
    events(path, 4)


@pytest.mark.parametrize("step", ["rename", "fsync"])
def test_a_move_that_is_interrupted_leaves_one_outbox(
    step: str, given: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*{"rename": (Path, "rename"), "fsync": (os, "fsync")}[step], killed)
        with pytest.raises(KeyboardInterrupt):
            outbox_file(given, "gate-a")
    assert given.former_outbox is not None
    assert (given.former_outbox / "gate-a.sqlite").exists() == (step == "rename")
    events(outbox_file(given, "gate-a"), 3)


def test_an_outbox_that_is_in_use_or_on_another_disk_or_in_both_folders_is_refused_and_stays(
    given: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert given.former_outbox is not None
    former = given.former_outbox / "gate-a.sqlite"
    running = Outbox(former, "gate-a")
    with pytest.raises(OutboxError, match="in use by another process"):
        outbox_file(given, "gate-a")
    running.close()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(18, "Invalid cross-device link")))
        with pytest.raises(
            OutboxError, match=f"cannot be moved to .*: set NINEZERO_OUTBOX={given.former_outbox}$"
        ) as error:
            outbox_file(given, "gate-a")
        assert "NINEZERO_OUTBOX" in error.value.chinese
    events(former, 3)
    Outbox(given.outbox_folder() / "gate-a.sqlite", "gate-a").close()
    with pytest.raises(OutboxError, match="this device has two outboxes"):
        outbox_file(given, "gate-a")
    events(former, 4)


def test_an_outbox_that_another_process_moves_first_keeps_its_events(
    given: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen it in the former folder; the other one moves it and has not opened it yet."""
    lock, moved = outbox_place.lock_outbox, list[Path]()

    def late(path: Path) -> int:
        if not moved:
            moved.append(path)
            outbox_file(given, "gate-a")
        return lock(path)

    monkeypatch.setattr(outbox_place, "lock_outbox", late)
    events(outbox_file(given, "gate-a"), 3)
    assert moved and given.former_outbox is not None and not list(given.former_outbox.iterdir())


def test_a_symbolic_link_is_not_moved(given: Settings, tmp_path: Path) -> None:
    assert given.former_outbox is not None
    former, real = given.former_outbox / "gate-a.sqlite", tmp_path / "where it ran" / "real.sqlite"
    former.rename(real)
    former.symlink_to(Path("..", "..", "real.sqlite"))
    with pytest.raises(OutboxError, match=f"cannot be moved to .*: set NINEZERO_OUTBOX={given.former_outbox}$"):
        outbox_file(given, "gate-a")
    events(former, 3)


def test_a_move_that_cannot_be_flushed_is_no_failure(given: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outbox is in its new folder. A message that names the former one would make the operator look there."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        path = outbox_file(given, "gate-a")
    events(path, 3)


@pytest.mark.parametrize("case", ["deleted", "not to be entered"])
def test_a_device_starts_in_a_folder_that_was_deleted_or_that_its_account_may_not_enter(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a service that an administrator starts from a folder of their own."""
    environment = GIVEN | {"XDG_STATE_HOME": str(tmp_path / "state")}
    if case == "deleted":
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        settings = settings_.load(environment, edge=True)
        assert settings.former_outbox is None
    else:  # root may enter every folder, so the error is another one
        settings = replace(settings_.load(environment, edge=True), former_outbox=tmp_path / ("x" * 300))
        assert outbox_place.former_folder(settings) is None
    assert outbox_file(settings, "gate-a") == tmp_path / "state" / "ninezero" / "outbox" / "gate-a.sqlite"


def test_nothing_is_moved_if_the_setting_names_a_folder(given: Settings, tmp_path: Path) -> None:
    named = settings_.load(GIVEN | {"NINEZERO_OUTBOX": str(tmp_path / "named")}, edge=True)
    assert outbox_file(named, "gate-a") == tmp_path / "named" / "gate-a.sqlite"
    assert given.former_outbox is not None
    events(given.former_outbox / "gate-a.sqlite", 3)


@pytest.mark.parametrize("home", ["/nonexistent", "/", "relative", f"/{'x' * 300}"])
def test_an_account_without_a_home_needs_the_setting(home: str) -> None:
    homeless = settings_.load(GIVEN | {"HOME": home}, edge=True)
    with pytest.raises(SettingsError, match=r"^NINEZERO_OUTBOX is not set and this account has no home folder: set it"):
        outbox_file(homeless, "gate-a")
    assert outbox_place.outbox_files(Path("/nonexistent")) == []
