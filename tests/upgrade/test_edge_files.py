"""The files at the edge serve both releases: the outbox, the key ring, and saved mappings of columns."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer

from ninezero.streams.kafka.sync import read_to_end
from ninezero.streams.local_kafka.broker import Broker
from tests.support import System, free_port

from .release import Release, Releases

pytestmark = pytest.mark.upgrade

PASSAGE = b"440524188001010014\n36.5\n\nq\n"
"""One pedestrian at a device."""


class Edge(System):
    """A checkpoint and an authority, with the programs of a release."""

    def __init__(self, kafka: str, folder: Path) -> None:
        keys, outbox = folder / "keys.json", folder / "outbox"
        super().__init__(kafka, f"chdb://{folder}/db", folder, NINEZERO_KEYS=str(keys), NINEZERO_OUTBOX=str(outbox))

    def use(self, release: Release, *arguments: str, stdin: bytes = b"", **env: str) -> str:
        """Returns what a command of a release prints."""
        before, self.env, self.COMMAND = self.env, self.env | env, release.program
        try:
            done = self.run(*arguments, stdin=stdin)
        finally:
            self.env = before
        text = (done.stdout + done.stderr).decode()
        assert "Traceback" not in text, text
        return text

    def passages(self) -> list[dict[str, Any]]:
        """Returns the scans on the topic."""
        with closing(KafkaConsumer(bootstrap_servers=self.env["NINEZERO_KAFKA"])) as reader:
            return [json.loads(record.value) for record in read_to_end(reader, self.prefix + "checkpoint-scans")]


def test_the_outbox_and_the_key_ring_serve_both_releases(kafka: Broker, releases: Releases, tmp_path: Path) -> None:
    """A passage that one release keeps is sent by the other, in order and with the same token; no number is used twice."""
    edge, device = Edge(kafka.bootstrap, tmp_path), ("device", "--site", "road-01", "--device", "gate-a")
    first, second = releases.first, releases.second
    away = f"127.0.0.1:{free_port()}"
    assert "created the key ring" in edge.use(first, "keys", "new")
    assert "created: " in edge.use(first, "topics", "create", "--partitions", "1")
    assert "1 events in the outbox wait for Kafka" in edge.use(first, *device, stdin=PASSAGE, NINEZERO_KAFKA=away)
    assert "2 events in the outbox wait for Kafka" in edge.use(second, *device, stdin=PASSAGE, NINEZERO_KAFKA=away)
    edge.use(first, *device, stdin=PASSAGE)
    edge.use(second, *device, stdin=PASSAGE)
    sent = edge.passages()
    assert [scan["seq"] for scan in sent] == [0, 1, 2, 3]
    assert len({scan["people"][0]["tokens"]["id"] for scan in sent}) == 1
    assert "the active key is now k2" in edge.use(second, "keys", "rotate")
    assert edge.use(first, "keys", "list") == edge.use(second, "keys", "list")


def test_a_saved_mapping_serves_both_releases(releases: Releases, tmp_path: Path) -> None:
    edge = Edge("127.0.0.1:1", tmp_path)
    (tmp_path / "list.csv").write_text("Nummer,sonst\n11010519491231002X,x\n")
    edge.use(releases.first, "keys", "new")
    push = ("push", "list.csv", "--authority", "cdc", "--list", "cases", "--category", "confirmed_case", "--by", "wang",
            "--basis", "B-1", "--days", "9", "--check")  # fmt: skip
    for number, (saves, reads) in enumerate(((releases.first, releases.second), (releases.second, releases.first))):
        saved = f"map-{number}.json"
        shown = edge.use(saves, *push, "--map", "id=Nummer", "--save-mapping", saved)
        assert "1 line" in shown and edge.use(reads, *push, "--mapping", saved) == shown
