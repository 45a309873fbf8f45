"""The local Kafka, without starting one: where its jars are, its ports, and how its errors are read."""

from __future__ import annotations

import re
from pathlib import Path

from ninezero.streams.local_kafka.configuration import random_uuid, server_properties
from ninezero.streams.local_kafka.errors import last_error
from ninezero.streams.local_kafka.jars import LOGGING, POM, jars_folder
from ninezero.streams.local_kafka.ports import check_port, free_port, is_free

ROOT = Path(__file__).resolve().parents[3]


def test_in_a_checkout_the_jars_are_in_the_cache_folder_of_the_checkout() -> None:
    assert jars_folder({"XDG_CACHE_HOME": "/cache", "HOME": "/home/me"}) == ROOT / ".cache" / "kafka"


def test_an_installed_package_keeps_the_jars_in_the_cache_of_the_user(tmp_path: Path) -> None:
    code = tmp_path / "site-packages" / "ninezero" / "streams" / "local_kafka" / "jars.py"
    for environment, folder in (
        ({"XDG_CACHE_HOME": "/cache", "HOME": "/home/me"}, "/cache/ninezero/kafka"),
        ({"XDG_CACHE_HOME": "", "HOME": "/home/me"}, "/home/me/.cache/ninezero/kafka"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.cache/ninezero/kafka"),
    ):
        assert jars_folder(environment, code) == Path(folder)


def test_the_files_that_kafka_needs_are_beside_the_code() -> None:
    assert POM.is_file() and LOGGING.is_file()


def test_a_free_port_can_be_listened_on_and_is_not_one_of_outgoing_connections() -> None:
    port = free_port()
    check_port(port)
    assert is_free(port) and 20_000 <= port < 32_000


def test_a_random_uuid_never_begins_with_a_dash() -> None:
    for _ in range(1000):  # one in 64 would
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", random_uuid())


def test_given_properties_replace_the_defaults() -> None:
    text = server_properties(Path("/data"), 1, 2, {"log.dirs": "/other", "authorizer.class.name": "A"})
    lines = dict(line.split("=", 1) for line in text.splitlines())
    assert (lines["log.dirs"], lines["authorizer.class.name"]) == ("/other", "A")
    assert lines["listeners"] == "PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2"


def test_the_last_error_is_its_line_and_its_root_cause() -> None:
    output = (
        "2026-01-01 00:00:00,000 ERROR A: first\n2026-01-01 00:00:00,000 ERROR B: fatal\njava.lang.X: outer\n\tat a.b(C.java:1)\n"
        "Caused by: java.io.Y: root\n\tat d.e(F.java:2)\n2026-01-01 00:00:00,000 INFO C: shutting down\n"
    )
    assert last_error(output) == "B: fatal (java.io.Y: root)"


def test_without_a_logged_error_the_error_of_the_java_machine_is_shown() -> None:
    assert last_error("Error: Could not find or load main class kafka.Kafka\n") == (
        "Error: Could not find or load main class kafka.Kafka"
    )
    assert last_error("") == "it printed no error"
