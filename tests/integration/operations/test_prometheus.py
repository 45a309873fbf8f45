"""A real Prometheus with the shipped configuration scrapes real workers and fires alerts."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from ninezero.streams import settings
from ninezero.streams.kafka import sync, topics
from ninezero.streams.local_kafka.broker import Broker
from tests.support import System, free_port, wait_for

DEPLOY = Path(__file__).parents[3] / "deploy" / "prometheus"
STEPS = {"screening": 0, "lists": 1, "ledgers": 2, "recording": 3}


class Prometheus:
    """A Debian Prometheus with deploy/prometheus/prometheus.yml, short intervals and the workers of a test as targets."""

    def __init__(self, folder: Path, system: System) -> None:
        self.port = free_port()
        config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
        config["rule_files"] = [str(DEPLOY / "rules.yml")]
        for target in config["scrape_configs"][0]["static_configs"]:
            role = target["labels"]["role"]
            assert target["targets"] == [f"{role}:{6066 + STEPS[role]}"]
            target["targets"] = [f"127.0.0.1:{system.http + STEPS[role]}"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=error"],
        )  # fmt: skip

    def ask(self, what: str, **query: str) -> Any:
        """Returns an answer of the HTTP API; empty until it answers."""
        try:
            url = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urllib.parse.urlencode(query)}"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            return {}

    def firing(self) -> dict[str, dict[str, str]]:
        """Returns the annotations of the firing alerts by name."""
        alerts = self.ask("alerts").get("alerts", [])
        return {a["labels"]["alertname"]: a["annotations"] for a in alerts if a["state"] == "firing"}

    def stop(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture
def system(kafka: Broker, tmp_path: Path) -> Iterator[System]:
    started = System(kafka.bootstrap, f"chdb://{tmp_path}/counts", tmp_path)
    started.prepare()
    yield started
    started.stop()


def test_an_alert_fires_on_dead_letters_of_a_real_worker(system: System, tmp_path: Path) -> None:
    system.start("screening", "lists")
    prometheus = Prometheus(tmp_path, system)
    try:
        wait_for(lambda: system.ready("lists"), 60, "the lists role")
        sampled = 'ninezero_dead_letters_total{topic="watchlist-pushes", reason="not_json"} == 0'
        wait_for(lambda: prometheus.ask("query", query=sampled).get("result"), 60, "a scrape before the fault")
        given = settings.load(system.env)
        with closing(sync.producer(given)) as producer:
            for _ in range(50):
                producer.send(given.topic(topics.PUSHES.name), b"no json", b"cdc")
        wait_for(lambda: "NinezeroDeadLetters" in prometheus.firing(), 60, "the alert")
        annotations = prometheus.firing()["NinezeroDeadLetters"]
        assert "records of watchlist-pushes were rejected: not_json" in annotations["summary"]
        assert annotations["runbook_url"].endswith("#ninezerodeadletters")
        up = {s["metric"]["role"]: s["value"][1] for s in prometheus.ask("query", query="up")["result"]}
        assert up == {"screening": "1", "lists": "1", "ledgers": "0", "recording": "0"}
        states = {a["labels"]["alertname"]: a["state"] for a in prometheus.ask("alerts")["alerts"]}
        for pending in (
            "NinezeroSunsetNear",
            "NinezeroRoleDown",
            "NinezeroNotReady",
        ):  # their condition holds, perhaps not long enough yet
            assert states[pending] in ("pending", "firing")
        assert "NinezeroSunsetPast" not in states and "NinezeroHeartbeatStale" not in states
        health = {r["health"] for g in prometheus.ask("rules")["groups"] for r in g["rules"]}
        assert health == {"ok"}
    finally:
        prometheus.stop()
