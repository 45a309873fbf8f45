"""The outbox keeps accepted events in order and under numbers without gaps, whatever happens to the process or the disk."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ninezero.streams.edge.device import outbox
from ninezero.streams.edge.device.outbox import NewEvent, Outbox, OutboxError

ADDER = """
import resource, sys
from ninezero.streams.edge.device.outbox import NewEvent, Outbox
if len(sys.argv) > 2:
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
box = Outbox(sys.argv[1], "d1")
while True:
    seqs = box.append([NewEvent("scans", b"s", lambda seq: b"%d" % seq + b"x" * 400)] * 3, "boot", 1)
    print(seqs.stop - 1, flush=True)
"""


def new(text: str) -> NewEvent:
    return NewEvent("scans", b"site", lambda seq: f"{seq} {text}".encode())


def unsent(box: Outbox) -> list[tuple[int, str]]:
    return [(row.seq, row.value.decode()) for row in box.read_unsent(-1, 1_000_000)]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.lists(st.text(alphabet="ab", max_size=3), min_size=1, max_size=4)),
            st.tuples(st.just("acknowledge"), st.lists(st.integers(0, 30), max_size=5)),
            st.tuples(st.just("answer"), st.lists(st.integers(0, 30), max_size=5)),
            st.tuples(st.just("reopen"), st.none()),
        ),
        max_size=25,
    )
)
def test_it_contains_what_was_appended_and_not_acknowledged(steps: list[tuple[str, list[object]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "box"
        box, model, unanswered, used = Outbox(path, "d1", capacity=20), {}, set(), 0
        early: set[int] = set()
        for step, some in steps:
            if step == "add":
                try:
                    seqs = box.append([new(str(text)) for text in some], "boot", 1)
                except OutboxError:
                    assert len(model) + len(some) > 20
                    continue
                assert seqs == range(used, used + len(some))
                model |= {seq: f"{seq} {text}" for seq, text in zip(seqs, some, strict=True)}
                used += len(some)
            elif step == "acknowledge":
                known = [int(str(seq)) for seq in some if seq in model]
                box.acknowledge([(seq, 1_000) for seq in dict.fromkeys(known)])
                unanswered |= set(known) - early
                for seq in set(known):
                    del model[seq]
            elif step == "answer":
                box.record_answers([int(str(seq)) for seq in some])
                early |= {int(str(seq)) for seq in some if seq in model}
                unanswered -= set(some)
            else:
                box.close()
                box, early = Outbox(path, "d1", capacity=20), set()
            assert unsent(box) == sorted(model.items())
            assert box.status() == (len(model), 20, len(unanswered))
        box.close()


def test_accepted_events_survive_kill_9(tmp_path: Path) -> None:
    for _ in range(5):
        child = subprocess.Popen([sys.executable, "-c", ADDER, str(tmp_path / "box")], stdout=subprocess.PIPE)
        assert child.stdout is not None
        for _ in range(20):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        printed = child.stdout.read().splitlines()
        last = int(printed[-1]) if printed else 0
        child.wait()
        box = Outbox(tmp_path / "box", "d1")
        seqs = [seq for seq, _ in unsent(box)]
        assert seqs == list(range(len(seqs)))
        assert seqs[-1] >= last
        box.close()


def test_a_full_disk_raises_and_loses_nothing(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", ADDER, str(tmp_path / "box"), "300000"], capture_output=True, text=True, timeout=60
    )
    assert "NOT accepted: free some space" in child.stderr
    last = int(child.stdout.splitlines()[-1])
    box = Outbox(tmp_path / "box", "d1")
    assert [seq for seq, _ in unsent(box)] == list(range(last + 1))
    assert box.append([new("after")], "boot", 1) == range(last + 1, last + 2), "a rejected event uses no number"
    box.close()


def test_a_full_outbox_raises_and_uses_no_number(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", "d1", capacity=2)
    box.append([new("a"), new("b")], "boot", 1)
    with pytest.raises(OutboxError, match="full and the event was NOT accepted"):
        box.append([new("c")], "boot", 1)
    box.acknowledge([(0, None)])
    assert box.append([new("c")], "boot", 1) == range(2, 3)
    box.close()


def test_it_has_room_for_a_week_of_a_busy_checkpoint(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", "d1")
    for _ in range(200):
        box.append([new("x" * 400)] * 1000, "boot", 1)
    assert box.status().waiting == 200_000
    with pytest.raises(OutboxError, match="full"):
        box.append([new("one more")], "boot", 1)
    assert [row.seq for row in box.read_unsent(199_997, 10)] == [199_998, 199_999]
    box.close()


def test_an_event_that_cannot_be_encoded_uses_no_number(tmp_path: Path) -> None:
    def broken(seq: int) -> bytes:
        raise ValueError

    box = Outbox(tmp_path / "box", "d1")
    with pytest.raises(ValueError):
        box.append([new("a"), NewEvent("scans", b"s", broken)], "boot", 1)
    assert unsent(box) == []
    assert box.append([new("a")], "boot", 1) == range(1)
    box.close()


def test_a_second_process_another_device_and_a_damaged_file_are_rejected(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", "d1")
    with pytest.raises(OutboxError, match="in use"):
        Outbox(tmp_path / "box", "d1")
    box.close()
    with pytest.raises(OutboxError, match="another device"):
        Outbox(tmp_path / "box", "d2")
    (tmp_path / "broken").write_bytes(b"no database" * 1000)
    with pytest.raises(OutboxError, match="damaged"):
        Outbox(tmp_path / "broken", "d1")
    with pytest.raises(OutboxError, match="cannot be opened"):
        Outbox("/proc/none/box", "d1")


def test_no_other_user_may_read_it(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", "d1")
    box.append([new("a")], "boot", 1)
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    box.close()


def tokens_in_files(folder: Path, tokens: Sequence[bytes]) -> set[str]:
    """Returns the names of the files that have one of the tokens."""
    return {path.name for path in folder.iterdir() if any(token in path.read_bytes() for token in tokens)}


def append_tokens(box: Outbox, number: int) -> list[bytes]:
    """Appends events, short ones and some longer than a page of SQLite, and returns their tokens."""
    tokens = [secrets.token_hex(16) for _ in range(number)]
    box.append([new(token * (1 + 149 * (n % 10 == 0))) for n, token in enumerate(tokens)], "boot", 1)
    return [token.encode() for token in tokens]


def test_no_token_of_an_acknowledged_event_stays_in_its_files(tmp_path: Path) -> None:
    box, tokens = Outbox(tmp_path / "box", "d1"), list[bytes]()
    for _ in range(20):
        tokens += append_tokens(box, 30)
        waiting = [seq for seq, _ in unsent(box)]
        box.acknowledge([(seq, 1_000) for seq in waiting[::2]])
    assert tokens_in_files(tmp_path, tokens[::2]) >= {"box-wal"}, (
        "acknowledged tokens are in the log of an outbox in use"
    )
    box.acknowledge([(seq, 1_000) for seq, _ in unsent(box)])
    assert box.status().waiting == 0
    assert tokens_in_files(tmp_path, tokens) == set()
    append_tokens(box, 1)  # the truncated log works on
    box.close()


def test_a_program_that_reads_the_outbox_delays_the_truncation_and_not_the_device(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", "d1")
    tokens = append_tokens(box, 5)
    with contextlib.closing(sqlite3.connect(tmp_path / "box")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM unsent").fetchone()
        begun = time.monotonic()
        box.acknowledge([(seq, 1_000) for seq in range(5)])
        assert time.monotonic() - begun < outbox.BUSY_SECONDS / 2
        assert "box-wal" in tokens_in_files(tmp_path, tokens)
        shutil.copytree(tmp_path, tmp_path.with_name("killed"))  # what a kill would leave
    append_tokens(box, 1)
    box.acknowledge([(5, 1_000)])
    assert tokens_in_files(tmp_path, tokens) == set()
    box.close()
    killed = Outbox(tmp_path.with_name("killed") / "box", "d1")
    assert killed.status().waiting == 0
    assert tokens_in_files(tmp_path.with_name("killed"), tokens) == set(), "opening truncates the log, too"
    killed.close()


def test_an_outbox_of_a_newer_release_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", "d1")
    box.append([new("a")], "boot", 1)
    box.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "box")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (4,)
        db.execute("PRAGMA user_version = 5")
    with pytest.raises(
        OutboxError, match=r"^the outbox was written by a newer release: install that release on this device$"
    ):
        Outbox(tmp_path / "box", "d1")
    with contextlib.closing(sqlite3.connect(tmp_path / "box")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (5,)
        assert db.execute("SELECT seq FROM unsent").fetchall() == [(0,)]


def outbox_of_version(version: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the file of a version, with one event. Version 0 has the tables of version 1."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(f"{outbox._UPGRADES[0]}; INSERT INTO device VALUES ('d1', 0)")
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "_UPGRADES", outbox._UPGRADES[: max(version, 1)])
        patched.setattr(outbox, "_append", append_in_version_1 if version < 2 else outbox._append)
        box = Outbox(path, "d1")
        box.append([new("a")], "boot", 1)
        box.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {version}")


def append_in_version_1(
    db: sqlite3.Connection, first: int, events: list[NewEvent], boot_id: str, ticks_ms: int
) -> range:
    db.execute("INSERT INTO unsent VALUES (0, 'scans', ?, ?, ?, ?)", (b"site", events[0].encode(0), boot_id, ticks_ms))
    db.execute("UPDATE device SET next_seq = 1")
    return range(1)


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_an_older_outbox_is_upgraded_in_one_transaction(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox_of_version(version, tmp_path / "box", monkeypatch)
    now = len(outbox._UPGRADES)
    add_column = "ALTER TABLE device ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0"
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "_UPGRADES", (*outbox._UPGRADES, f"{add_column}; SELECT no_such_column FROM device"))
        with pytest.raises(OutboxError):
            Outbox(tmp_path / "box", "d1")
    with contextlib.closing(sqlite3.connect(tmp_path / "box")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (version,)
        assert db.execute("SELECT * FROM device").fetchall() == [("d1", 1, 1)[: 3 if version > 2 else 2]], (
            "half an upgrade was kept"
        )
    monkeypatch.setattr(outbox, "_UPGRADES", (*outbox._UPGRADES, add_column))
    for _ in range(2):
        box = Outbox(tmp_path / "box", "d1")
        assert unsent(box) == [(0, "0 a")] and box.findings() == {}
        assert box.compared(), "an outbox that was in use goes on as it did"
        box.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "box")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (now + 1,)
        assert db.execute("SELECT * FROM device").fetchall() == [("d1", 1, 1, "", 0)]


def test_findings_are_kept_until_the_outcome_arrives_also_over_a_restart(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box", "d1")
    box.append(
        [new(name)._replace(findings=found) for name, found in (("a", "A"), ("b", ""), ("c", "C"), ("d", "D"))],
        "boot",
        1,
    )
    box.acknowledge([(0, 1000), (1, 1000), (3, None)])  # the last one gets no outcome
    assert box.findings() == {0: "A", 2: "C"}
    box.close()
    box = Outbox(tmp_path / "box", "d1")
    assert box.findings() == {0: "A", 2: "C"}
    box.record_answers([0])
    assert box.findings() == {2: "C"}
    box.close()


def test_an_erased_outbox_leaves_nothing_behind_a_symbolic_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "gate-a.sqlite"
    real.mkdir()
    link.symlink_to(real / "data")
    box = Outbox(link, "gate-a")
    box.append([new("a")], "boot", 1)
    for suffix in ("-wal", "-shm"):
        assert (real / f"data{suffix}").exists()
    box.close()
    assert outbox.erase(link) == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["real"]


def test_an_erasure_that_is_interrupted_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is damaged, so SQLite does not clear its log, which has tokens."""
    path, unlink, steps = tmp_path / "gate-a.sqlite", Path.unlink, 0
    while True:
        path.write_bytes(b"damaged" * 1000)
        path.with_name(f"{path.name}-wal").write_bytes(b"tokens")
        left = list[int](range(steps))

        def killed(one: Path, missing_ok: bool = False, left: list[int] = left) -> None:
            if not left:
                raise KeyboardInterrupt
            left.pop()
            unlink(one, missing_ok=missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", killed)
            try:
                outbox.erase(path)
            except KeyboardInterrupt:
                steps += 1
            else:
                break
        found = {one.name for one in tmp_path.iterdir()}
        assert path.name in found or found <= {f"{path.name}.lock"}, "nobody looks for what has no file"
    assert steps >= 4 and not list(tmp_path.iterdir())
