"""The key ring: its file, its rotation, and which keys scans and pushes use."""

from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ninezero.streams.edge.documents.key_ring import KeyRing, KeyRingError, new_ring, rotate
from ninezero.streams.edge.documents.pseudonyms import token

NOW = datetime(2020, 2, 1, 8, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def stored(path: Path) -> Any:
    return json.loads(path.read_bytes())


def write(path: Path, ring: object, mode: int = 0o600) -> Path:
    path.write_text(ring if isinstance(ring, str) else json.dumps(ring))
    path.chmod(mode)
    return path


@contextmanager
def rejected_without_quoting(*secrets: str) -> Iterator[None]:
    """Expects a KeyRingError of one line, and no secret in anything that a logger could print of it."""
    with pytest.raises(KeyRingError) as caught:
        yield
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "\n" not in str(caught.value)
    assert not [secret for secret in secrets if secret in shown]


def only_key(path: Path) -> str:
    """Returns the key of a new ring in hex."""
    (key,) = stored(path)["keys"].values()
    return str(key["hex"])


def test_a_new_ring_is_private_under_any_umask(path: Path) -> None:
    old = os.umask(0)
    try:
        new_ring(path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert len(bytes.fromhex(only_key(path))) == 32


def test_a_new_ring_never_overwrites_a_file(path: Path) -> None:
    new_ring(path)
    before = path.read_bytes()
    with rejected_without_quoting(only_key(path)):
        new_ring(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_mode_for_the_owner_only_is_accepted(path: Path, mode: int) -> None:
    key_id = new_ring(path)
    path.chmod(mode)
    assert KeyRing.load(path).active == key_id


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602, 0o601, 0o700, 0o4600])
def test_any_other_mode_is_rejected(path: Path, mode: int) -> None:
    new_ring(path)
    path.chmod(mode)
    with pytest.raises(KeyRingError, match="chmod 600"):
        KeyRing.load(path)


H = "ab" * 32
GOOD = {"hex": H, "not_after": None}


@pytest.mark.parametrize(
    "ring",
    [
        "",
        H,
        "[" * 100_000,
        {"active": "k1"},
        {"active": "k1", "keys": {}},
        {"active": "k2", "keys": {"k1": GOOD}},
        {"active": H, "keys": {"k1": GOOD}},
        {"active": "k1", "keys": {"k1": H}},
        {"active": "k1", "keys": {"k1": GOOD}, H: 1},
        {"active": H, "keys": {H: GOOD}},
        {"active": "", "keys": {"": GOOD}},
        {"active": "k1", "keys": {"k1": {"hex": H[:-2]}}},
        {"active": "k1", "keys": {"k1": {"hex": H[:-1] + " "}}},
        {"active": "k1", "keys": {"k1": {"hex": H + "\n"}}},
        {"active": "k1", "keys": {"k1": {"hex": H, "not_after": H}}},
        {"active": "k1", "keys": {"k1": {"hex": H, "not_after": "2020-01-01T00:00:00"}}},
    ],
)
def test_a_damaged_ring_is_rejected_in_one_line_that_quotes_nothing(path: Path, ring: object) -> None:
    write(path, ring)
    with rejected_without_quoting(H[:8], str(path)):
        KeyRing.load(path)


def test_a_missing_ring_and_a_folder_are_rejected(path: Path, tmp_path: Path) -> None:
    for place in (path, tmp_path):
        with rejected_without_quoting(str(place)):
            KeyRing.load(place)


def test_scans_use_the_active_key_until_its_end_and_pushes_use_every_key(path: Path) -> None:
    keys = {
        "k1": {"hex": H, "not_after": "2020-01-01T00:00:00Z"},
        "k2": {"hex": "cd" * 32, "not_after": "2020-03-01T00:00:00+08:00"},
    }
    write(path, {"active": "k2", "keys": keys})
    now = [NOW]
    ring = KeyRing.load(path, clock=lambda: now[0])
    expected = [token(i, bytes.fromhex(k["hex"]), "id", "X1") for i, k in keys.items()]
    assert ring.tokens("id", "X1") == expected
    assert ring.token("id", "X1") == expected[1]
    now[0] = NOW + 60 * DAY
    assert ring.tokens("id", "X1") == expected
    with rejected_without_quoting(H[:8], "cdcd"):
        ring.token("id", "X1")


def test_no_text_form_of_a_ring_contains_a_key(path: Path) -> None:
    write(path, {"active": "k1", "keys": {"k1": GOOD}})
    ring = KeyRing.load(path)
    shown = f"{ring} {ring!r} {ring.describe()}"
    assert not [secret for secret in (H[:8], repr(bytes.fromhex(H))[2:10]) if secret in shown]


def test_rotation_adds_a_key_and_ends_the_old_one_after_the_overlap(path: Path) -> None:
    old = new_ring(path)
    first = only_key(path)
    new = rotate(path, 14 * DAY, clock=lambda: NOW)
    ring = KeyRing.load(path)
    assert [(k.key_id, k.active, k.not_after) for k in ring.describe()] == [
        (old, False, NOW + 14 * DAY),
        (new, True, None),
    ]
    assert stored(path)["keys"][old]["hex"] == first != stored(path)["keys"][new]["hex"]
    assert [t.partition(".")[0] for t in ring.tokens("id", "X1")] == [old, new]


def test_keys_made_in_two_places_have_different_ids(path: Path) -> None:
    first = new_ring(path)
    copy = path.with_name("copy.json")
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o600)
    ids = [first, new_ring(path.with_name("other.json")), rotate(path, DAY), rotate(copy, DAY)]
    assert [key_id[:2] for key_id in ids] == ["k1", "k1", "k2", "k2"]
    assert len(set(ids)) == 4
    assert re.fullmatch("k3[a-z]{4}", rotate(path, DAY))


def test_rotation_does_not_extend_the_end_of_a_key(path: Path) -> None:
    write(path, {"active": "k7", "keys": {"k7": {"hex": H, "not_after": "2020-02-02T00:00:00Z"}}})
    assert rotate(path, 14 * DAY, clock=lambda: NOW).startswith("k8")
    assert KeyRing.load(path).describe()[0].not_after == datetime(2020, 2, 2, tzinfo=UTC)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_rotation_keeps_the_mode_and_follows_a_symbolic_link(tmp_path: Path, path: Path, mode: int) -> None:
    new_ring(path)
    path.chmod(mode)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    rotate(link, DAY)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o7777 == mode
    assert len(stored(path)["keys"]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["keys.json", "link.json"]


def test_a_rotation_that_fails_leaves_the_old_ring(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_ring(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with rejected_without_quoting(only_key(path)):
        rotate(path, DAY)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["keys.json"]


def test_the_file_of_an_interrupted_rotation_does_not_stop_the_next(path: Path) -> None:
    new_ring(path)
    path.with_name("keys.json.new").write_text("half")
    rotate(path, DAY)
    assert [p.name for p in path.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize("overlap", [-DAY, timedelta.max])
def test_an_overlap_out_of_range_changes_nothing(path: Path, overlap: timedelta) -> None:
    new_ring(path)
    before = path.read_bytes()
    with pytest.raises(KeyRingError):
        rotate(path, overlap)
    assert path.read_bytes() == before


def test_a_ring_without_a_version_is_read_and_a_newer_one_is_refused(path: Path) -> None:
    new_ring(path)
    ring = stored(path)
    assert ring.pop("version") == 1
    assert KeyRing.load(write(path, ring)).active == ring["active"]
    rotate(path, DAY)
    assert stored(path)["version"] == 1
    newer = {"version": 2, "active": ring["active"], "keyset": [only_hex := "ab" * 32]}
    for use in (KeyRing.load, lambda path: rotate(path, DAY)):
        with rejected_without_quoting(only_hex):
            use(write(path, newer))
        with pytest.raises(KeyRingError, match="newer release: install that release"):
            use(path)
    assert stored(path) == newer
