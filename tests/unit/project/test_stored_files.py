"""Reading the files of a running Kafka or ClickHouse, which removes some meanwhile."""

import shutil
from pathlib import Path

from tests.support import stored_files


def test_files_and_folders_that_vanish_during_the_search_are_passed_over(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name / "deeper").mkdir(parents=True)
        for file in ("one", "two", "deeper/three"):
            (tmp_path / name / file).touch()
    found = stored_files(tmp_path)
    first, _ = next(found)
    for name in {"a", "b", "c"} - {first.parent.name}:
        shutil.rmtree(tmp_path / name)
    first.with_name("two" if first.name == "one" else "one").unlink()
    assert [path for path, _ in found] == [first.parent / "deeper" / "three"]


def test_every_file_that_stays_is_found_with_its_content(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_bytes(b"content")
    (tmp_path / "top").write_bytes(b"")
    assert dict(stored_files(tmp_path)) == {tmp_path / "deep" / "er" / "file": b"content", tmp_path / "top": b""}
