"""The jars of the local Kafka are those of this release, whatever Maven's repository gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ninezero.streams.local_kafka import jars
from ninezero.streams.local_kafka.errors import BrokerError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(jars.install() / "jars", tmp_path / "jars")


def test_the_installed_jars_are_those_of_the_release(folder: Path) -> None:
    jars.check_jars(folder)
    assert len(list(folder.iterdir())) > 40


@pytest.mark.parametrize("how", ["changed", "missing", "added"])
def test_a_jar_that_is_not_of_the_release_is_refused(folder: Path, how: str) -> None:
    clients = next(folder.glob("kafka-clients-*.jar"))
    if how == "changed":
        with clients.open("ab") as file:
            file.write(b"\0")
    elif how == "missing":
        clients.unlink()
    else:
        clients = clients.with_name("another.jar")
        clients.write_bytes(b"")
    with pytest.raises(BrokerError, match=f"1 of Kafka's jars are not those of this release, such as {clients.name}"):
        jars.check_jars(folder)
