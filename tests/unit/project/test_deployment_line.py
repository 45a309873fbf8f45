"""The line that names a deployment has what tells it from another one, and no password."""

from __future__ import annotations

import pytest

from ninezero.streams import settings
from ninezero.streams.deployment import clickhouse_place, kafka_place

GIVEN = {"NINEZERO_ORDER": "T", "NINEZERO_SUNSET": "2099-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (
            "clickhouse://writer:secret@db.example:9000,db2:9000",
            "ClickHouse db.example:9000,db2:9000, databases ninezero*",
        ),
        ("clickhouses://writer:se%40cret@[::1]:9440?ca_certs=/secret", "ClickHouse [::1]:9440, databases ninezero*"),
        ("clickhouse://db", "ClickHouse db, databases ninezero*"),
        ("chdb:///srv/counts", "embedded ClickHouse /srv/counts"),
    ],
)
def test_a_database_is_named_without_its_password(url: str, place: str) -> None:
    assert clickhouse_place(url) == place


def test_a_kafka_is_named_with_its_prefix_and_without_its_login() -> None:
    sasl = {
        "NINEZERO_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "NINEZERO_KAFKA_SASL_USER": "u",
        "NINEZERO_KAFKA_SASL_PASSWORD": "secret",
    }
    given = settings.load(GIVEN | sasl | {"NINEZERO_KAFKA": "u:secret@a:9093, b:9093"}, edge=True)
    assert kafka_place(given) == "Kafka a:9093,b:9093, topic prefix none"
    given = settings.load(GIVEN | {"NINEZERO_KAFKA": "a:1", "NINEZERO_TOPIC_PREFIX": "trial."}, edge=True)
    assert kafka_place(given) == "Kafka a:1, topic prefix trial."
